"""Tables of boxes in numpy say what ``Boxes`` in torch say."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqdet.data.detections import Detections, corners, event_boxes, overlaps
from seqdet.ops.boxes import box_iou
from seqdet.structures import Boxes


def some_boxes(seed: int, count: int) -> Boxes:
    """Detections of which many overlap and some have no area."""
    draw = np.random.default_rng(seed)
    corner = draw.uniform(-20, 60, (count, 2))
    size = draw.uniform(0, 40, (count, 2)) * (draw.random((count, 1)) < 0.9)
    xyxy = torch.tensor(np.hstack([corner, corner + size]), dtype=torch.float32)
    return Boxes(xyxy, torch.tensor(draw.integers(0, 5, count)), torch.tensor(draw.random(count, np.float32)))


@given(st.integers(0, 2**32), st.integers(0, 20))
def test_rows_are_the_same_from_torch_and_from_numpy_and_keep_the_corners(seed, count):
    boxes = some_boxes(seed, count)
    rows = Detections.of(boxes).rows(7)
    assert rows.tobytes() == event_boxes(boxes, 7).tobytes()
    np.testing.assert_allclose(corners(rows), boxes.xyxy.numpy(), atol=1e-4)


@given(st.integers(0, 2**32), st.integers(0, 20), st.integers(0, 20))
def test_the_overlap_in_numpy_is_that_in_torch(seed, count, others):
    first = event_boxes(some_boxes(seed, count), 0)
    second = event_boxes(some_boxes(seed + 1, others), 0)
    wanted = box_iou(*(torch.from_numpy(corners(rows)) for rows in (first, second))).numpy()
    np.testing.assert_allclose(overlaps(first, second), wanted, atol=1e-12)
    inside = overlaps(first, second, of_first=True)
    assert ((inside >= wanted - 1e-12) & (inside <= 1 + 1e-12)).all()
