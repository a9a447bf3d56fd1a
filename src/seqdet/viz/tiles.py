"""Pictures side by side: lanes of a clip, moments of a lane, and detections beside tracks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from PIL.ImageDraw import ImageDraw as Canvas

from ..checks import InputError, check_at_least, check_shape
from .draw import (
    BACKGROUND,
    BLACK,
    CAPTION_INK,
    PALETTE,
    Colour,
    Rectangle,
    draw_boxes,
    draw_detections,
    in_view,
    label_above,
    line_width,
    load_font,
    outline,
    readable_scale,
    write_captions,
)
from .images import Paint, frame_image

if TYPE_CHECKING:  # torch, which drawing detections and tracks does not need
    from ..structures import Boxes, Clip

GAP = 6
"""Pixels between tiles and around them."""
CAPTION_SIZE = 15
TITLE_STEP = CAPTION_SIZE + 8
LEGEND = "Solid: detections and their scores. Dashed: truth. Dotted: neither a target nor an error."
TRAIL_US = 2_000_000
"""How far the trail of a track goes back."""
TRAIL_POINTS = 200


def grid(images: Sequence[np.ndarray], *, columns: int, captions: Sequence[str] = (), title: str = "") -> np.ndarray:
    """One picture of equally large ``images``, row by row, with a caption above each and a title on top.

    Args:
        images: (H, W, 3) uint8 each.
        columns: tiles per row; a last, shorter row is filled with background.
        captions: one line per image, shortened to its width in the middle; none leaves no room for them.
        title: above all, in as many lines as it needs.

    Raises:
        InputError: if there are no images, or they differ in size.
    """
    check_at_least(columns, 1, "columns")
    if len({image.shape for image in images}) != 1:
        raise InputError(f"images must be at least one, all of one size, got {[image.shape for image in images]}.")
    height, width, _ = images[0].shape
    strip = CAPTION_SIZE + 8 if captions else 0
    rows = -(-len(images) // columns)
    columns = min(columns, len(images))
    across = columns * (width + GAP) + GAP
    lines = _wrapped(title, across - 2 * GAP)
    head = len(lines) * TITLE_STEP + 4 if lines else 0
    picture = Image.new("RGB", (across, head + rows * (height + strip + GAP) + GAP), BACKGROUND)
    for i, line in enumerate(lines):
        picture.paste(_line(line, across - 2 * GAP, TITLE_STEP), (GAP, GAP + i * TITLE_STEP))
    for i, image in enumerate(images):
        x = GAP + i % columns * (width + GAP)
        y = head + GAP + i // columns * (height + strip + GAP)
        if captions:
            picture.paste(_line(captions[i], width, strip), (x, y))
        picture.paste(Image.fromarray(image), (x, y + strip))
    return np.asarray(picture)


def play(
    clip: Clip,
    predictions: Sequence[Boxes],
    *,
    classes: Sequence[str],
    columns: int,
    lanes: Sequence[int] | None = None,
    names: Sequence[str] = (),
    scale: int | None = None,
    paint: Paint = frame_image,
) -> Iterator[np.ndarray]:
    """One picture per time bin, the lanes side by side, with truth and predictions: what ``write_video`` takes.

    Args:
        clip: B recordings.
        predictions: T * B entries in (t, b) order, as ``Detector.decode`` returns them.
        classes: name of every class index.
        columns: lanes per row.
        lanes: those that are shown; all if not given.
        names: of the recordings, by their numbers; the number of a video if not given.
        scale: whole factor of the enlargement; ``readable_scale`` if not given.
        paint: makes a picture of a frame.
    """
    shown = range(clip.frames.shape[1]) if lanes is None else lanes
    for t in range(clip.frames.shape[0]):
        tiles = [_tile(clip, predictions, t, lane, classes, scale, paint) for lane in shown]
        captions = [_caption(clip, t, lane, names) for lane in shown]
        yield grid(tiles, columns=columns, captions=captions, title=LEGEND)


def _caption(clip: Clip, t: int, lane: int, names: Sequence[str]) -> str:
    """The recording and the time in it; nothing where nothing plays."""
    if clip.is_blank[lane]:
        return ""
    number = int(clip.recordings[lane])
    return f"{names[number] if names else f'video {number}'}, {_seconds(clip, t, lane)}"


def film_strip(
    shown: Sequence[tuple[Clip, Sequence[Boxes]]],
    *,
    lane: int,
    classes: Sequence[str],
    frames: int,
    scale: int,
    paint: Paint = frame_image,
) -> np.ndarray:
    """One picture of up to ``frames`` moments of a lane, evenly spread and side by side.

    Args:
        shown: consecutive clips, each with its T * B predictions in (t, b) order.
        lane: which of the B.
        classes: name of every class index.
        frames: moments shown.
        scale: whole factor of the enlargement.
        paint: makes a picture of a frame.
    """
    moments = [(clip, predictions, t) for clip, predictions in shown for t in range(len(clip.frames))]
    chosen = [moments[i] for i in np.linspace(0, len(moments) - 1, min(len(moments), frames)).astype(int)]
    tiles = [_tile(clip, predictions, t, lane, classes, scale, paint) for clip, predictions, t in chosen]
    return grid(tiles, columns=len(tiles), captions=[_seconds(clip, t, lane) for clip, _, t in chosen])


def _tile(
    clip: Clip,
    predictions: Sequence[Boxes],
    t: int,
    lane: int,
    classes: Sequence[str],
    scale: int | None,
    paint: Paint,
) -> np.ndarray:
    """One frame of a clip with its truth and predictions."""
    found = predictions[t * clip.frames.shape[1] + lane]
    truth = clip.at(t)[lane]
    return draw_boxes(paint(clip.frames[t, lane]), classes=classes, predictions=found, truth=truth, scale=scale)


def _seconds(clip: Clip, t: int, lane: int) -> str:
    return f"{clip.end_us[t, lane].item() / 1e6:.2f} s"


def _line(text: str, width: int, height: int) -> Image.Image:
    """One line of text on the background; without its middle if it is too long."""
    strip = Image.new("RGB", (width, height), BACKGROUND)
    kept = text
    for left_out in range(1, len(text)):
        if _fits(kept, width):
            break
        begin = (len(text) - left_out) // 2
        kept = f"{text[:begin]}…{text[begin + left_out :]}"
    ImageDraw.Draw(strip).text((2, 1), kept, fill=CAPTION_INK, font=load_font(CAPTION_SIZE))
    return strip


def _wrapped(text: str, width: int) -> list[str]:
    """The words in lines that fit a width, unless one alone does not."""
    lines: list[str] = []
    for word in text.split():
        if lines and _fits(f"{lines[-1]} {word}", width):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _fits(text: str, width: int) -> bool:
    return load_font(CAPTION_SIZE).getlength(text) <= width - 4


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
        self._classes = classes
        self._has_tracks = has_tracks
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
        width, height = ground.size
        text = max(14, ground.height // 36)
        font = load_font(text)
        strip = round(1.7 * text)
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
        canvas = ImageDraw.Draw(picture, "RGBA")
        line = line_width(picture)
        self._remember(tracks)
        labels = []
        for track, box in _rows_in_view(tracks, scale, picture.size):
            number = int(track["track_id"])
            colour = PALETTE[number % len(PALETTE)]
            _draw_trail(canvas, [(x * scale, y * scale) for _, x, y in self._trails[number]], colour, line)
            is_detected = track["last_detection_update_time"] == track["t"]
            outline(canvas, box, colour, line if is_detected else max(1, line // 2))
            text = f"{self._classes[int(track['class_id'])]} #{number}  {track['tracking_confidence']:.2f}"
            labels.append(label_above(text, box, colour))
        write_captions(canvas, labels, picture.size)
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
    canvas = ImageDraw.Draw(picture, "RGBA")
    order = np.argsort(-boxes["class_confidence"], kind="stable")
    found = [
        (box, int(row["class_id"]), f"{classes[int(row['class_id'])]}  {row['class_confidence']:.2f}")
        for row, box in _rows_in_view(boxes[order], scale, picture.size)
    ]
    write_captions(canvas, draw_detections(canvas, found, line_width(picture)), picture.size)
    return picture


def _rows_in_view(rows: np.ndarray, scale: int, size_wh: tuple[int, int]) -> Iterator[tuple[np.void, Rectangle]]:
    """The rows of boxes that are in the picture, and where they are in it."""
    for row in rows:
        x, y, w, h = (row[name] for name in ("x", "y", "w", "h"))
        corners = [round(float(side) * scale) for side in (x, y, x + w, y + h)]
        if (rectangle := in_view(corners, size_wh)) is not None:
            yield row, rectangle


def _draw_trail(canvas: Canvas, points: list[tuple[float, float]], colour: Colour, line: int) -> None:
    """A line through the points, fainter the older, with a dark rim, so that it shows on any ground."""
    for ink, width in ((BLACK, line + 4), (colour, line)):
        for n in range(1, len(points)):
            opacity = round(60 + 195 * n / len(points))
            canvas.line([points[n - 1], points[n]], fill=(*ink, opacity), width=width)
