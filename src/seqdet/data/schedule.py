"""Decide which clip every lane plays at every step.

Sequential training is an *order of indices*: a recording stays in one lane and its clips follow each other.
The order is a pure function of the lengths, so it is known before the first file is opened, is the same for
any number of workers, and can be sliced for ranks or resumed at any step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..checks import InputError, check_at_least


class Cue(NamedTuple):
    """What one lane plays during one step: clip number ``clip`` of a recording, or nothing.

    ``is_alone``: the clip does not continue the one before it on that lane.
    """

    recording: int
    clip: int
    epoch: int = 0
    is_alone: bool = False

    @property
    def is_first(self) -> bool:
        return self.clip == 0 or self.is_alone

    @property
    def is_blank(self) -> bool:
        return self.recording < 0


BLANK = Cue(-1, -1)


def schedule(
    clip_counts: Sequence[int], lanes: int, *, order: Sequence[int] | None = None, epoch: int = 0
) -> list[list[Cue]]:
    """Play every recording once, ``lanes`` at a time.

    A lane that finishes a recording takes the next one waiting; when none is left it stays blank.

    Args:
        clip_counts: number of clips of each recording.
        lanes: recordings played side by side, the batch size B.
        order: the queue, as indices into ``clip_counts``; the order given if None.
        epoch: written into every cue, so that data may differ from epoch to epoch.

    Returns:
        one list of ``lanes`` cues per step.
    """
    check_at_least(lanes, 1, "lanes")
    waiting = deque(range(len(clip_counts)) if order is None else order)
    playing: list[deque[Cue]] = [deque() for _ in range(lanes)]
    steps: list[list[Cue]] = []
    while True:
        for lane in playing:
            while waiting and not lane:
                recording = waiting.popleft()
                lane.extend(Cue(recording, clip, epoch) for clip in range(clip_counts[recording]))
        step = [lane.popleft() if lane else BLANK for lane in playing]
        if all(cue.is_blank for cue in step):
            return steps
        steps.append(step)


def drawn(weights: Sequence[np.ndarray], lanes: int, steps: int, *, seed: int, epoch: int) -> list[list[Cue]]:
    """Clips on their own, by chance, ``lanes`` at a time: each is drawn as often as its weight says.

    The order is drawn from ``(seed, epoch)`` alone, systematically: in every stretch of so many draws as the weights
    add up to, a clip comes as often as its weight, to the next whole number.

    Args:
        weights: of the clips of every recording, at least 0.
        lanes: clips side by side.
        steps: how often.

    Raises:
        InputError: if all weights are 0.
    """
    chances = np.concatenate(weights) if weights else np.zeros(0)
    if not chances.sum() > 0:
        raise InputError("weights must be above 0 for some clip, got none.")
    rng = np.random.default_rng([seed, epoch, 1])
    places = (np.arange(lanes * steps) + rng.random()) / (lanes * steps) * chances.sum()
    chosen = rng.permutation(np.searchsorted(np.cumsum(chances), places, side="right").clip(max=len(chances) - 1))
    recordings = np.repeat(np.arange(len(weights)), [len(each) for each in weights])
    clips = np.concatenate([np.arange(len(each)) for each in weights])
    cues = [Cue(int(recordings[n]), int(clips[n]), epoch, is_alone=True) for n in chosen]
    return [cues[n : n + lanes] for n in range(0, len(cues), lanes)]


def shuffled(count: int, *, seed: int, epoch: int) -> list[int]:
    """The indices 0 to ``count - 1`` in an order drawn from ``(seed, epoch)`` alone."""
    return np.random.default_rng([seed, epoch]).permutation(count).tolist()


def share(steps: Sequence[Sequence[Cue]], rank: int, ranks: int) -> list[list[Cue]]:
    """The lanes of process ``rank`` out of ``ranks``: equally many lanes, and so steps, for each.

    Raises:
        InputError: if the lanes cannot be divided among the processes.
    """
    lanes = len(steps[0]) if steps else 0
    if lanes % ranks:
        raise InputError(f"lanes must be a multiple of the {ranks} processes, got {lanes}.")
    each = lanes // ranks
    return [list(step[rank * each : (rank + 1) * each]) for step in steps]
