"""Every architecture is probed by what it says alone."""

from __future__ import annotations

import pytest
import torch

from seqdet import DataConfig, Detector, DigitsConfig, build_detector, model_config
from seqdet.config import RunConfig
from seqdet.inference.probing import (
    Probe,
    Recordings,
    Remembers,
    Tally,
    difference_after_a_reset,
    difference_between_lanes,
    effect_of_a_window,
    remembers,
    silent_frame,
)
from seqdet.inference.scoring import HeldOut, held_out_config

DIGITS = DigitsConfig(
    height=64,
    width=64,
    digit_heights=(16, 24),
    frames_per_video=6,
    held_out_frames_per_video=6,
    frames_per_epoch=6,
    validation_frames=6,
    test_frames=12,
)
DATA = DataConfig(clip_length=3, lanes=2, digits=DIGITS)
EVRT = {"base": 8, "width": 16, "heads": 2, "feed_forward": 16, "queries": 20, "decoder_layers": 1}
LOWREC = {"base": 2, "blocks": (1, 1, 1, 1)}
TINY = {
    "vanilla": ("vanilla", {"base": 1, "channels": 8, "levels": 3}, Remembers(True, True)),
    "lowrec": ("lowrec", LOWREC, Remembers(True, True)),
    "lowrec of minGRU": ("lowrec", {**LOWREC, "cell": "mingru"}, Remembers(True, True)),
    "rvt": ("rvt_tiny", {"dim": 8, "head_width": 8}, Remembers(True, True)),
    "s5vit": ("s5vit_small", {"dim": 8, "head_width": 8, "carry": True}, Remembers(True, True)),
    "s5vit as published": ("s5vit_small", {"dim": 8, "head_width": 8, "carry": False}, Remembers(True, False)),
    "evrt_detr": ("evrt_detr_r18", {**EVRT, "memory": 8}, Remembers(True, True)),
    "evrt_detr of frames": ("evrt_detr_r18", {**EVRT, "memory": 0}, Remembers(False, False)),
}


def trained(detector: Detector) -> Detector:
    """With weights that say much, as of a training."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in detector.named_parameters():
            if weight.ndim > 1:
                weight.add_(0.05 * torch.randn_like(weight))
            elif "gamma" in name:
                weight.fill_(1)
    return detector


@pytest.mark.parametrize("name", TINY)
def test_what_is_remembered_is_seen_and_lanes_keep_apart(name):
    model, settings, wanted = TINY[name]
    config = model_config(model, classes=tuple("0123456789"), in_channels=3, **settings)
    detector = trained(build_detector(config))
    recordings = Recordings(HeldOut(held_out_config(RunConfig(DATA, config)), "test"), [0, 1], 6)
    probe, placed, blank = Probe(detector, "float32"), recordings.first(), silent_frame(recordings)
    assert remembers(probe, placed, blank) == wanted
    assert difference_between_lanes(probe, placed) < 1e-3
    assert difference_after_a_reset(probe, placed) < 1e-3
    effect = effect_of_a_window(probe, placed, blank)
    assert effect[0] == 1
    assert (max(effect[1:]) > 1e-4) == wanted.within_calls
    assert Tally(recordings).of(probe.played(recordings, forget=2, lost=0.5)).marks().boxes > 0
