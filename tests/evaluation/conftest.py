"""Labels and detections for the tests of the evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet.data.labels import EVENT_BBOX


def make_boxes(*rows, **columns) -> np.ndarray:
    """Rows of ``t, x, y, w, h``; other fields are one value for all or one per row."""
    table = np.zeros(len(rows), EVENT_BBOX)
    for name, column in zip("txywh", np.array(rows, np.float64).reshape(-1, 5).T, strict=True):
        table[name] = column
    for name, value in ({"class_confidence": 1} | columns).items():
        table[name] = value
    return table


def make_recordings(seed, recordings=3, times=6, span_us=1_500_000, classes=3):
    """Truth with ignored boxes, jittered detections off in time and some of another class, labelled times."""
    rng = np.random.default_rng(seed)
    truth, detections, labelled = {}, {}, {}
    for number in range(recordings):
        moments = np.sort(rng.choice(span_us // 5000, times, replace=False)) * 5000
        count = rng.integers(0, 5, times)
        total = count.sum()
        table = np.zeros(total, EVENT_BBOX)
        table["t"] = np.repeat(moments, count)
        table["x"], table["y"] = rng.uniform(-20, 280, total), rng.uniform(-20, 220, total)
        table["w"], table["h"] = np.exp(rng.uniform(1.5, 4.8, (2, total)))
        table["class_id"] = rng.integers(0, classes, total)
        table["track_id"] = np.arange(total)
        table["class_confidence"] = rng.random(total) < 0.9
        found = table[rng.integers(0, total, 3 * total)] if total else table[:0]
        size = np.maximum(found["w"], found["h"])
        for name in "xywh":
            found[name] += rng.normal(0, 0.07, len(found)) * size
        found["w"], found["h"] = abs(found["w"]), abs(found["h"])
        found["t"] += rng.choice([-50_001, -50_000, -40_000, -25_000, -2000, 0, 0, 0, 2000, 25_001, 50_000], len(found))
        swapped = rng.random(len(found)) < 0.1
        found["class_id"][swapped] = rng.integers(0, classes, swapped.sum())
        found["class_confidence"] = rng.permutation(len(found)) / 1000 + number / 10_000
        name = f"recording{number}"
        truth[name], labelled[name] = table, moments
        detections[name] = found[np.argsort(found["t"], kind="stable")]
    return truth, detections, labelled


@pytest.fixture(scope="session")
def boxes():
    """A function: rows of ``t, x, y, w, h`` and fields to a table."""
    return make_boxes


@pytest.fixture(scope="session")
def random_recordings():
    """A function: a seed to truth, detections and labelled times by recording."""
    return make_recordings
