"""A detector of queries is trained: its loss falls, and a run that was cut goes on bit for bit."""

from __future__ import annotations

from dataclasses import replace

import torch

from seqdet.config_files import read_config, recipes
from seqdet.models.weights import load_detector
from seqdet.models.zoo import build_detector
from seqdet.structures import Boxes, Clip
from seqdet.training.fit import resume

from .small import TRAIN, checkpoint, differing, run

SMALL = {"base": 4, "width": 16, "heads": 2, "feed_forward": 16, "memory": 8, "queries": 12}
MODEL = replace(read_config(recipes()["evrt_detr_digits"]).model, classes=tuple("0123456789"), in_channels=3, **SMALL)


def test_its_loss_falls():
    detector = build_detector(MODEL).train()
    generator = torch.Generator().manual_seed(0)
    time, lanes = 2, 2
    clip = Clip(
        frames=torch.randint(0, 256, (time, lanes, 3, 64, 64), generator=generator, dtype=torch.uint8),
        is_first=torch.ones(lanes, dtype=torch.bool),
        is_blank=torch.zeros(lanes, dtype=torch.bool),
        is_labelled=torch.ones(time, lanes, dtype=torch.bool),
        boxes=[Boxes(torch.tensor([[4.0 + n, 8, 36, 30], [40, 40, 60, 62]]), torch.tensor([n, 7])) for n in range(4)],
        recordings=torch.arange(lanes),
        end_us=torch.zeros(time, lanes, dtype=torch.int64),
    )
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(detector.parameters(), 3e-3)
    totals = []
    for _ in range(20):
        losses, _ = detector.loss(clip)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-5:]) < 0.8 * sum(totals[:5])


def test_a_run_that_was_cut_goes_on_bit_for_bit(tmp_path):
    train = replace(TRAIN, max_steps=4, optimizer="muon")
    whole = run(tmp_path / "whole", train, model=MODEL)
    run(tmp_path / "cut", replace(train, max_steps=2), model=MODEL)
    cut = resume(tmp_path / "cut", max_steps=4)
    one, other = checkpoint(whole), checkpoint(cut)
    assert differing(one["state_dict"], other["state_dict"]) == []
    assert torch.equal(one["random_state"], other["random_state"])
    assert len(one["recurrent_state"]) == 6
    assert all(map(torch.equal, one["recurrent_state"], other["recurrent_state"]))
    assert load_detector(whole / "detector.safetensors").config == MODEL
