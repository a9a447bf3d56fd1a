"""Changes of how pictures look, and not of where things are: light, optics and noise of a camera, and lost patches.

Light and optics are drawn once for a recording and epoch, as a camera keeps them; noise and patches for each picture,
as a function of its number. So the pictures of a recording are the same whatever clip they are in and whoever loads
them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from ..checks import InputError
from ..config import AugmentConfig
from ..structures import check_tensor

SEED_TAG = 6
"""Sets the random numbers apart from those of other changes."""
MIDDLE = 127.5
LEAST_PATCH = 0.2
"""Sides of a lost patch are from this to all of the largest."""


@dataclass(frozen=True)
class Appearance:
    """How the pictures of a recording look in an epoch.

    brightness: added to values, of which white has 255. contrast: the factor of their distance from the middle.
    blur: standard deviation in pixels. noise: standard deviation of values. erased: probability that a picture loses a
    patch. patch: largest sides of a patch, as shares of the picture. origin: what random numbers are drawn from.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    erased: float = 0.0
    patch: float = 0.0
    origin: tuple[int, ...] = ()

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return self == Appearance(patch=self.patch, origin=self.origin)

    def frames(self, frames: Tensor, *, start: int) -> Tensor:
        """The frames as the camera shows them, of the same shape.

        Args:
            frames: (T, C, H, W) uint8.
            start: number of the first in its recording.

        Raises:
            InputError: for another shape or type.
        """
        check_tensor(frames, "T C H W", "frames")
        if frames.dtype != torch.uint8:
            raise InputError(f"frames of pictures must be uint8, got {frames.dtype}.")
        if self.is_identity:
            return frames
        changed = [self._picture(each, start + n) for n, each in enumerate(frames.numpy(force=True))]
        return torch.from_numpy(np.stack(changed)).to(frames.device)

    def _picture(self, frame: np.ndarray, number: int) -> np.ndarray:
        random = np.random.default_rng([*self.origin, number])
        if self.blur:
            planes = [Image.fromarray(plane).filter(ImageFilter.GaussianBlur(self.blur)) for plane in frame]
            frame = np.stack([np.asarray(plane) for plane in planes])
        values = (frame.astype(np.float32) - MIDDLE) * self.contrast + (MIDDLE + self.brightness)
        if self.noise:
            values += self.noise * random.standard_normal(frame.shape, np.float32)
        if random.random() < self.erased:
            height, width = frame.shape[1:]
            shares = self.patch * random.uniform(LEAST_PATCH, 1, 2)
            rows = max(1, math.ceil(shares[0] * height))
            columns = max(1, math.ceil(shares[1] * width))
            top = random.integers(height - rows + 1)
            left = random.integers(width - columns + 1)
            values[:, top : top + rows, left : left + columns] = random.integers(256)
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def draw_appearance(config: AugmentConfig, *, seed: int, recording: int, epoch: int) -> Appearance:
    """How a recording looks in an epoch: a pure function. A blank lane, recording -1, is never changed.

    Changing a probability leaves what the others draw as it was.
    """
    if recording < 0:
        return Appearance()
    origin = (SEED_TAG, seed, recording, epoch)
    random = np.random.default_rng(origin)
    is_bright, is_contrast, is_blurred, is_noisy = random.random(4) < [
        config.brightness,
        config.contrast,
        config.blur,
        config.noise,
    ]
    light, range_of, sharpness, grain = random.random(4)
    return Appearance(
        brightness=float(is_bright * (2 * light - 1) * config.max_brightness * 255),
        contrast=float((1 + config.max_contrast) ** ((2 * range_of - 1) * is_contrast)),
        blur=float(is_blurred * sharpness * config.max_blur),
        noise=float(is_noisy * grain * config.max_noise * 255),
        erased=config.erase,
        patch=config.max_erased,
        origin=origin,
    )


def check_appearance(config: AugmentConfig, *, are_pictures: bool) -> None:
    """Raise ``InputError`` if the look of pictures is to change and there are none."""
    asked = [name for name in ("brightness", "contrast", "blur", "noise", "erase") if getattr(config, name)]
    if asked and not are_pictures:
        raise InputError(f"{asked[0]} must be 0 for events: it is a change of pictures.")
