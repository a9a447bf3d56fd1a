"""The protocols once more, box by box and scored by pycocotools."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from seqdet.evaluation.protocols import PROTOCOLS, find_protocol

from .scored import score

NAMES = ("car", "pedestrian", "two wheeler")
FIGURES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
FIGURES += ("AR1", "AR10", "AR", "AR_small", "AR_medium", "AR_large")
PLAIN = find_protocol("coco")
GRID = replace(PLAIN, name="grid", moments="grid", period_us=50_000, before_us=20_000, truth_tolerance_us=25_000)
ODD = replace(PLAIN, name="odd", scale=0.7, min_side=12, filters_truth=False, before_us=30_000, after_us=3000)


def slow_rows(table, names, protocol, whose):
    """The boxes that are left, as dictionaries."""
    left = []
    for t, x, y, w, h, index, _, confidence in table.tolist():
        name = names[index]
        if protocol.classes is not None and name not in protocol.classes:
            continue
        if protocol.skip_us >= 0 and t <= protocol.skip_us:
            continue
        if whose == "truth" and protocol.clips_truth:
            right, bottom = min(max(x + w, 0), protocol.sensor_hw[1]), min(max(y + h, 0), protocol.sensor_hw[0])
            x, y = min(max(x, 0), protocol.sensor_hw[1]), min(max(y, 0), protocol.sensor_hw[0])
            w, h = right - x, bottom - y
            if w <= 0 or h <= 0:
                continue
        x, y, w, h = (value * protocol.scale for value in (x, y, w, h))
        asked = protocol.filters_truth if whose == "truth" else protocol.filters_detections
        if asked and (w * w + h * h < protocol.min_diagonal**2 or min(w, h) < protocol.min_side):
            continue
        if whose == "detections" and confidence < np.float32(protocol.least_score):
            continue
        left.append({"t": t, "bbox": [x, y, w, h], "name": name, "score": confidence})
    return left


def slow_moments(truth, detections, labelled_us, protocol):
    if protocol.moments == "truth":
        return sorted({box["t"] for box in truth})
    if protocol.moments == "any":
        return sorted({box["t"] for box in truth + detections})
    if protocol.moments == "grid":
        last = max([box["t"] for box in truth + detections], default=0)
        return list(range(0, last + 10**6, protocol.period_us))
    return [t for t in labelled_us.tolist() if protocol.skip_us < 0 or t > protocol.skip_us]


def slow_figures(truth, detections, labelled, names, protocol):
    """The twelve numbers of pycocotools."""
    classes = list(protocol.classes or names)
    images, targets, guesses = [], [], []
    for name in truth:
        left = slow_rows(truth[name], names, protocol, "truth")
        found = slow_rows(detections.get(name, truth[name][:0]), names, protocol, "detections")
        for t in slow_moments(left, found, labelled[name], protocol):
            image = len(images)
            images.append({"id": image})
            around = protocol.truth_tolerance_us
            for box in left:
                if abs(box["t"] - t) <= around:
                    targets.append(
                        annotation(box, image, classes, len(targets) + 1) | {"iscrowd": int(box["score"] == 0)}
                    )
            for box in found:
                if t - protocol.before_us <= box["t"] <= t + protocol.after_us:
                    guesses.append(annotation(box, image, classes, len(guesses) + 1))
    categories = [{"id": k} for k in range(len(classes))]
    with contextlib.redirect_stdout(io.StringIO()):
        result = COCOeval(index(images, categories, targets), index(images, categories, guesses), "bbox")
        result.evaluate()
        result.accumulate()
        result.summarize()
    return result.stats


def annotation(box, image, classes, number):
    area = box["bbox"][2] * box["bbox"][3]
    facts = {"id": number, "image_id": image, "category_id": classes.index(box["name"]), "area": area, "iscrowd": 0}
    return facts | {"bbox": box["bbox"], "score": box["score"]}


def index(images, categories, annotations):
    coco = COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco


def figures(found):
    return tuple(-1 if getattr(found, name) is None else getattr(found, name) for name in FIGURES)


@pytest.mark.parametrize("protocol", [*PROTOCOLS.values(), GRID, ODD], ids=lambda protocol: protocol.title)
def test_every_protocol_gives_the_figures_of_pycocotools_on_frames_joined_box_by_box(protocol, random_recordings):
    for seed in range(6):
        truth, detections, labelled = random_recordings(seed)
        if seed == 5:
            del detections["recording1"]
        found = score(truth, detections, protocol, class_names=NAMES, labelled_us=labelled)
        expected = slow_figures(truth, detections, labelled, NAMES, protocol)
        assert figures(found) == pytest.approx(tuple(expected), abs=1e-9)


def test_the_random_recordings_tell_all_protocols_apart(random_recordings):
    truth, detections, labelled = random_recordings(0, recordings=8, times=40)
    found = {
        title: score(truth, detections, protocol, class_names=NAMES, labelled_us=labelled).AP
        for title, protocol in PROTOCOLS.items()
    }
    equal = {title for title in found if [round(ap, 9) for ap in found.values()].count(round(found[title], 9)) > 1}
    assert equal == {"psee-1mpx@1", "psee-1mpx-full@1"}
