"""What the packages exchange: boxes, clips and the memory of a detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .checks import InputError, check_shape

State = tuple[Tensor, ...]
"""Everything a detector remembers: tensors whose first axis is the lane, (B, ...)."""


def check_tensor(value: Any, pattern: str, name: str, *, kind: str | None = None, **sizes: int) -> None:
    """Raise unless ``value`` is a tensor with the axes spelt in ``pattern``, as for ``check_shape``.

    Args:
        value: perhaps a tensor.
        pattern, sizes: the axes, as for ``check_shape``.
        name: of the argument, for the message.
        kind: "floating point", "integer" or "boolean", asked of its type; any width will do.

    Raises:
        InputError: saying what is wanted and what was received.
    """
    if not isinstance(value, Tensor):
        raise InputError(f"{name} must be a torch tensor, got {type(value).__name__}.")
    check_shape(value, pattern, name, **sizes)
    if kind not in (None, _kind(value.dtype)):
        raise InputError(f"{name} must be of {'an' if kind == 'integer' else 'a'} {kind} type, got {value.dtype}.")


def _kind(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "boolean"
    return "floating point" if dtype.is_floating_point else "integer"


@dataclass(frozen=True)
class Boxes:
    """The objects of one frame.

    xyxy: (N, 4) float32, absolute pixels, half open: ``x2 - x1`` is the width.
    labels: (N,) int64 class indices from 0; there is no background class.
    scores: (N,) float32 in [0, 1], on detections.
    track_ids: (N,) int64, the identity of the object within its recording.
    is_ignored: (N,) bool, on truth: neither a target to find nor an error to predict. None means that all count.

    Another width of the same kind, such as float64 or int32, is kept as it is; what trains and scores converts it.
    """

    xyxy: Tensor
    labels: Tensor
    scores: Tensor | None = None
    track_ids: Tensor | None = None
    is_ignored: Tensor | None = None

    def __post_init__(self) -> None:
        check_tensor(self.xyxy, "N 4", "xyxy", kind="floating point")
        check_tensor(self.labels, "N", "labels", kind="integer", N=len(self.xyxy))
        for name, kind in (("scores", "floating point"), ("track_ids", "integer"), ("is_ignored", "boolean")):
            if (column := getattr(self, name)) is not None:
                check_tensor(column, "N", name, kind=kind, N=len(self.xyxy))

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, index: Tensor | slice) -> Boxes:
        """The boxes that a mask, a slice or a tensor of indices chooses."""
        return self._map(lambda column: column[index])

    def __reduce__(self) -> tuple[Any, ...]:
        # Loader processes send hundreds of these small tensors: by value, not each as a shared-memory file.
        columns = (getattr(self, f.name) for f in fields(self))
        return _from_arrays, tuple(None if column is None else column.numpy(force=True) for column in columns)

    @classmethod
    def empty(cls) -> Boxes:
        """A frame that was looked at and holds no object."""
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))

    @classmethod
    def from_supervision(cls, detections: Any) -> Boxes:
        """The boxes of a ``supervision.Detections``, whose package is not needed; its masks are left out.

        ``data["is_ignored"]`` becomes ``is_ignored``.

        Raises:
            InputError: if it has no classes.
        """
        if detections.class_id is None:
            raise InputError("class_id of the detections must be given, as boxes have labels; got None.")
        columns = {
            "scores": detections.confidence,
            "track_ids": detections.tracker_id,
            "is_ignored": detections.data.get("is_ignored"),
        }
        kinds = {"scores": np.float32, "track_ids": np.int64, "is_ignored": bool}
        given = {name: _as_tensor(column, kinds[name]) for name, column in columns.items() if column is not None}
        xyxy = _as_tensor(detections.xyxy, np.float32).reshape(-1, 4)
        return cls(xyxy, _as_tensor(detections.class_id, np.int64), **given)

    def to_supervision(self, classes: Sequence[str] = ()) -> Any:
        """The same as ``supervision.Detections``, for its annotators, zones and trackers.

        Args:
            classes: names of all classes; then ``data["class_name"]`` holds that of each box, which labels show.

        Raises:
            InputError: if the package supervision is not installed, or there is no name for a label.
        """
        try:
            kind = import_module("supervision").Detections
        except ImportError as error:
            raise InputError(f"supervision must be installed: pip install supervision ({error})") from error
        labels = self.labels.numpy(force=True)
        data: dict[str, np.ndarray] = {}
        if classes:
            if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
                raise InputError(f"labels must be 0 to {len(classes) - 1}, as classes are, got {labels.tolist()}.")
            data["class_name"] = np.array(classes)[labels]
        if self.is_ignored is not None:
            data["is_ignored"] = self.is_ignored.numpy(force=True)
        columns = {"confidence": self.scores, "tracker_id": self.track_ids}
        given = {name: column.numpy(force=True) for name, column in columns.items() if column is not None}
        return kind(xyxy=self.xyxy.numpy(force=True), class_id=labels, data=data, **given)

    @property
    def targets(self) -> Boxes:
        """The boxes that a detector has to find."""
        return self if self.is_ignored is None else self[~self.is_ignored]

    @property
    def sizes_wh(self) -> Tensor:
        """(N, 2) width and height."""
        return self.xyxy[:, 2:] - self.xyxy[:, :2]

    def above(self, score: float) -> Boxes:
        """The detections of at least this score."""
        if self.scores is None:
            raise InputError("scores must be there to choose by, got boxes without; are they the truth?")
        return self[self.scores >= score]

    def to(self, device: torch.device | str) -> Boxes:
        """The same boxes on ``device``."""
        return self._map(lambda column: column.to(device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Boxes:
        optional = {name: getattr(self, name) for name in ("scores", "track_ids", "is_ignored")}
        mapped = {name: None if column is None else function(column) for name, column in optional.items()}
        return Boxes(function(self.xyxy), function(self.labels), **mapped)


def _as_tensor(column: np.ndarray, kind: Any) -> Tensor:
    return torch.from_numpy(np.array(column, kind))


def _from_arrays(xyxy: np.ndarray, labels: np.ndarray, *optional: np.ndarray | None) -> Boxes:
    others = (None if column is None else torch.from_numpy(column) for column in optional)
    return Boxes(torch.from_numpy(xyxy), torch.from_numpy(labels), *others)


@dataclass(frozen=True)
class Clip:
    """T consecutive frames on each of B lanes.

    frames: (T, B, C, H, W), uint8 where the representation allows.
    is_first: (B,) bool, True where a recording starts: reset the state of that lane.
    is_blank: (B,) bool, True where nothing plays: ignore the output of that lane.
    is_labelled: (T, B) bool. An unlabelled frame gives no loss and no score; an empty ``Boxes`` on a labelled frame is
        a negative example.
    boxes: T * B entries in (t, b) order, as ``frames.flatten(0, 1)``.
    recordings: (B,) int64, the recording on every lane, -1 on a blank one.
    end_us: (T, B) int64, end of each frame's time window, microseconds from the start of its recording.
    """

    frames: Tensor
    is_first: Tensor
    is_blank: Tensor
    is_labelled: Tensor
    boxes: list[Boxes]
    recordings: Tensor
    end_us: Tensor

    def __post_init__(self) -> None:
        check_tensor(self.frames, "T B C H W", "frames")
        time, lanes = self.frames.shape[:2]
        for name, kind in (("is_first", "boolean"), ("is_blank", "boolean"), ("recordings", "integer")):
            check_tensor(getattr(self, name), "B", name, kind=kind, B=lanes)
        for name, kind in (("is_labelled", "boolean"), ("end_us", "integer")):
            check_tensor(getattr(self, name), "T B", name, kind=kind, T=time, B=lanes)
        if len(self.boxes) != time * lanes:
            raise InputError(f"boxes must have T * B = {time * lanes} entries in (t, b) order, got {len(self.boxes)}.")

    @classmethod
    def collate(cls, clips: Sequence[Clip]) -> Clip:
        """Put clips of equal length and frame size side by side, each on lanes of its own; one alone is itself."""
        if len(clips) == 1:
            return clips[0]
        lane_axis = {"is_first": 0, "is_blank": 0, "recordings": 0}
        tensors = {
            f.name: torch.cat([getattr(clip, f.name) for clip in clips], dim=lane_axis.get(f.name, 1))
            for f in fields(cls)
            if f.name != "boxes"
        }
        return cls(
            boxes=[boxes for t in range(len(clips[0].frames)) for clip in clips for boxes in clip.at(t)], **tensors
        )

    def at(self, t: int) -> list[Boxes]:
        """The boxes of time bin ``t``, one entry per lane."""
        lanes = self.frames.shape[1]
        return self.boxes[t * lanes : (t + 1) * lanes]

    def labelled(self, frames: Sequence[Boxes]) -> list[Boxes]:
        """Of T * B entries in (t, b) order, those that belong to labelled frames."""
        return [boxes for boxes, wanted in zip(frames, self.is_labelled.flatten().tolist(), strict=True) if wanted]

    def to(self, device: torch.device | str) -> Clip:
        """The same clip with its tensors on ``device``; the boxes, many and small, stay where they are."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "boxes"})
