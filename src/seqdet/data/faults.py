"""Faults of a sensor, put into frames of events that were made before.

What a fault adds is made of events, by the function that made the frames, and then added to them, so that it looks as
if it had been recorded; of time surfaces the newer event stays. What a fault takes is taken from the frames. It belongs
to a recording: which pixels are hot is drawn once, and what comes and goes is a function of the recording and of the
number of the window, whatever clip that is in and whoever loads it.

Severities go from 1, which is seen if one looks for it, to 5, which a sensor in service should not have; what they mean
is stated at each fault. The scale follows Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", ICLR 2019, https://arxiv.org/abs/1903.12261.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import InputError, check_choice
from ..config import AugmentConfig, InputConfig
from ..events.array import Events
from ..events.tensors import channels_of, known_representation
from ..structures import check_tensor
from .augmentation import Transform

SEVERITIES = (1, 2, 3, 4, 5)
TRAINING, EVALUATION = 4, 5
"""Set the random numbers apart from those of the other changes, and from each other."""
FLOOD = 20_000
"""Events at one place in one window: by these the numbers of a frame come to where they stop."""
RVT_COUNT = 10
"""Where the counts of RVT's own stacked histograms stop."""

HOT_SHARES = (0.0002, 0.0005, 0.001, 0.003, 0.01)
HOT_HZ = (50, 1000)
FLICKER_SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
FLICKER_HZ = (100, 120)
FLICKER_CHANCE = 0.5
BURST_SHARES = (0.05, 0.1, 0.15, 0.2, 0.3)
BURST_EVENTS = (0.1, 0.2, 0.5, 1.0, 2.0)
DEAD_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
FACTORS = (1.25, 1.5, 2.0, 3.0, 4.0)
LOST_SHARES = (0.05, 0.1, 0.2, 0.35, 0.5)


@dataclass(frozen=True)
class Fault:
    """A fault of one recording.

    name: one of ``FAULTS``.
    severity: 1 to 5.
    origin: what its random numbers are drawn from; the recording is in it.
    """

    name: str
    severity: int
    origin: tuple[int, ...]

    def random(self, *more: int) -> np.random.Generator:
        """Random numbers of the recording; or of a window, if its number is given."""
        return np.random.default_rng([*self.origin, list(FAULTS).index(self.name), *more])

    def of(self, values: tuple[float, ...]) -> float:
        """The value of its severity."""
        return values[self.severity - 1]


def evaluated_fault(name: str, severity: int, recording: int) -> Fault:
    """The fault of a recording by which detectors are compared: the same for each of them.

    Raises:
        InputError: if there is no such fault or severity.
    """
    check_choice(name, FAULTS, "fault")
    if severity not in SEVERITIES:
        raise InputError(f"severity must be a whole number from 1 to {len(SEVERITIES)}, got {severity}.")
    return Fault(name, severity, (EVALUATION, 0, recording, 0))


class FaultyFrames:
    """Puts faults into frames of one kind.

    names: of the faults that such frames can show.

    Args:
        shown: what the frames show.
        channels: how many they have.

    Raises:
        InputError: if it is not known what they show, so that events cannot be added to them.
    """

    def __init__(self, shown: InputConfig, channels: int) -> None:
        self.shown = shown
        made_by = known_representation(shown.representation)
        if made_by is None or channels_of(shown, channels) is None:
            raise InputError(
                f"faults must be left out for {shown.representation}: it is not known what its channels show. A "
                "function of yours states it by @seqdet.representation(channels=...)."
            )
        is_of_rvt = "_dt=" in shown.representation
        self._parameters: dict[str, Any] = dict(shown.parameters)
        if is_of_rvt and made_by.name == "stacked_histogram":
            self._parameters = {"bins": channels // 2, "max_count": RVT_COUNT}
        elif is_of_rvt:
            self._parameters = {"bins": channels}
        self._keeps_newest = made_by.drawn == "newest"
        self.names = tuple(name for name in FAULTS if not (self._keeps_newest and name == "low_thresholds"))
        floods = np.stack([self.of_events(_flood(shown.window_us, polarity)) for polarity in (0, 1)])
        self._limits = float(floods.min(initial=0)), float(floods.max(initial=0))
        if floods.shape[1] != channels:
            raise InputError(
                f"faults must be left out: frames of {shown.representation} have {floods.shape[1]} channels, got "
                f"{channels}."
            )

    def drawn(self, config: AugmentConfig, *, seed: int, recording: int, epoch: int) -> Fault | None:
        """The fault of a training recording in an epoch, if it has one; a blank lane, recording -1, has none."""
        if recording < 0 or not config.faults:
            return None
        origin = (TRAINING, seed, recording, epoch)
        random = np.random.default_rng(origin)
        if random.random() >= config.faults:
            return None
        name = self.names[random.integers(len(self.names))]
        return Fault(name, int(random.integers(1, config.fault_severity + 1)), origin)

    def frames(self, frames: Tensor, fault: Fault, *, start: int) -> Tensor:
        """The frames of a recording as a sensor with this fault would have given them; a new tensor.

        Args:
            frames: (T, C, H, W), uint8, int8 or floating point, zero where nothing happened.
            fault: of the recording.
            start: number of the first frame in it.

        Raises:
            InputError: if shape or fault do not fit.
        """
        height, width = self.shown.frame_hw
        check_tensor(frames, "T C H W", "frames", H=height, W=width)
        check_choice(fault.name, self.names, "the fault of these frames")
        faulty = frames.numpy(force=True).copy()
        FAULTS[fault.name](faulty, fault, start, self)
        return torch.from_numpy(faulty).to(frames.device)

    def of_events(self, events: Events) -> np.ndarray:
        """The frame (C, H, W) of a window that begins at 0 and has these events."""
        made_by = known_representation(self.shown.representation)  # which other processes look up themselves
        assert made_by is not None
        return made_by(
            events,
            size_hw=self.shown.sensor_hw,
            to_hw=self.shown.frame_hw,
            start_us=0,
            window_us=self.shown.window_us,
            **self._parameters,
        )[0]

    def add(self, frame: np.ndarray, events: Events) -> None:
        """Add events of a window, whose times count from its start, to its frame, in place."""
        if not len(events):
            return
        added = self.of_events(events)
        places = np.nonzero(added)
        if self._keeps_newest:
            frame[places] = np.maximum(frame[places], added[places])
        else:
            self.put(frame, places, frame[places].astype(np.float64) + added[places])

    def put(self, frame: np.ndarray, places: tuple[np.ndarray, ...], values: np.ndarray) -> None:
        """Write numbers to a frame, in place, as far as such numbers go."""
        frame[places] = np.clip(values, *self._limits)


def _flood(window_us: int, polarity: int) -> Events:
    """Far more events of a polarity at one place than its number can count."""
    place = np.zeros(FLOOD, np.uint16)
    times = np.arange(FLOOD) * window_us // FLOOD
    return Events(times, place, place, np.full(FLOOD, polarity, np.uint8))


def _events(times: np.ndarray, places: np.ndarray, polarities: np.ndarray, width: int) -> Events:
    """Events at flat pixels, of times that rise."""
    across = (places % width).astype(np.uint16)
    down = (places // width).astype(np.uint16)
    return Events(times.astype(np.int64), across, down, polarities.astype(np.uint8))


def hot_pixels(frames: np.ndarray, fault: Fault, start: int, kind: FaultyFrames) -> None:
    """0.02, 0.05, 0.1, 0.3 or 1 % of the pixels send events all the time, each at a rate of its own, 50 to 1000 Hz."""
    height, width = kind.shown.sensor_hw
    count = max(round(fault.of(HOT_SHARES) * height * width), 1)
    places = fault.random(0).integers(0, height * width, count)
    slowest, fastest = HOT_HZ
    rates_hz = slowest * (fastest / slowest) ** fault.random(1).random(count)
    for frame, random in _windows(frames, fault, start):
        fired = random.permutation(np.repeat(places, random.poisson(rates_hz * kind.shown.window_us / 1e6)))
        times = np.sort(random.integers(0, kind.shown.window_us, len(fired)))
        kind.add(frame, _events(times, fired, random.integers(0, 2, len(fired)), width))


def flicker(frames: np.ndarray, fault: Fault, start: int, kind: FaultyFrames) -> None:
    """5, 10, 25, 50 or 100 % of the sensor, a part of its shape, see a lamp that goes on and off, 100 or 120 times a
    second: every other pixel reports each change.
    """
    height, width = kind.shown.sensor_hw
    window_us = kind.shown.window_us
    of_recording = fault.random(0)
    half_us = 5e5 / of_recording.choice(FLICKER_HZ)
    phase = of_recording.random()
    side = fault.of(FLICKER_SHARES) ** 0.5
    corner = of_recording.random(2) * (1 - side)
    firsts = [min(round(at * size), size - 1) for at, size in zip(corner, (height, width), strict=True)]
    stops = [round((at + side) * size) for at, size in zip(corner, (height, width), strict=True)]
    rows, columns = (np.arange(first, max(stop, first + 1)) for first, stop in zip(firsts, stops, strict=True))
    lit = (rows[:, None] * width + columns).ravel()
    for n, (frame, random) in enumerate(_windows(frames, fault, start), start):
        first, stop = (int(np.ceil(each * window_us / half_us - phase)) for each in (n, n + 1))
        changes = np.arange(first, stop)
        times = np.clip(((changes + phase) * half_us).astype(np.int64) - n * window_us, 0, window_us - 1)
        change, pixel = np.nonzero(random.random((len(changes), len(lit))) < FLICKER_CHANCE)
        kind.add(frame, _events(times[change], lit[pixel], changes[change] % 2, width))


def bursts(frames: np.ndarray, fault: Fault, start: int, kind: FaultyFrames) -> None:
    """5, 10, 15, 20 or 30 % of the windows are flooded with noise: 0.1, 0.2, 0.5, 1 or 2 events of every pixel."""
    height, width = kind.shown.sensor_hw
    for frame, random in _windows(frames, fault, start):
        if random.random() < fault.of(BURST_SHARES):
            count = random.poisson(fault.of(BURST_EVENTS) * height * width)
            times = np.sort(random.integers(0, kind.shown.window_us, count))
            places = random.integers(0, height * width, count)
            kind.add(frame, _events(times, places, random.integers(0, 2, count), width))


def dead_lines(frames: np.ndarray, fault: Fault, start: int, kind: FaultyFrames) -> None:
    """1, 2, 5, 10 or 20 % of the rows and of the columns of the frame show nothing; at least one of each."""
    for axis, size in ((2, frames.shape[2]), (3, frames.shape[3])):
        dead = fault.random(axis).permutation(size)[: max(round(fault.of(DEAD_SHARES) * size), 1)]
        frames.swapaxes(0, axis)[dead] = 0


def high_thresholds(frames: np.ndarray, fault: Fault, start: int, kind: FaultyFrames) -> None:
    """Thresholds are 1.25, 1.5, 2, 3 or 4 times as high: so many times fewer events are left, by chance.

    Numbers that are no counts are lost as a whole.
    """
    lost = 1 - 1 / fault.of(FACTORS)
    key = int(fault.random().integers(2**63))
    thinned = Transform(kind.shown.frame_hw, dropped_share=lost, key=key).frames(torch.from_numpy(frames), start=start)
    frames[:] = thinned.numpy()


def low_thresholds(frames: np.ndarray, fault: Fault, start: int, kind: FaultyFrames) -> None:
    """Thresholds are 1.25, 1.5, 2, 3 or 4 times as low: numbers are so many times as large, rounded by chance.

    What was too faint for an event stays unseen. Time surfaces show no numbers of events, and do not have this fault.
    """
    for frame, random in _windows(frames, fault, start):
        places = np.nonzero(frame)
        values = frame[places] * fault.of(FACTORS)
        if frame.dtype.kind in "iu":
            values = np.sign(values) * np.floor(np.abs(values) + random.random(len(values)))
        kind.put(frame, places, values)


def lost_windows(frames: np.ndarray, fault: Fault, start: int, kind: FaultyFrames) -> None:
    """5, 10, 20, 35 or 50 % of the windows come empty."""
    for frame, random in _windows(frames, fault, start):
        if random.random() < fault.of(LOST_SHARES):
            frame[:] = 0


def _windows(frames: np.ndarray, fault: Fault, start: int) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
    """Every frame, which is to be changed in place, with the random numbers of its window."""
    for n, frame in enumerate(frames, start):
        yield frame, fault.random(2, n)


FAULTS: dict[str, Callable[[np.ndarray, Fault, int, FaultyFrames], None]] = {
    "hot_pixels": hot_pixels,
    "flicker": flicker,
    "bursts": bursts,
    "dead_lines": dead_lines,
    "high_thresholds": high_thresholds,
    "low_thresholds": low_thresholds,
    "lost_windows": lost_windows,
}
"""By name: what changes frames (T, C, H, W) in place, from a window number on. New ones go to the end."""
