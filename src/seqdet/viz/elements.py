"""Parts of a page as HTML text."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image


def paragraph(text: str) -> str:
    """A paragraph; nothing for no text."""
    return f"<p>{escape(text)}</p>" if text else ""


def pictures(pictures: Sequence[tuple[str, np.ndarray]], legend: str) -> str:
    """The pictures three to a row; a strip takes a row of its own."""
    figures = "".join(
        f'<figure class="{"card strip" if image.shape[1] > 2 * image.shape[0] else "card"}">'
        f'<img src="{data_address(image)}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for caption, image in pictures
    )
    return f'<p>{legend}</p><div class="pictures">{figures}</div>' if figures else ""


def data_address(image: np.ndarray) -> str:
    """The picture as a data address."""
    stream = BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def folded(summary: str, text: str) -> str:
    """Text that opens on a click."""
    return f'<details class="card"><summary>{summary}</summary><pre>{escape(text)}</pre></details>' if text else ""


def pairs(values: Mapping[str, Any]) -> str:
    """Names and values below each other."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in values.items())
    return f'<dl class="card pairs">{rows}</dl>' if rows else ""


def duration(seconds: float) -> str:
    """7.4 s, 8 min 05 s or 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
