"""The worst errors of a detector as pictures for a page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ...data.schedule import Cue
from ...evaluation.errors import KINDS
from ...evaluation.motion import has_tracks, still_us
from ...structures import Boxes
from ...viz.draw import draw_boxes
from ...viz.images import Paint
from .held_out import HeldOut
from .scoring import SHOWN_SCORE, Scored

PICTURES = 6
"""Of misses, and of false alarms."""
CROP, LEAST_CROP = 4, 160
"""A picture is a part of a larger frame: so many times as large as the box, but of so many pixels at least."""
Picture = tuple[str, np.ndarray]
"""A caption and (H, W, 3) uint8."""


def misses(scored: Scored, data: HeldOut, paint: Paint) -> list[Picture]:
    """The largest boxes that nothing found, one of each recording first, among the detections of that time.

    The box in question is drawn as truth, the others as if they were ignored.
    """
    frames, errors, still_s, pictures = scored.frames, scored.errors, _still_s(scored), []
    for n, row in enumerate(errors.missed[:PICTURES].tolist()):
        box, nearest = frames.truth[row], errors.nearest[n]
        width, height = np.round(box["xyxy"][2:] - box["xyxy"][:2]).astype(int)
        text = f"{frames.classes[box['labels']]} of {width} x {height} px"
        if still_s[frames.truth_rows[row]] > 0:
            text += f", still for {still_s[frames.truth_rows[row]]:.2f} s"
        if nearest >= 0:
            other = frames.detections[nearest]
            text += f"; {frames.classes[other['labels']]} {other['scores']:.2f} is at IoU {errors.nearest_iou[n]:.2f}"
        here = np.flatnonzero(frames.truth["frame"] == box["frame"])
        truth = _boxes(frames.truth[here], data.scale_xy)
        truth = replace(truth, is_ignored=torch.from_numpy(here != row))
        found = scored.moments[box["frame"]].detections.above(SHOWN_SCORE)
        place, image = _picture(scored, data, frames.truth[row : row + 1], paint, truth=truth, predictions=found)
        pictures.append((f"{place}: {text}", image))
    return pictures


def false_alarms(scored: Scored, data: HeldOut, paint: Paint) -> list[Picture]:
    """The wrong detections of the highest scores, one of each recording first, among the truth of that time."""
    frames, errors, pictures = scored.frames, scored.errors, []
    for row, kind in zip(errors.alarms[:PICTURES].tolist(), errors.kinds[:PICTURES].tolist(), strict=True):
        box = frames.detections[row : row + 1]
        truth = _boxes(frames.truth[frames.truth["frame"] == box["frame"]], data.scale_xy)
        text = f"{frames.classes[box['labels'][0]]} {box['scores'][0]:.2f}: {KINDS[kind]}"
        predictions = replace(_boxes(box, data.scale_xy), scores=torch.from_numpy(box["scores"].copy()))
        place, image = _picture(scored, data, box, paint, truth=truth, predictions=predictions)
        pictures.append((f"{place}: {text}", image))
    return pictures


def _picture(
    scored: Scored, data: HeldOut, box: np.ndarray, paint: Paint, *, truth: Boxes, predictions: Boxes
) -> Picture:
    """Recording and time of a box, a table of one row, and the frame around it."""
    moment = scored.moments[int(box["frame"][0])]
    clip_length = data.config.data.clip_length
    clip = data.source[Cue(moment.recording, moment.window // clip_length)]
    t = moment.window % clip_length
    image = paint(clip.frames[t, 0])
    x, y, width, height = _around(box["xyxy"][0] / np.tile(data.scale_xy, 2), image.shape[:2])
    moved = [replace(boxes, xyxy=boxes.xyxy.cpu() - torch.tensor([x, y, x, y])) for boxes in (truth, predictions)]
    part = np.ascontiguousarray(image[y : y + height, x : x + width])
    shown = draw_boxes(part, classes=scored.frames.classes, truth=moved[0], predictions=moved[1])
    return f"{data.titles[moment.recording]}, {clip.end_us[t, 0].item() / 1e6:.2f} s", shown


def _around(xyxy: np.ndarray, size_hw: tuple[int, ...]) -> list[int]:
    """x, y, width and height of a square around a box, within the frame, in whole pixels."""
    side = max(LEAST_CROP, int(CROP * (xyxy[2:] - xyxy[:2]).max()))
    width, height = min(side, size_hw[1]), min(side, size_hw[0])
    centre = (xyxy[:2] + xyxy[2:]) / 2
    corner = np.clip(centre - [width / 2, height / 2], 0, [size_hw[1] - width, size_hw[0] - height])
    return [*corner.astype(int).tolist(), width, height]


def _boxes(rows: np.ndarray, scale_xy: tuple[float, float]) -> Boxes:
    """Rows of ``FRAME_BOX`` in pixels of the frame, without scores."""
    return Boxes(
        torch.from_numpy((rows["xyxy"] / np.tile(scale_xy, 2)).astype(np.float32)),
        torch.from_numpy(rows["labels"].copy()),
        is_ignored=torch.from_numpy(rows["is_ignored"].copy()),
    )


def _still_s(scored: Scored) -> np.ndarray:
    """For every box of the truth how long it has stood still; 0 where there are no tracks."""
    parts = [scored.parts.truth[name] for name in scored.frames.recordings]
    return np.concatenate([still_us(each) if has_tracks(each) else np.zeros(len(each)) for each in parts]) / 1e6
