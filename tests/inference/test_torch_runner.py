from __future__ import annotations

import shutil
from inspect import signature

import numpy as np
import pytest
import torch

from seqdet import Boxes, Clip, Detector, InputError
from seqdet.cli.detectors import export_model
from seqdet.config import DECODING
from seqdet.data.detections import Detections
from seqdet.inference.export import export, export_run
from seqdet.inference.loading import load_runner
from seqdet.inference.streaming import chosen, thresholds
from seqdet.inference.torch_runner import TorchRunner, predict

FRAMES = np.random.default_rng(0).integers(0, 5, (3, 2, 4, 120, 125), np.uint8)


def blank_clip(frames: np.ndarray) -> Clip:
    """A recording of frames (T, B, C, H, W) without a label."""
    time, lanes = frames.shape[:2]
    return Clip(
        frames=torch.from_numpy(frames),
        is_first=torch.ones(lanes, dtype=torch.bool),
        is_blank=torch.zeros(lanes, dtype=torch.bool),
        is_labelled=torch.zeros(time, lanes, dtype=torch.bool),
        boxes=[Boxes.empty()] * (time * lanes),
        recordings=torch.arange(lanes),
        end_us=torch.zeros(time, lanes, dtype=torch.int64),
    )


def test_windows_one_by_one_give_what_the_whole_clip_gives(detector):
    with torch.no_grad():
        outputs, after = detector(torch.from_numpy(FRAMES))
    wanted = detector.decode(outputs)
    runner, state, found = TorchRunner(detector), None, []
    for window in FRAMES:
        boxes, state = runner(window, state)
        found += boxes
    assert sum(len(each.scores) for each in found) > 50
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine.xyxy, theirs.xyxy, atol=1e-2)
        np.testing.assert_array_equal(mine.labels, theirs.labels)
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-4)
    torch.testing.assert_close(state, after)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_memory_saved_as_arrays_goes_on_as_if_nothing_had_been(detector, precision):
    runner = TorchRunner(detector, precision=precision)
    _, state = runner(FRAMES[0])
    saved = [np.asarray(each) for each in state]
    assert {each.dtype for each in saved} == {np.dtype(np.float32)}
    for mine, theirs in zip(runner(FRAMES[1], saved)[0], runner(FRAMES[1], state)[0], strict=True):
        assert all(map(np.array_equal, mine, theirs))


def test_every_way_to_detections_looks_down_to_the_score_of_the_evaluation(detector):
    ways = Detector.decode, predict, TorchRunner, load_runner, export, export_run, export_model
    assert {signature(each).parameters["score"].default for each in ways} == {DECODING.score}


def test_what_is_shown_is_what_was_scored_and_a_higher_floor_would_move_it(detector):
    clip = blank_clip(FRAMES[:1])
    ((_, evaluated),) = predict(detector, [clip])
    (predicted, _), _ = TorchRunner(detector)(FRAMES[0])
    (moved, _), _ = TorchRunner(detector, 0.2)(FRAMES[0])
    shown = chosen(predicted, thresholds(detector.classes, score=0.2))
    for mine, theirs in zip(shown, Detections.of(evaluated[0].above(0.2)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert len(shown.scores) == len(moved.scores) > 3
    assert not np.allclose(shown.xyxy, moved.xyxy, atol=1e-3)


def test_the_score_is_the_least_score(detector):
    (low, *_), _ = TorchRunner(detector, 0.05)(FRAMES[0])
    (high, *_), _ = TorchRunner(detector, 0.2)(FRAMES[0])
    assert 0 < len(high.scores) < len(low.scores)
    assert high.scores.min() >= 0.2


def test_frames_that_do_not_fit_are_refused(detector):
    runner = TorchRunner(detector)
    for frames, message in (
        (FRAMES[0, :, :3], "frames must have shape"),
        (FRAMES[0].astype(np.float32), "frames must be uint8"),
        (FRAMES[0, :0], "frames must not be empty"),
    ):
        with pytest.raises(InputError, match=message):
            runner(frames)
    with pytest.raises(InputError, match="precision must be one of"):
        TorchRunner(detector, precision="float16")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_compiled_layers_find_the_same(detector):
    eager, compiled, states = TorchRunner(detector), TorchRunner(detector, compiled=True), [None, None]
    for window in FRAMES:
        wanted, states[0] = eager(window, states[0])
        found, states[1] = compiled(window, states[1])
        for mine, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-4)
            np.testing.assert_allclose(mine.xyxy, theirs.xyxy, atol=1e-2)
