"""Frames to try an exported detector with, and to quantise it by: made up, of its run, or of a recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..checks import InputError
from ..config import AugmentConfig, InputConfig, RunConfig, Shown
from ..data.schedule import Cue
from ..events.array import Events
from ..events.files import open_recording
from ..events.tensors import make_frames
from ..events.time_units import Unit
from ..loading import open_split, prepare_split

EVENTS = 2_000
"""Of a made-up window."""


def made_up_frames(
    shown: Shown | None, channels: int, size_hw: tuple[int, int], *, windows: int, seed: int
) -> np.ndarray:
    """Consecutive frames (T, C, H, W) of a square that moves through noise, in the dtype that a detector takes.

    Args:
        shown: what the frames show; None: pictures.
        channels: of a picture.
        size_hw: of a picture.
        windows: T.
        seed: of the noise and the way.
    """
    draw = np.random.default_rng(seed)
    height, width = shown.sensor_hw if isinstance(shown, InputConfig) else size_hw
    side = max(min(height, width) // 4, 1)
    start, end = draw.uniform(0, (width - side, height - side), (2, 2))  # x, y
    corners = np.linspace(start, end, windows).astype(int)
    if not isinstance(shown, InputConfig):
        frames = draw.integers(0, 40, (windows, channels, height, width), np.uint8)
        for frame, (x, y) in zip(frames, corners, strict=True):
            frame[:, y : y + side, x : x + side] += draw.integers(100, 200, (side, side), np.uint8)
        return frames
    at = draw.integers(0, side, (windows, EVENTS, 2)) + corners[:, None]
    is_noise = draw.random(at.shape[:2]) < 0.3
    at[is_noise] = draw.integers(0, (width, height), (is_noise.sum(), 2))
    t = np.sort(draw.integers(0, shown.window_us, at.shape[:2]), axis=1) + shown.window_us * np.arange(windows)[:, None]
    x, y = at.reshape(-1, 2).T.astype(np.uint16)
    events = Events(t.ravel(), x, y, draw.integers(0, 2, t.size, np.uint8))
    return make_frames(shown, events, start_us=0, windows=windows)


def frames_of_run(config: RunConfig, count: int) -> Iterator[np.ndarray]:
    """The beginnings of the first training recordings of a run, each (T, C, H, W): about ``count`` frames.

    Raises:
        InputError: if the data are not there any more.
    """
    data = replace(config.data, dataset=replace(config.data.dataset, augment=AugmentConfig()))
    try:
        prepare_split(data, "train")  # recordings may have come in since
        source = open_split(data, "train")
    except InputError as error:
        raise InputError(f"{error} Or give --calibration, a recording to quantise by.") from error
    clips = max(16 // data.clip_length, 1)
    for recording, there in enumerate(source.clip_counts[: -(-count // (clips * data.clip_length))]):
        cues = [Cue(recording, clip) for clip in range(min(clips, there))]
        yield np.concatenate([source[cue].frames[:, 0].numpy() for cue in cues])


def tiled(frames: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Frames (T, C, H, W) of another size, filled by as many copies side by side as it takes."""
    height, width = frames.shape[2:]
    copies = -(-size_hw[0] // height), -(-size_hw[1] // width)
    return np.tile(frames, copies)[..., : size_hw[0], : size_hw[1]]


def frames_of_recording(
    path: Path, shown: Shown | None, count: int, *, time_unit: Unit | None = None
) -> Iterator[np.ndarray]:
    """The first frames of a recording, one sequence (T, C, H, W) of at most ``count``.

    Args:
        path: of the recording; one that does not say of which sensor it is, is of the detector's.
        shown: what its frames show.
        count: of windows.
        time_unit: of the times, for a recording that does not say.

    Raises:
        InputError: if the recording cannot be read, or is none that the detector was made for.
    """
    if not isinstance(shown, InputConfig):
        raise InputError(f"{path} must be left out: the detector was trained on pictures, and takes no events.")
    with open_recording(path, size_hw=shown.sensor_hw, time_unit=time_unit) as recording:
        if recording.size_hw != shown.sensor_hw:
            wanted, got = ("x".join(map(str, size[::-1])) for size in (shown.sensor_hw, recording.size_hw))
            raise InputError(f"{path} must be of a sensor of {wanted} pixels, as the detector's, got {got}.")
        if (span_us := recording.span_us()) is None:
            raise InputError(f"{path} must have events, and has none.")
        start_us, end_us = span_us
        windows = max(1, min(count, (end_us - start_us) // shown.window_us))
        events = recording.read(start_us, start_us + windows * shown.window_us)
        yield make_frames(shown, events, start_us=start_us, windows=windows)
