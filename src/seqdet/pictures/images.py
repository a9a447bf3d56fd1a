"""Images in files: one picture each, as RGB of eight bits, upright."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..checks import InputError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
IMAGE_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Which Pillow may try: it would start another program for some of the others."""
DEEPEST = 16


def images_in(folder: Path) -> list[Path]:
    """The images in a folder, and not below, in the order of the numbers in their names."""
    return sorted(
        (each for each in folder.iterdir() if each.suffix.lower() in IMAGE_SUFFIXES and not each.name.startswith(".")),
        key=natural,
    )


def natural(path: Path) -> list[tuple[int, str]]:
    """Sorts names by the numbers in them, not by their digits: frame_2.png before frame_10.png."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def read_image(path: Path, *, bits: int = DEEPEST) -> np.ndarray:
    """The picture (H, W, 3) uint8 RGB of an image, turned as its EXIF says.

    What is transparent lies on black. Grey of more than eight bits keeps its upper eight of ``bits``; what is brighter
    is white.

    Args:
        path: of the image.
        bits: of the values of deep images: 16, or the 10, 12 or 14 of many cameras.

    Raises:
        InputError: if it is damaged or none that can be shown.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("F"):
                raise InputError(f"{path} must have whole numbers, and has some with fractions. Convert it.")
            if upright.mode.startswith("I"):
                return np.repeat(_eight_bits(np.asarray(upright), path, bits)[..., None], 3, axis=2)
            if upright.has_transparency_data:
                opaque = Image.new("RGBA", upright.size, "black")
                upright = Image.alpha_composite(opaque, upright.convert("RGBA"))
            return np.array(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be an image that Pillow reads: {error}.") from error


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of the picture of an image, without decoding it.

    Raises:
        InputError: if it is no image.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            is_turned = image.getexif().get(ORIENTATION) in QUARTER_TURNS
            return (image.width, image.height) if is_turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} must be an image that Pillow reads: {error}.") from error


ORIENTATION = 0x0112
QUARTER_TURNS = (5, 6, 7, 8)
"""The tag of EXIF that says how a picture is turned, and its values that swap width and height."""


def _eight_bits(values: np.ndarray, path: Path, bits: int) -> np.ndarray:
    if values.min(initial=0) < 0 or values.max(initial=0) >= 1 << DEEPEST:
        raise InputError(f"{path} must have values of at most {DEEPEST} bits, and has others. Convert it.")
    return np.minimum(values >> (bits - 8), 255).astype(np.uint8)
