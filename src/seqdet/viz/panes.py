"""A recording with what was found in it: detections by class on the left, tracks by identity on the right."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw
from PIL.ImageDraw import ImageDraw as Canvas

from ..checks import check_shape
from .draw import (
    BLACK,
    PALETTE,
    WHITE,
    Colour,
    Label,
    Rectangle,
    load_font,
    luminance,
    outline,
    readable_scale,
    write_labels,
)
from .tiles import BACKGROUND, CAPTION_INK, GAP

TRAIL_US = 2_000_000
"""How far the trail of a track goes back."""
TRAIL_POINTS = 200


class Panes:
    """Pictures of consecutive moments of one recording, enlarged if they are small; all of one size.

    A detection is drawn as elsewhere: solid, in the colour of its class, with its class and score. A track has the
    colour of its identity, a trail of where its middle was, and on its plate its class, its number and how sure it is;
    its lines are thin where it was not detected at this moment. Below stands a line of text.

    Args:
        classes: name of every class index.
        has_tracks: with the pane on the right.
    """

    def __init__(self, classes: Sequence[str], *, has_tracks: bool) -> None:
        self._classes, self._has_tracks = classes, has_tracks
        self._trails: dict[int, deque[tuple[int, float, float]]] = {}

    def picture(self, image: np.ndarray, boxes: np.ndarray, tracks: np.ndarray, *, caption: str) -> np.ndarray:
        """The next moment.

        Args:
            image: (H, W, 3) uint8.
            boxes: (N,) ``EVENT_BBOX``, detections in pixels of the image.
            tracks: (M,) ``TRACKED_BOX``, likewise; not drawn without the pane.
            caption: what stands below.

        Returns:
            (H * scale + a strip, W * scale or twice that and a gap, 3) uint8.
        """
        check_shape(image, "H W 3", "image")
        scale = readable_scale(image.shape[:2])
        ground = Image.fromarray(image.repeat(scale, 0).repeat(scale, 1))
        panes = [_detected(ground.copy(), boxes, self._classes, scale)]
        titles = ["detections, by class"]
        if self._has_tracks:
            panes.append(self._tracked(ground, tracks, scale))
            titles.append("tracks, by identity")
        (width, height), text = ground.size, max(14, ground.height // 36)
        font, strip = load_font(text), round(1.7 * text)
        joined = Image.new("RGB", (width * len(panes) + GAP * (len(panes) - 1), height + strip), BACKGROUND)
        canvas = ImageDraw.Draw(joined)
        for n, (pane, title) in enumerate(zip(panes, titles, strict=True)):
            joined.paste(pane, (n * (width + GAP), 0))
            at = n * (width + GAP) + 8, height + strip // 2
            canvas.text(at, caption if n == 0 else title, fill=CAPTION_INK, font=font, anchor="lm")
        if width > 500:  # room for both
            canvas.text((width - 8, height + strip // 2), titles[0], fill=CAPTION_INK, font=font, anchor="rm")
        return np.asarray(joined)

    def _tracked(self, picture: Image.Image, tracks: np.ndarray, scale: int) -> Image.Image:
        canvas, line = ImageDraw.Draw(picture, "RGBA"), _line(picture)
        self._remember(tracks)
        labels = []
        for track, box in _in_view(tracks, scale, picture.size):
            number, colour = int(track["track_id"]), PALETTE[int(track["track_id"]) % len(PALETTE)]
            _draw_trail(canvas, [(x * scale, y * scale) for _, x, y in self._trails[number]], colour, line)
            is_detected = track["last_detection_update_time"] == track["t"]
            outline(canvas, box, colour, line if is_detected else max(1, line // 2))
            text = f"{self._classes[int(track['class_id'])]} #{number}  {track['tracking_confidence']:.2f}"
            labels.append(_label(text, box, colour))
        write_labels(canvas, labels, picture.size)
        return picture

    def _remember(self, tracks: np.ndarray) -> None:
        """Add the middle of every track to its trail, and forget the trails of those that are gone."""
        present = set(tracks["track_id"].tolist())
        self._trails = {number: trail for number, trail in self._trails.items() if number in present}
        for track in tracks:
            trail = self._trails.setdefault(int(track["track_id"]), deque(maxlen=TRAIL_POINTS))
            middle = float(track["x"] + track["w"] / 2), float(track["y"] + track["h"] / 2)
            trail.append((int(track["t"]), *middle))
            while trail[0][0] < track["t"] - TRAIL_US:
                trail.popleft()


def _detected(picture: Image.Image, boxes: np.ndarray, classes: Sequence[str], scale: int) -> Image.Image:
    canvas, labels = ImageDraw.Draw(picture, "RGBA"), []
    order = np.argsort(-boxes["class_confidence"], kind="stable")
    shown = list(_in_view(boxes[order], scale, picture.size))
    for row, box in reversed(shown):
        outline(canvas, box, PALETTE[int(row["class_id"]) % len(PALETTE)], _line(picture))
    for row, box in shown:
        text = f"{classes[int(row['class_id'])]}  {row['class_confidence']:.2f}"
        labels.append(_label(text, box, PALETTE[int(row["class_id"]) % len(PALETTE)]))
    write_labels(canvas, labels, picture.size)
    return picture


def _line(picture: Image.Image) -> int:
    return max(2, picture.height // 170)


def _label(text: str, box: Rectangle, colour: Colour) -> Label:
    return Label(text, box, True, WHITE if luminance(colour) < 0.3 else BLACK, colour)


def _in_view(rows: np.ndarray, scale: int, size_wh: tuple[int, int]) -> Iterator[tuple[np.void, Rectangle]]:
    """The rows of boxes that are in the picture, and where they are in it."""
    width, height = size_wh
    for row in rows:
        x1, y1 = round(float(row["x"]) * scale), round(float(row["y"]) * scale)
        x2, y2 = round(float(row["x"] + row["w"]) * scale), round(float(row["y"] + row["h"]) * scale)
        if x2 > 0 and y2 > 0 and x1 < width and y1 < height:
            left, top = max(x1, 0), max(y1, 0)
            yield row, (left, top, max(left + 1, min(x2, width)), max(top + 1, min(y2, height)))


def _draw_trail(canvas: Canvas, points: list[tuple[float, float]], colour: Colour, line: int) -> None:
    """A line through the points, fainter the older, with a dark rim, so that it shows on any ground."""
    for ink, width in ((BLACK, line + 4), (colour, line)):
        for n in range(1, len(points)):
            opacity = round(60 + 195 * n / len(points))
            canvas.line([points[n - 1], points[n]], fill=(*ink, opacity), width=width)
