"""Pictures of what an audit found."""

from __future__ import annotations

import numpy as np
import torch

from ..checks import InputError
from ..data.audit import Audit
from ..data.audit_events import nearest
from ..data.audit_findings import Case
from ..data.dataset import labels_of, opened
from ..data.store import TensorFile
from ..events.files import Recording
from ..structures import Boxes
from .draw import draw_boxes
from .event_images import accumulated_image, events_image
from .tensor_images import tensor_image

BEYOND = (62, 48, 36)
"""Colour of what lies beyond the sensor."""
RIM, MOST_RIM = 4, 2
"""Pixels around what is drawn there, and the most that is, as a part of the sensor."""
SMALLEST = 8  # pixels a box has in a picture
ACCUMULATED_US = 5_000_000
"""Of the begin of a recording, for pictures of hot pixels."""


def case_picture(case: Case, audit: Audit) -> np.ndarray | None:
    """The window before a label with its boxes, or the accumulated events around a pixel; None if there is neither."""
    if case.entry is None or case.box is None:
        return None
    try:
        with opened(case.entry, audit.size_hw, audit.time_unit) as source:
            image, sensor_hw = _ground(source, case, audit.limits.window_us)
        boxes = labels_of(case.entry)[0]
    except InputError:
        return None
    boxes = boxes[boxes["t"] == case.time_us]
    sides = np.stack([boxes[name].astype(np.float64) for name in ("x", "y", "w", "h")], axis=1)
    is_other = (sides != case.box).any(axis=1)
    sides = np.concatenate([sides[is_other], [case.box]])
    numbers = [*boxes["class_id"][is_other].tolist(), *boxes["class_id"][~is_other][:1].tolist()]
    names = [audit.class_name(n) for n in numbers] + ["hot"] * (len(sides) - len(numbers))
    scale = np.tile([image.shape[1] / sensor_hw[1], image.shape[0] / sensor_hw[0]], 2)
    sides *= scale
    return _drawn(image, sides, names)


def _drawn(image: np.ndarray, sides: np.ndarray, names: list[str]) -> np.ndarray:
    """The image, widened as far as the last box reaches, with that box dashed and the others dotted."""
    height, width, _ = image.shape
    x, y, w, h = sides[-1]
    limits = np.array([height, height, width, width]) * MOST_RIM
    over = np.clip(np.ceil([-y, y + h - height, -x, x + w - width]), 0, limits)
    top, bottom, left, right = (over + RIM * (over > 0)).astype(int)
    ground = np.empty((height + top + bottom, width + left + right, 3), np.uint8)
    ground[:] = BEYOND
    ground[top : top + height, left : left + width] = image
    grown = np.maximum(SMALLEST - sides[-1, 2:], 0)
    sides[-1] += [*(-grown / 2), *grown]
    corners = np.stack([sides[:, 0], sides[:, 1], sides[:, 0] + sides[:, 2], sides[:, 1] + sides[:, 3]], axis=1)
    corners += [left, top, left, top]
    truth = Boxes(
        torch.from_numpy(corners).float(),
        torch.arange(len(sides)),
        is_ignored=torch.arange(len(sides)) < len(sides) - 1,
    )
    return draw_boxes(ground, classes=names, truth=truth)


def _ground(source: TensorFile | Recording, case: Case, window_us: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture to draw on, and the size of the sensor that it shows."""
    if isinstance(source, TensorFile):
        at = 0 if case.time_us is None else int(nearest(source.ends_us, np.array([case.time_us]))[0])
        frame = source.read(at, at + 1)[0]
        name = source.description.representation.partition("_dt=")[0]
        try:
            image = tensor_image(frame, representation=name)
        except InputError:
            image = accumulated_image((frame != np.median(frame, axis=(1, 2), keepdims=True)).sum(axis=0))
        return image, source.description.sensor_hw
    if case.time_us is not None:
        events = source.read(case.time_us - window_us, case.time_us)
    else:
        first = (source.span_us() or (0, 0))[0]
        events = source.read(first, first + ACCUMULATED_US)
    size_hw = source.stated_size_hw or (int(events.y.max(initial=0)) + 1, int(events.x.max(initial=0)) + 1)
    if case.time_us is not None:
        return events_image(events, size_hw=size_hw), size_hw
    counts = np.bincount(events.y.astype(np.int64) * size_hw[1] + events.x, minlength=size_hw[0] * size_hw[1])
    return accumulated_image(counts.reshape(size_hw)), size_hw
