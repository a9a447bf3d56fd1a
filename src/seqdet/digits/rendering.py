"""Draw small ink images into frames, occluding each other, and measure what can be seen of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

INK_THRESHOLD = 0.25
"""A pixel belongs to the box of a digit where at least this share of its light comes from the digit's ink."""


class Rendering(NamedTuple):
    """T frames and their D images; boxes are half-open xyxy pixels, all zero where no pixel reaches the threshold.

    frames: (T, 3, H, W) uint8.
    whole: (T, D, 4) float32, the box around the ink of each image as if nothing covered it.
    visible: (T, D, 4) float32, the box around the ink that shows.
    visible_share: (T, D) float32 in [0, 1], visible over whole ink.
    """

    frames: np.ndarray
    whole: np.ndarray
    visible: np.ndarray
    visible_share: np.ndarray


def render(images: np.ndarray, colours: np.ndarray, to_source: np.ndarray, *, size_hw: tuple[int, int]) -> Rendering:
    """Frames on black, image 0 in front of image 1 and so on; ink is sampled bilinearly and lets light through.

    Args:
        images: (D, h, w) uint8 ink; 0 is transparent and 255 opaque.
        colours: (D, 3) RGB in [0, 255].
        to_source: (T, D, 2, 3), takes the indices (x, y, 1) of a pixel of the frame to the (x, y) of ``images``, where
            whole numbers are centres of pixels.
        size_hw: height and width of the frames.
    """
    frames, *others = _render(images, colours.astype(np.float32), to_source.astype(np.float32), *size_hw)
    return Rendering((frames + np.float32(0.5)).astype(np.uint8), *others)


def render_light(
    images: np.ndarray, brightness: np.ndarray, to_source: np.ndarray, *, size_hw: tuple[int, int]
) -> Rendering:
    """As ``render``, with frames (T, H, W) float32 of light in place of colours, and not rounded.

    Args:
        images: (D, h, w) uint8 ink.
        brightness: (D,) of the ink.
        to_source: (T, D, 2, 3).
        size_hw: height and width of the frames.
    """
    colours = brightness.astype(np.float32)[:, None]
    frames, *others = _render(images, colours, to_source.astype(np.float32), *size_hw)
    return Rendering(frames[:, 0], *others)


def ink_boxes(images: np.ndarray) -> np.ndarray:
    """Where bilinearly sampled ink reaches the threshold, exactly: (N, 4) float64 xyxy in indices of ``images``.

    ``images`` is (N, h, w) uint8 ink. An image without such ink has a box of no size.
    """
    return _ink_boxes(images, 255 * INK_THRESHOLD)


@njit(nogil=True, cache=True)
def _ink_boxes(images, threshold):
    boxes = np.zeros((len(images), 4))
    for n in range(len(images)):
        image = images[n]
        if image.max() >= threshold:
            boxes[n, 0] = _first_crossing(image.T, threshold)
            boxes[n, 1] = _first_crossing(image, threshold)
            boxes[n, 2] = image.shape[1] - 1 - _first_crossing(image.T[::-1], threshold)
            boxes[n, 3] = image.shape[0] - 1 - _first_crossing(image[::-1], threshold)
    return boxes


@njit(nogil=True, cache=True)
def _first_crossing(image, threshold):
    """Smallest row, a fraction, on which the ink reaches the threshold; it does so on a column's centre first."""
    first = float(len(image))
    for x in range(image.shape[1]):
        above = 0.0
        for y in range(image.shape[0]):
            here = float(image[y, x])
            if here >= threshold:
                first = min(first, y - (here - threshold) / (here - above))
                break
            above = here
    return first


@njit(nogil=True, cache=True)
def _render(images, colours, to_source, height, width):
    """Frames (T, C, H, W) float32 for colours (D, C), and what ``Rendering`` says of their images."""
    time, count = to_source.shape[:2]
    ink = _bordered(images)
    frames = np.zeros((time, colours.shape[1], height, width), np.float32)
    whole = np.zeros((time, count, 4), np.float32)
    visible = np.zeros((time, count, 4), np.float32)
    visible_share = np.zeros((time, count), np.float32)
    transmittance = np.empty((height, width), np.float32)
    for t in range(time):
        transmittance[:] = 1
        for d in range(count):
            visible_share[t, d] = _draw(
                ink[d], colours[d], to_source[t, d], frames[t], transmittance, whole[t, d], visible[t, d]
            )
    return frames, whole, visible, visible_share


@njit(nogil=True, cache=True)
def _bordered(images):
    """Ink from 0 to 1 with a border, so that no neighbour is missing."""
    ink = np.zeros((len(images), images.shape[1] + 2, images.shape[2] + 2), np.float32)
    ink[:, 1:-1, 1:-1] = images / np.float32(255)
    return ink


@njit(nogil=True, cache=True)
def _draw(ink, colour, to_source, canvas, transmittance, whole, visible):
    """Add one image behind those drawn already; write its two boxes and return the share of its ink that shows."""
    height, width = transmittance.shape
    x_start, y_start, x_stop, y_stop = _reach(ink, to_source, height, width)
    ink_sum = 0.0
    visible_sum = 0.0
    one = np.float32(1)
    for y in range(y_start, y_stop):
        for x in range(x_start, x_stop):
            source_x = to_source[0, 0] * x + to_source[0, 1] * y + to_source[0, 2] + one
            source_y = to_source[1, 0] * x + to_source[1, 1] * y + to_source[1, 2] + one
            if not (0 <= source_x < ink.shape[1] - 1 and 0 <= source_y < ink.shape[0] - 1):
                continue
            left = int(source_x)
            top = int(source_y)
            right_weight = source_x - np.float32(left)
            bottom_weight = source_y - np.float32(top)
            upper = ink[top, left] + right_weight * (ink[top, left + 1] - ink[top, left])
            lower = ink[top + 1, left] + right_weight * (ink[top + 1, left + 1] - ink[top + 1, left])
            alpha = upper + bottom_weight * (lower - upper)
            if alpha <= 0:
                continue
            shown = alpha * transmittance[y, x]
            for channel in range(len(colour)):
                canvas[channel, y, x] += shown * colour[channel]
            transmittance[y, x] *= one - alpha
            ink_sum += alpha
            visible_sum += shown
            if alpha >= INK_THRESHOLD:
                _extend(whole, x, y)
            if shown >= INK_THRESHOLD:
                _extend(visible, x, y)
    return visible_sum / ink_sum if ink_sum > 0 else 0.0


@njit(nogil=True, cache=True)
def _extend(box, x, y):
    if box[2] == 0:
        box[0] = x
        box[1] = y
        box[2] = x + 1
        box[3] = y + 1
    else:
        box[0] = min(box[0], x)
        box[1] = min(box[1], y)
        box[2] = max(box[2], x + 1)
        box[3] = max(box[3], y + 1)


@njit(nogil=True, cache=True)
def _reach(ink, to_source, height, width):
    """The pixels of the frame that the image may touch: first x, first y, and the x and y after the last."""
    rows, columns = np.nonzero(ink)
    if len(rows) == 0:
        return 0, 0, 0, 0
    (a, b, offset_x) = to_source[0]
    (c, d, offset_y) = to_source[1]
    determinant = a * d - b * c
    x_low = np.inf
    y_low = np.inf
    x_high = -np.inf
    y_high = -np.inf
    for source_x in (columns.min() - 2.0 - offset_x, columns.max() - offset_x):  # less the border, give or take one
        for source_y in (rows.min() - 2.0 - offset_y, rows.max() - offset_y):
            x = (d * source_x - b * source_y) / determinant
            y = (a * source_y - c * source_x) / determinant
            x_low = min(x_low, x)
            x_high = max(x_high, x)
            y_low = min(y_low, y)
            y_high = max(y_high, y)
    return max(int(x_low), 0), max(int(y_low), 0), min(int(x_high) + 1, width), min(int(y_high) + 1, height)
