"""A detector played over the same recordings again and again, each time with something taken from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config import DECODING, PictureInput, RunConfig
from ..data.clips import RecordedClips
from ..data.dataset import FOLDERS, Split
from ..data.frames import empty_frame
from ..data.labels import CLASSES_FILE, labelled_path
from ..data.layouts import label_place
from ..data.schedule import BLANK, Cue
from ..data.sources import dataset_folder, tensor_folder
from ..evaluation.coco import CocoEvaluator, ScoredFrames, coco_scores
from ..events.dataset_facts import FACTS_FILE
from ..loading import prepare_split
from ..models.detector import Detector
from ..models.layers import reset_lanes
from ..ops.assignment import in_order
from ..structures import Boxes, Clip, State
from .scoring import HeldOut, LabelledFrames, LabelledRecordings, longest_still

ROUNDING = 1e-5
"""Differences of numbers, as a share of the largest, that say nothing."""
LOST_SEED = 0
"""Of the numbers that say which windows are lost."""


class Placed(NamedTuple):
    """A clip, and how many windows of its recordings were before it: equally many on all lanes."""

    clip: Clip
    start: int


class Recordings:
    """Some recordings of a split, side by side from their beginning, group after group.

    Args:
        data: the split.
        chosen: numbers of the recordings.
        windows: at most so many of each, rounded up to whole clips.
    """

    def __init__(self, data: HeldOut, chosen: Sequence[int], windows: int) -> None:
        self.data = data
        self.chosen = tuple(chosen)
        length = data.config.data.clip_length
        counts = data.source.clip_counts
        self._clips = {number: min(counts[number], -(-windows // length)) for number in self.chosen}
        lanes = data.config.data.lanes
        self._groups = [self.chosen[first : first + lanes] for first in range(0, len(self.chosen), lanes)]

    @property
    def windows(self) -> int:
        """Of the longest one."""
        return max(self._clips.values()) * self.data.config.data.clip_length

    @property
    def clips(self) -> int:
        """How many ``__iter__`` gives."""
        return sum(max(self._clips[number] for number in group) for group in self._groups)

    @property
    def window_us(self) -> int:
        """Time from a window to the next."""
        shown = self.data.source.input
        if shown is None:
            return self.data.config.data.digits.delta_t_us
        return shown.period_us if isinstance(shown, PictureInput) else shown.window_us

    def __iter__(self) -> Iterator[Placed]:
        for group in self._groups:
            yield from self._together(group)

    def first(self) -> list[Placed]:
        """The clips of the first group alone, with a second lane, of another content, if it has one."""
        placed = list(self._together(self._groups[0]))
        if len(self._groups[0]) > 1:
            return placed
        return [Placed(Clip.collate([clip, replace(clip, frames=clip.frames.flip(-1))]), at) for clip, at in placed]

    def _together(self, group: Sequence[int]) -> Iterator[Placed]:
        for n in range(max(self._clips[number] for number in group)):
            cues = [Cue(number, n) if n < self._clips[number] else BLANK for number in group]
            yield Placed(Clip.collate([self.data.source[cue] for cue in cues]), n * self.data.config.data.clip_length)


class Probe:
    """A detector in evaluation mode, where it is.

    Args:
        detector: stays as it is.
        precision: "float32" or "bfloat16" layers.
        on_clip: called after every clip that was played.
    """

    def __init__(self, detector: Detector, precision: str, on_clip: Callable[[], object] = lambda: None) -> None:
        self.detector = detector.eval()
        self.precision = precision
        self.on_clip = on_clip
        self.device = next(detector.parameters()).device

    @torch.inference_mode()
    def played(
        self, recordings: Recordings, *, forget: int | None = None, lost: float = 0.0, every: int = 1
    ) -> Iterator[tuple[Placed, list[Boxes]]]:
        """Every clip with its detections, T * B entries in (t, b) order.

        Args:
            recordings: what is played.
            forget: after so many windows of a recording the detector begins anew; never if None.
            lost: share of the windows that come without anything in them; the same of every recording each time.
            every: of so many windows only the first is played and scored.
        """
        blank = silent_frame(recordings)
        state: State | None = None
        for clip, start in recordings:
            if start == 0:
                state = None
            clip = _thinned(clip, start, every)
            frames = clip.frames.clone()
            frames[_is_lost(clip, start, lost)] = blank
            edges = _edges(start, len(frames), forget)
            found: list[Boxes] = []
            for begin, end in pairwise(edges):
                if forget is not None and (start + begin) % forget == 0:
                    state = None
                outputs, state = self._forward(frames[begin:end].to(self.device), state)
                found += self.detector.decode(outputs, score=DECODING.score)
            self.on_clip()
            if len(frames):
                yield Placed(clip, start), found

    def _forward(self, frames: Tensor, state: State | None) -> tuple[Any, State]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return self.detector(frames, state)

    def said(self, frames: Tensor, state: State | None) -> tuple[list[Tensor], State]:
        """What the head says of frames (T, B, ...) in float32, each (T, B, A, numbers), and the state after."""
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            outputs, after = self.detector(frames.to(self.device), state)
        tensors = [getattr(outputs, name).float() for name in self.detector.head.outputs]
        return [each.unflatten(0, frames.shape[:2]) for each in tensors], after

    def pairs(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """What the head says beside what it would say, by output; queries in the order in which they are most alike."""
        if not self.detector.head.suppresses:
            axes = wanted[0].shape[:2]
            ordered = in_order([each.flatten(0, 1) for each in found], [each.flatten(0, 1) for each in wanted])
            found = [each.unflatten(0, axes) for each in ordered]
        return list(zip(found, wanted, strict=True))


class Marks(NamedTuple):
    """Scores over labelled windows; None where there is nothing to score. still_AP50: of what has stood still."""

    AP: float | None
    AP50: float | None
    still_AP50: float | None
    boxes: int


def marks_of(frames: ScoredFrames, parts: LabelledRecordings) -> Marks:
    """The scores of labelled windows, and of what has stood still longest in them."""
    scores = coco_scores(frames)
    still = longest_still(frames, parts)
    return Marks(scores.AP, scores.AP50, still["AP50"] if still else None, scores.truth_boxes)


class Tally:
    """Scores of what is played: plain COCO in pixels of the sensor, of all and by the place in the recording."""

    def __init__(self, recordings: Recordings) -> None:
        self.recordings = recordings
        self._classes = recordings.data.config.model.classes
        self._labelled = LabelledFrames(recordings.data.known.scales_xy)
        self._edges = [0, *(1 << n for n in range(recordings.windows.bit_length()))]
        self._parts = [CocoEvaluator(self._classes) for _ in self._edges]

    def of(self, played: Iterable[tuple[Placed, list[Boxes]]]) -> Tally:
        """The same, with all that was found of clips, T * B entries in (t, b) order."""
        for (clip, start), found in played:
            self._labelled.add(clip, found)
            lanes = clip.frames.shape[1]
            for n, is_labelled in enumerate(clip.is_labelled.flatten().tolist()):
                if is_labelled:
                    self._parts[(start + n // lanes).bit_length()].add([clip.boxes[n]], [found[n]])
        return self

    def marks(self) -> Marks:
        """Of all."""
        return marks_of(*self._labelled.joined(self._classes))

    def by_position(self) -> list[tuple[int, int, Marks]]:
        """Of the windows 0, 1, 2 to 3, 4 to 7 and so on of the recordings, each with its first and last."""
        scored = [(first, part.compute()) for first, part in zip(self._edges, self._parts, strict=True)]
        last = self.recordings.windows - 1
        return [
            (first, min(max(2 * first - 1, 0), last), Marks(each.AP, each.AP50, None, each.truth_boxes))
            for first, each in scored
            if each.truth_boxes
        ]


def difference_between_lanes(probe: Probe, placed: Sequence[Placed]) -> float:
    """The largest difference of what the head says of a lane beside others and alone, over the largest number in it.

    The memory after the last clip is compared too.
    """
    lanes = placed[0].clip.frames.shape[1]
    beside, memory = _said_of_all(probe, placed, slice(None))
    worst = 0.0
    for lane in range(lanes):
        alone, own = _said_of_all(probe, placed, slice(lane, lane + 1))
        pairs = probe.pairs([one[:, lane : lane + 1] for one in beside], alone)
        pairs += [(one[lane : lane + 1], other) for one, other in zip(memory, own, strict=True)]
        worst = max(worst, *(_relative(one, other) for one, other in pairs))
    return worst


def difference_after_a_reset(probe: Probe, placed: Sequence[Placed]) -> float:
    """The same of a lane that was reset beside others that were not, and one that starts."""
    before, after = (placed[0], placed[-1])
    lanes = before.clip.frames.shape[1]
    _, state = probe.said(before.clip.frames, None)
    is_first = torch.arange(lanes, device=probe.device) == 0
    found, _ = probe.said(after.clip.frames, reset_lanes(state, is_first))
    wanted, _ = probe.said(after.clip.frames[:, :1], None)
    return max(_relative(one, other) for one, other in probe.pairs([each[:, :1] for each in found], wanted))


class Remembers(NamedTuple):
    """Whether a detector remembers windows of the same call, and what came in the calls before."""

    within_calls: bool
    across_calls: bool


def remembers(probe: Probe, placed: Sequence[Placed], blank: Tensor) -> Remembers:
    """What a detector remembers, by what it says: a state alone tells nothing.

    Args:
        probe: the detector.
        placed: clips of one group from the beginning.
        blank: a frame without anything in it, (C, H, W).
    """
    frames = placed[0].clip.frames
    usual, state = probe.said(frames, None)
    changed, _ = probe.said(torch.cat([blank.expand_as(frames[:1]), frames[1:]]), None)
    later = [(one[1:], other[1:]) for one, other in probe.pairs(changed, usual) if len(one) > 1]
    within = any(_relative(one, other) > ROUNDING for one, other in later)
    following, _ = probe.said(frames, state)
    across = any(_relative(one, other) > ROUNDING for one, other in probe.pairs(following, usual))
    return Remembers(within, across)


def effect_of_a_window(probe: Probe, placed: Sequence[Placed], blank: Tensor) -> list[float]:
    """How far what the head says 0, 1, 2, ... windows later moves if one window is blank, as a share of the first.

    A move is the root mean square over outputs and lanes, each output over its own standard deviation. Empty if
    blanking the window changes nothing.

    Args:
        probe: the detector.
        placed: clips of one group from the beginning.
        blank: a frame without anything in it, (C, H, W).
    """
    windows = sum(len(each.clip.frames) for each in placed)
    changed = windows // 4
    states: tuple[State | None, State | None] = (None, None)
    effects: list[float] = []
    spreads: list[Tensor] = []
    for clip, start in placed:
        frames = clip.frames.clone()
        if 0 <= changed - start < len(frames):
            frames[changed - start] = blank
        usual, first = probe.said(clip.frames, states[0])
        moved, second = probe.said(frames, states[1])
        states = first, second
        if start + len(frames) > changed:
            spreads = spreads or [each.var().clamp_min(1e-12) for each in usual]
            pairs = zip(probe.pairs(moved, usual), spreads, strict=True)
            squares = torch.stack(
                [((one - other) ** 2).flatten(1).mean(dim=1) / spread for (one, other), spread in pairs]
            )
            effects += squares.mean(dim=0).sqrt()[max(changed - start, 0) :].tolist()
    return [each / effects[0] for each in effects] if effects and effects[0] > 0 else []


@contextmanager
def with_windows(recordings: Recordings, factor: float, split: Split) -> Iterator[Recordings]:
    """The same recordings in windows that are ``factor`` times as long, made in a folder that goes afterwards."""
    data = recordings.data
    assert isinstance(data.source, RecordedClips)
    config = data.config.data.dataset
    root = dataset_folder(config)
    with TemporaryDirectory() as place:
        folder = Path(place) / "dataset"
        part = folder / FOLDERS[split]
        part.mkdir(parents=True)
        wanted = [root / CLASSES_FILE, root / FACTS_FILE]
        for number in recordings.chosen:
            path = data.source.recordings[number].path
            labels = label_place(path)
            wanted += [path, *([] if labels is None else [labels, labelled_path(labels)])]
        for path in filter(Path.exists, wanted):
            (folder if path.parent == root else part).joinpath(path.name).symlink_to(path.resolve())
        dataset = replace(
            config,
            folder=folder,
            simulate=False,
            tensor=replace(config.tensor, window_us=round(config.tensor.window_us * factor)),
            tensors=Path(place) / "tensors",
            cache_gb=None,
        )
        changed = replace(data.config, data=replace(data.config.data, dataset=dataset))
        prepare_split(changed.data, split)
        other = HeldOut(changed, split)
        yield Recordings(other, range(len(other.names)), round(recordings.windows / factor))


def has_recordings(config: RunConfig) -> bool:
    """Whether the frames of a run are made of recordings, which can be cut into other windows."""
    dataset = config.data.dataset
    return dataset.folder is not None and tensor_folder(dataset) != dataset_folder(dataset)


def silent_frame(recordings: Recordings) -> Tensor:
    """The frame (C, H, W) of a window in which nothing happens."""
    shown = recordings.data.source.input
    if shown is not None:
        return torch.from_numpy(empty_frame(shown))
    placed = recordings.first()[0]
    return torch.zeros_like(placed.clip.frames[0, 0])


def _thinned(clip: Clip, start: int, every: int) -> Clip:
    """Of a clip whose first window is number ``start`` the first of ``every`` windows."""
    if every == 1:
        return clip
    lanes = clip.frames.shape[1]
    kept = [t for t in range(len(clip.frames)) if (start + t) % every == 0]
    return replace(
        clip,
        frames=clip.frames[kept],
        is_labelled=clip.is_labelled[kept],
        end_us=clip.end_us[kept],
        boxes=[boxes for t in kept for boxes in clip.boxes[t * lanes : (t + 1) * lanes]],
    )


def _is_lost(clip: Clip, start: int, share: float) -> Tensor:
    """(T, B) which windows are lost, by numbers that belong to every window of a recording."""
    stop = start + len(clip.frames)
    draws = [
        np.random.default_rng([LOST_SEED, max(number, 0)]).random(stop)[start:] for number in clip.recordings.tolist()
    ]
    return torch.from_numpy(np.stack(draws, axis=1) < share)


def _edges(start: int, windows: int, forget: int | None) -> list[int]:
    """Where a clip is cut: at its ends, and where the detector begins anew."""
    cuts = [] if forget is None else [t for t in range(1, windows) if (start + t) % forget == 0]
    return [0, *cuts, windows] if windows else [0]


def _said_of_all(probe: Probe, placed: Sequence[Placed], lanes: slice) -> tuple[list[Tensor], State]:
    """What the head says of some lanes over all clips, and the state after."""
    state: State | None = None
    said = []
    for clip, _ in placed:
        tensors, state = probe.said(clip.frames[:, lanes], state)
        said.append(tensors)
    return [torch.cat(each) for each in zip(*said, strict=True)], state or ()


def _relative(one: Tensor, other: Tensor) -> float:
    """The largest difference over the largest number; infinite if it is none."""
    difference = (one - other).abs().max() / other.abs().max().clamp_min(1e-12)
    return difference.item() if difference.isfinite() else float("inf")
