"""What scripts of the reference do beside: draw boxes on frames, and find what a training left behind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..checks import InputError, check_choice, check_shape
from ..viz.draw import PALETTE, label_above, outline, write_captions
from .boxes import EventBbox


def draw_box_events(
    frame: np.ndarray,
    box_events: np.ndarray,
    label_map: Sequence[str],
    force_color: Sequence[int] | None = None,
    draw_score: bool = True,
    thickness: int = 1,
    color_from: str = "class_id",
    confidence_field: str = "class_confidence",
) -> np.ndarray:
    """``frame`` itself, with the boxes drawn into it.

    Args:
        frame: (H, W, 3) whole or floating point numbers, 255 being full brightness; drawn into, as the reference does.
            What the drawing does not cover stays as it is, to the last bit.
        box_events: EventBbox array.
        label_map: name of every class id, background first.
        force_color: three bytes, the colour of all boxes.
        draw_score: write the score behind the name.
        thickness: of the lines in pixels.
        color_from: "class_id" or "track_id".
        confidence_field: where the score stands.

    Raises:
        InputError: if the frame is no picture, or a class id has no name.
    """
    check_shape(frame, "H W 3", "frame")
    check_choice(color_from, ["class_id", "track_id"], "color_from")
    if frame.dtype.kind not in "uif":
        raise InputError(f"frame must be of whole or floating point numbers up to 255, got {frame.dtype}.")
    if not set(EventBbox.names or ()) <= set(box_events.dtype.names or ()):
        raise InputError(f"box_events must be an array of the EventBbox type, got {box_events.dtype}.")
    check_choice(confidence_field, list(box_events.dtype.names or ()), "confidence_field")
    if not all(np.isfinite(box_events[name]).all() for name in ("x", "y", "w", "h")):
        raise InputError("box_events must have finite corners and sides, got some that are not.")
    layer = Image.new("RGBA", (frame.shape[1], frame.shape[0]))
    canvas = ImageDraw.Draw(layer)
    labels = []
    for box in box_events:
        class_id = int(box["class_id"])
        if class_id >= len(label_map):
            raise InputError(f"label_map must name every class id, got {len(label_map)} names and the id {class_id}.")
        colour = PALETTE[int(box[color_from]) % len(PALETTE)] if force_color is None else force_color
        red, green, blue = (int(value) for value in colour)
        x, y, w, h = (box[name] for name in ("x", "y", "w", "h"))
        x1, y1, x2, y2 = (round(float(side)) for side in (x, y, x + w, y + h))
        rectangle = x1, y1, max(x1 + 1, x2), max(y1 + 1, y2)
        outline(canvas, rectangle, (red, green, blue), thickness)
        text = f"{label_map[class_id]}  {box[confidence_field]:.2f}" if draw_score else label_map[class_id]
        labels.append(label_above(text, rectangle, (red, green, blue)))
    write_captions(canvas, labels, layer.size)
    _lay_over(frame, np.asarray(layer))
    return frame


def _lay_over(frame: np.ndarray, layer: np.ndarray) -> None:
    """Paint a layer (H, W, 4) uint8, whose colours are multiplied by their opacity already, over a frame (H, W, 3)."""
    covered = layer[..., 3] > 0
    opacity = layer[covered, 3:] / 255
    painted = layer[covered, :3] + (1 - opacity) * frame[covered]
    if frame.dtype.kind != "f":
        bounds = np.iinfo(frame.dtype)
        painted = painted.round().clip(bounds.min, bounds.max)
    frame[covered] = painted


def search_latest_checkpoint(root_dir: Path | str, mode: str = "time") -> str | None:
    """The path of the latest ``**/checkpoints/*.ckpt`` below ``root_dir``; None if there is none.

    Args:
        root_dir: folder of one or more trainings.
        mode: "time" for the one written last, "index" for the highest number behind an equals sign in its name.
    """
    check_choice(mode, ["time", "index"], "mode")
    found = list(Path(root_dir).glob("**/checkpoints/*.ckpt"))
    latest = max(found, key=_index if mode == "index" else lambda path: path.stat().st_mtime_ns, default=None)
    return None if latest is None else str(latest)


def _index(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"=(\d+)", path.stem)[::-1])
