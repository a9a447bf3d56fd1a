"""The cameras that AEDAT files name, and the size of their sensors."""

from __future__ import annotations

import re

_SIZES = {
    "DVS128": (128, 128),
    "TMPDIFF128": (128, 128),
    "DAVIS128": (128, 128),
    "DAVIS208": (192, 208),
    "DAVIS240": (180, 240),
    "SBRET": (180, 240),
    "DAVIS346": (260, 346),
    "DAVIS640": (480, 640),
}
"""Height and width by what the names of cameras begin with, after "Supported Devices" of iniVation's documentation."""


def camera_size(name: str) -> tuple[int, int] | None:
    """Height and width of the sensor of a camera such as DAVIS240C or eu.seebetter.ini.chips.davis.Davis346B."""
    short = re.split(r"[.\s]", name.strip())[-1].upper()
    return next((size for start, size in _SIZES.items() if short.startswith(start)), None)


def is_davis(name: str) -> bool:
    """Whether a camera is of the DAVIS family, which also sends pictures."""
    short = re.split(r"[.\s]", name.strip())[-1].upper()
    return short.startswith(("DAVIS", "SBRET"))
