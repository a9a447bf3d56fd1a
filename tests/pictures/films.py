"""Small videos whose pictures say their own number."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

BITS = 8
CELL = 8


def numbered(number: int, *, size_hw: tuple[int, int] = (32, 96)) -> np.ndarray:
    """A picture that shows a number as a row of black and white cells, and grey below."""
    picture = np.full((*size_hw, 3), 90, np.uint8)
    for bit in range(BITS):
        picture[:CELL, bit * CELL : (bit + 1) * CELL] = 235 if number >> bit & 1 else 20
    return picture


def number_of(picture: np.ndarray) -> int:
    """The number that a picture shows, however it was packed."""
    cells = picture[:CELL, : BITS * CELL].reshape(CELL, BITS, CELL, 3).mean(axis=(0, 2, 3))
    return int(((cells > 128) << np.arange(BITS)).sum())


def write_film(
    path: Path,
    count: int,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    times_ms: Sequence[int] | None = None,
    size_hw: tuple[int, int] = (32, 96),
    format: str | None = None,
) -> Path:
    """A video of so many numbered pictures, 25 a second, or at times of milliseconds."""
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=25, options={"threads": "1", **(options or {})})
        stream.height = size_hw[0]
        stream.width = size_hw[1]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25 if times_ms is None else 1000)
        for n in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(n, size_hw=size_hw), format="rgb24")
            frame.pts = n if times_ms is None else times_ms[n]
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_images(folder: Path, count: int) -> Path:
    """A folder of such pictures, ``frame_0.png`` and so on."""
    folder.mkdir(parents=True)
    for n in range(count):
        Image.fromarray(numbered(n)).save(folder / f"frame_{n}.png")
    return folder
