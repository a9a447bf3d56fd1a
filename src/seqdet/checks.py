"""Argument checks shared by the public functions. Imports nothing from this package."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

SHOWN_NAMES = 5
"""So many names of a long list are told, and a count of the others."""
LARGEST_SIDE = 1 << 16
"""Rows and columns of pixels that x and y of an event can address."""
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


class InputError(ValueError):
    """The caller can fix this: a wrong file, shape or option. Anything else is a bug and keeps its traceback."""


class Stopped(Exception):
    """Long work was asked to stop and did so in a good moment; nothing is lost."""


class ReaderGone(Stopped):
    """Nobody reads any more what the work writes for another program, so that it stopped."""


def visible(text: str, *, but: str = "") -> str:
    """The text with its control characters escaped, ends of lines too: names and words of others go to terminals.

    Args:
        text: what is to be shown.
        but: characters that stay what they are.
    """
    return "".join(
        each if each.isprintable() or each in but else each.encode("unicode_escape").decode() for each in text
    )


def one_line(error: object) -> str:
    """The words of an error, or others, in one line that is safe on a terminal."""
    return visible(" ".join(str(error).split()))


def listed(names: Sequence[str], separator: str = ", ") -> str:
    """The first names in one line, and how many more there are."""
    more = len(names) - SHOWN_NAMES
    return one_line(separator.join(names[:SHOWN_NAMES])) + (f" and {more} more" if more > 0 else "")


def proposed(*words: object) -> str:
    """A command of seqdet for a message: it can be typed as it stands, with quotes where a shell needs them."""
    return shlex.join(["seqdet", *map(str, words)])


def check_shape(array: Any, pattern: str, name: str, **sizes: int) -> None:
    """Raise unless ``array`` has the axes spelt in ``pattern``.

    A number in the pattern, or a keyword of that letter, fixes the size of an axis::

        check_shape(boxes, "N 4", "boxes")
        check_shape(frames, "T B C H W", "frames", C=3)

    Args:
        array: anything with a ``shape``.
        pattern: a letter or a number for each axis, between spaces.
        name: of the argument, for the message.
        sizes: of the axes of these letters.

    Raises:
        InputError: naming the argument, the shape wanted and the shape received.
    """
    axes = pattern.split()
    shape = tuple(array.shape)
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


def is_size(size_hw: Collection[int]) -> bool:
    """Whether a height and a width are those that a sensor or a frame can have."""
    return 1 <= min(size_hw) <= max(size_hw) <= LARGEST_SIDE


def check_size(size_hw: tuple[int, int] | None, name: str) -> None:
    """Raise unless ``size_hw`` is the height and width that a sensor or a frame can have, or not given."""
    if size_hw is not None and not is_size(size_hw):
        raise InputError(f"{name} must be from 1 to {LARGEST_SIDE} each, got {size_hw}.")


def check_roi(roi: tuple[int, int, int, int] | None) -> None:
    """Raise ``InputError`` unless a region is x1, y1, x2, y2 in pixels, half open, and not empty; None is all."""
    if roi is not None and not (0 <= roi[0] < roi[2] and 0 <= roi[1] < roi[3]):
        raise InputError(f"roi must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, got {roi}.")


def fitted(hint: Any, value: Any, name: str) -> Any:
    """``value`` as the type ``hint`` of a setting asks for: lists become tuples, text paths, whole numbers floats.

    Args:
        hint: a type as it stands at a field of a configuration.
        value: as YAML, JSON or Python have it.
        name: of the setting, for the message.

    Raises:
        InputError: if it is of another kind, one that the type does not list, or no finite number.
    """
    if get_origin(hint) is Literal:
        check_choice(value, get_args(hint), name)
        return value
    if get_origin(hint) is tuple:
        return _fitted_tuple(get_args(hint), value, name)
    if isinstance(hint, UnionType) or get_origin(hint) is Union:  # the second where a Literal is in it
        return _fitted_union(get_args(hint), value, name)
    if get_origin(hint) is dict:
        return _fitted_table(get_args(hint), value, name)
    accepted = {float: (float, int), Path: (Path, str)}.get(hint, hint)
    is_bool = isinstance(value, bool)  # which Python counts among the whole numbers
    if not isinstance(value, accepted) or is_bool != (hint is bool):
        raise InputError(f"{name} must be {KINDS.get(hint) or f'a {hint.__name__}'}, got {value!r}.")
    if hint is float and not abs(value) <= sys.float_info.max:
        raise InputError(f"{name} must be a finite number, got {value}.")
    return hint(value) if hint in (float, Path) else value


def _fitted_union(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    """``kinds`` are one type and None, or several plain types, of which the value must be one as it is."""
    if NoneType in kinds:
        return None if value is None else fitted(kinds[0], value, name)
    if type(value) not in kinds:
        raise InputError(f"{name} must be {', '.join(KINDS[kind] for kind in kinds)}, got {value!r}.")
    return value


def _fitted_table(kinds: tuple[Any, ...], value: Any, name: str) -> dict[Any, Any]:
    """``kinds`` are the types of the keys and of the values."""
    if not isinstance(value, dict):
        raise InputError(f"{name} must be a table of names and values, got {value!r}.")
    return {fitted(kinds[0], key, name): fitted(kinds[1], each, f"{name}.{key}") for key, each in value.items()}


def _fitted_tuple(items: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    """``items`` are the arguments of a tuple type: one kind of entry, then ``...`` or as often as there are entries."""
    is_open = items[-1] is Ellipsis
    if not isinstance(value, list | tuple) or not (is_open or len(value) == len(items)):
        raise InputError(f"{name} must be a list{'' if is_open else f' of {len(items)} values'}, got {value!r}.")
    return tuple(fitted(items[0], each, name) for each in value)


def fit_fields(config: Any) -> None:
    """Replace the value of every field of a dataclass by the one that is ``fitted`` to its type."""
    for name, hint in get_type_hints(type(config)).items():
        object.__setattr__(config, name, fitted(hint, getattr(config, name), name))


def check_range(config: Any, least: float, most: float, *names: str) -> None:
    """Raise unless the fields lie between the two: beyond is what no machine holds, or what cannot be."""
    for name in names:
        check_at_least(value := getattr(config, name), least, name)
        if value > most:
            raise InputError(f"{name} must be at most {most}, got {value}.")
