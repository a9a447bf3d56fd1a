"""What a diagnosis says of detectors whose memory is known."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from seqdet import (
    DataConfig,
    DatasetConfig,
    Detector,
    DigitsConfig,
    EventDigitsConfig,
    InputError,
    TensorConfig,
    TrainConfig,
    VanillaConfig,
    fit,
)
from seqdet.cli import main
from seqdet.config import DECODING, DiagnosisConfig, RunConfig
from seqdet.inference import diagnose as diagnosing
from seqdet.inference.diagnose import diagnose, findings
from seqdet.inference.probing import (
    Probe,
    Recordings,
    Tally,
    difference_after_a_reset,
    difference_between_lanes,
    effect_of_a_window,
    silent_frame,
)
from seqdet.inference.scoring import HeldOut, held_out_config, score

from .conftest import opinionated

DIGITS = DigitsConfig(
    frames_per_video=6, held_out_frames_per_video=12, frames_per_epoch=12, validation_frames=12, test_frames=60
)
DATA = DataConfig(clip_length=3, lanes=2, digits=DIGITS)
MODEL = VanillaConfig(base=1, channels=8, head_layers=0, levels=2)
TRAIN = TrainConfig(max_steps=1, device="cpu")
SMALL = DiagnosisConfig(recordings=2, windows=6)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fit(MODEL, DATA, TRAIN, tmp_path_factory.mktemp("diagnose") / "run")


@pytest.fixture(scope="module")
def event_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diagnose events")
    scene = EventDigitsConfig(replace(DIGITS, frames_per_video=12), moving_s=(0.05, 0.1), still_s=(0.4, 0.5))
    dataset = DatasetConfig(folder / "digits", simulate=True, scene=scene, tensor=TensorConfig(parameters={"bins": 1}))
    return fit(MODEL, replace(DATA, digits=DigitsConfig(), dataset=dataset, clip_length=4), TRAIN, folder / "run")


@pytest.fixture(scope="module")
def held_out():
    """Digits, and a detector that finds much in them."""
    detector = opinionated(in_channels=3, classes=tuple("0123456789"))
    return detector, HeldOut(held_out_config(RunConfig(DATA, detector.config)), "test")


def boxes_of(played):
    return [each for _, found in played for each in found]


def same(mine, theirs):
    return len(mine) == len(theirs) and all(
        torch.allclose(one.xyxy, two.xyxy, atol=1e-3) for one, two in zip(mine, theirs, strict=True)
    )


def test_what_is_played_as_it_is_scores_what_an_evaluation_does(held_out):
    detector, data = held_out
    recordings = Recordings(data, range(len(data.names)), 12)
    marks = Tally(recordings).of(Probe(detector, "float32").played(recordings)).marks()
    wanted = score(detector, data, precision="float32").scores
    assert marks.boxes == wanted.truth_boxes > 50
    found = (marks.AP, marks.AP50)
    assert found == pytest.approx((wanted.AP, wanted.AP50), abs=1e-6)


def test_forgetting_is_the_same_as_playing_the_pieces_alone(held_out):
    detector, data = held_out
    recordings = Recordings(data, [0, 1], 12)
    forgetful = boxes_of(Probe(detector, "float32").played(recordings, forget=5))
    frames = torch.cat([placed.clip.frames for placed in recordings])
    alone = []
    for piece in (frames[:5], frames[5:10], frames[10:]):
        alone += detector.decode(detector(piece)[0])
    assert same(forgetful, alone)
    assert not same(forgetful, boxes_of(Probe(detector, "float32").played(recordings)))
    assert same(
        boxes_of(Probe(detector, "float32").played(recordings, forget=12)),
        boxes_of(Probe(detector, "float32").played(recordings)),
    )


def test_every_second_window_is_a_recording_at_double_speed(held_out):
    detector, data = held_out
    recordings = Recordings(data, [0, 1], 12)
    found = boxes_of(Probe(detector, "float32").played(recordings, every=2))
    frames = torch.cat([placed.clip.frames for placed in recordings])
    assert same(found, detector.decode(detector(frames[::2])[0]))


def test_more_lost_windows_are_those_that_were_lost_and_others(held_out):
    detector, data = held_out
    recordings = Recordings(data, [0, 1, 2], 12)
    seen = []
    hook = detector.register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(2).sum(2) == 0))
    lost = []
    for share in (0.0, 0.3, 0.6):
        seen.clear()
        boxes_of(Probe(detector, "float32").played(recordings, lost=share))
        lost.append(torch.cat([each.flatten() for each in seen]))
    hook.remove()
    assert (lost[0] <= lost[1]).all()
    assert (lost[1] <= lost[2]).all()
    assert lost[0].sum() < lost[1].sum() < lost[2].sum()


def test_places_in_a_recording_are_scored_apart_and_are_all_of_it(held_out):
    detector, data = held_out
    recordings = Recordings(data, range(len(data.names)), 12)
    tally = Tally(recordings).of(Probe(detector, "float32").played(recordings))
    positions = tally.by_position()
    assert [(first, last) for first, last, _ in positions] == [(0, 0), (1, 1), (2, 3), (4, 7), (8, 11)]
    assert sum(marks.boxes for *_, marks in positions) == tally.marks().boxes


class Leaking(nn.Module):
    """A backbone that mixes its lanes, or begins with what is no silence."""

    def __init__(self, backbone, way):
        super().__init__()
        self.inner = backbone
        self.way = way
        for name in ("channels", "strides", "multiple", "scaled", "exact"):
            setattr(self, name, getattr(backbone, name))

    def forward(self, frames, state=None):
        if self.way == "lanes":
            frames = frames + 0.1 * frames.mean(dim=1, keepdim=True)
        if self.way == "start" and state is None:
            _, lanes, _, height, width = frames.shape
            state = tuple(
                torch.ones(lanes, channels, height // stride, width // stride)
                for channels, stride in zip(self.channels, self.strides, strict=True)
                for _ in range(2)
            )
        return self.inner(frames, state)


def leaking(detector, way):
    return Detector(Leaking(detector.backbone, way), detector.head, classes=detector.classes, in_channels=3)


def test_lanes_that_keep_apart_differ_by_rounding_alone_and_those_that_leak_by_more(held_out):
    detector, data = held_out
    placed = Recordings(data, [0, 1], 6).first()
    assert difference_between_lanes(Probe(detector, "float32"), placed) < 1e-4
    assert difference_after_a_reset(Probe(detector, "float32"), placed) < 1e-4
    assert difference_between_lanes(Probe(leaking(detector, "lanes"), "float32"), placed) > 1e-3
    assert difference_after_a_reset(Probe(leaking(detector, "start"), "float32"), placed) > 1e-3


def test_one_recording_has_a_neighbour_too(held_out):
    detector, data = held_out
    placed = Recordings(data, [0], 3).first()
    assert placed[0].clip.frames.shape[1] == 2
    assert difference_between_lanes(Probe(leaking(detector, "lanes"), "float32"), placed) > 1e-3


class Averaging(nn.Module):
    """A backbone that keeps half of what it remembers from window to window: an effect halves with each."""

    channels = (3,)
    strides = (1,)
    multiple = 1
    scaled = True
    exact = 0

    def __init__(self):
        super().__init__()
        self.keeps = nn.Parameter(torch.tensor(0.5))

    def forward(self, frames, state=None):
        memory = torch.zeros_like(frames[0]) if state is None else state[0]
        maps = []
        for frame in frames:
            memory = self.keeps * memory + frame
            maps.append(memory)
        return [torch.cat(maps)], (memory,)


class Showing(nn.Module):
    """A head that says what the map holds."""

    outputs = ("map",)
    suppresses = True
    decoding = DECODING
    predictors = ()

    def forward(self, maps, size_hw):
        return type("Said", (), {"map": maps[0], "size_hw": size_hw})


def test_an_effect_decays_as_the_memory_does(held_out):
    _, data = held_out
    detector = Detector(Averaging(), Showing(), classes=("a",), in_channels=3)
    recordings = Recordings(data, [0, 1], 12)
    effect = effect_of_a_window(Probe(detector, "float32"), recordings.first(), silent_frame(recordings))
    assert effect == pytest.approx([0.5**n for n in range(9)], rel=1e-4)
    assert diagnosing._gone(effect) == 7
    assert diagnosing._gone(effect[:5]) is None


def test_a_run_on_frames_gets_its_page_and_figures(run):
    facts = diagnose(run, config=SMALL)
    assert json.loads((run / "diagnosis.json").read_text()) == facts
    page = (run / "diagnosis.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    for title in ("Horizon of the memory", "Place in the recording", "Lost windows", "Receptive time", "Leaks"):
        assert title in page
    assert [each["windows"] for each in facts["horizon"]] == [1, 2, 4]
    assert (facts["recordings"], facts["windows"], facts["has_memory"]) == (2, 6, True)
    assert [each["factor"] for each in facts["window_lengths"]] == [1.0, 2.0]
    assert "every second frame is left out" in page
    assert facts["lanes"]["beside_others"] < 1e-4


def test_a_run_on_recordings_is_played_in_other_windows(event_run):
    before = sorted(event_run.parent.rglob("*"))
    facts = diagnose(event_run, event_run.parent / "page.html", config=SMALL)
    half, usual, double = facts["window_lengths"]
    assert (half["factor"], usual["factor"], double["factor"]) == (0.5, 1.0, 2.0)
    assert half["boxes"] >= usual["boxes"] > double["boxes"] > 0
    assert facts["all"]["still_AP50"] is not None
    added = {each.name for each in set(event_run.parent.rglob("*")) - set(before)}
    assert added == {"page.html", "page.json"}


NOTHING = {"all": {"AP": 0.5, "still_AP50": None}, "lost": [{"share": 0.5, "AP": 0.2, "AP_without_memory": None}]}


def test_a_detector_without_memory_is_told_what_follows():
    lanes = {"beside_others": 0.1, "after_a_reset": 0.0, "limit": 1e-3}
    first, lost, leak = findings({"has_memory": False, "memory_crosses_calls": False, "lanes": lanes, **NOTHING})
    assert first.startswith("The detector has no memory")
    assert "keeps 40% of its AP." in lost
    assert leak.startswith("LANES LEAK")


def test_an_interruption_leaves_what_was_there(run, monkeypatch):
    path = run / "diagnosis.html"
    path.write_text("what stood here")
    monkeypatch.setattr(diagnosing, "difference_between_lanes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit):
        main(["diagnose", str(run), "--recordings", "1", "--windows", "3"])
    assert path.read_text() == "what stood here"
    assert not [each for each in run.iterdir() if "tmp" in each.name]


def test_what_cannot_be_diagnosed_is_one_sentence(run, event_run, tmp_path):
    with pytest.raises(InputError, match="must be the folder of a run: an exported model"):
        diagnose(tmp_path / "model.onnx")
    with pytest.raises(InputError, match="must be the folder of a run, and holds no config"):
        diagnose(tmp_path)
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "training.json").unlink()
    with pytest.raises(InputError, match="must hold a finished training"):
        diagnose(copy)
    shutil.copytree(event_run.parent / "digits", tmp_path / "digits")
    shutil.rmtree(tmp_path / "digits" / "test")
    with pytest.raises(InputError, match="test must "):
        diagnose(event_run, tmp_path / "page.html", dataset=tmp_path / "digits")
    with pytest.raises(InputError, match="windows must be at least 2"):
        DiagnosisConfig(windows=1)


@pytest.mark.parametrize(
    ("whole", "forgetful", "words"),
    [(0.5, 0.2, "Memory matters"), (0.5, 0.499, "Memory hardly matters"), (0.0, 0.0, "Next to nothing is found")],
)
def test_what_forgetting_costs_is_said_where_anything_is_found(whole, forgetful, words):
    scores = {"still_AP50": None, "windows": 1}
    facts = {"all": {"AP": whole, **scores}, "horizon": [{"AP": forgetful, **scores}], "windows": 12}
    first, *_ = diagnosing._about_memory({**facts, "window_us": 50_000, "effect": []})
    assert first.startswith(words)
