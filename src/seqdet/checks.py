"""Argument checks shared by the public functions. Imports nothing from this package."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


class InputError(ValueError):
    """The caller can fix this: a wrong file, shape or option. Anything else is a bug and keeps its traceback."""


class Stopped(Exception):
    """Long work was asked to stop and did so in a good moment; nothing is lost."""


def check_shape(array: Any, pattern: str, name: str, **sizes: int) -> None:
    """Raise unless ``array`` has the axes spelt in ``pattern``.

    A number in the pattern, or a keyword of that letter, fixes the size of an axis::

        check_shape(boxes, "N 4", "boxes")
        check_shape(frames, "T B C H W", "frames", C=3)

    Raises:
        InputError: naming the argument, the shape wanted and the shape received.
    """
    axes, shape = pattern.split(), tuple(array.shape)
    wanted = [int(axis) if axis.isdigit() else sizes.get(axis) for axis in axes]
    if len(shape) == len(axes) and all(w in (None, s) for w, s in zip(wanted, shape, strict=True)):
        return
    spelt = ", ".join(a if w is None or a.isdigit() else f"{a}={w}" for a, w in zip(axes, wanted, strict=True))
    raise InputError(f"{name} must have shape ({spelt}), got {shape}.")


def check_choice(value: str, choices: Collection[str], name: str) -> None:
    """Raise unless ``value`` is one of ``choices``; the message lists them."""
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(sorted(choices))}; got {value!r}.")


def check_at_least(value: float, least: float, name: str) -> None:
    """Raise unless ``value`` is a number of at least ``least``."""
    if not value >= least:
        raise InputError(f"{name} must be at least {least}, got {value}.")
