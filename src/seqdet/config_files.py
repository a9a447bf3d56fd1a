"""Configurations as tables of plain values, and as YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from .checks import InputError
from .config import RunConfig
from .files import write_text

Config = TypeVar("Config")
FORMAT = "# seqdet run "
VERSION = "1"
"""Together the first line of a written configuration; a comment, so that the file is a recipe as well."""
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


def to_dict(config: Any) -> dict[str, Any]:
    """The fields of a configuration as plain values: what JSON and YAML hold."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    return plain(asdict(config))


def from_dict(kind: type[Config], values: Any, *, name: str) -> Config:
    """The configuration ``kind`` with the given values; fields that are not given keep their defaults.

    Args:
        kind: a dataclass of this module.
        values: what ``to_dict`` gave.
        name: where the values come from, for the message.

    Raises:
        InputError: if a key or a value does not fit.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{name} must be a table of settings, got {values!r}.")
    hints = get_type_hints(kind)
    if unknown := [key for key in values if key not in hints]:
        raise InputError(f"{name} has no setting {unknown[0]!r}. The settings are {', '.join(sorted(hints))}.")
    parsed = {key: _parsed(hints[key], value, f"{name}.{key}") for key, value in values.items()}
    try:
        return kind(**parsed)
    except InputError as error:
        raise InputError(f"{name}.{error}") from error


def _parsed(hint: Any, value: Any, name: str) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return from_dict(hint, value, name=name)
    if get_origin(hint) is Literal:
        return value  # which the configuration checks
    if get_origin(hint) is tuple:
        return _parsed_list(get_args(hint), value, name)
    if isinstance(hint, UnionType):  # of Path and None, the only kind there is
        if value is None:
            return None
        hint = Path
    if hint is float and type(value) in (int, str):  # YAML takes 1e-3 for text
        with suppress(ValueError, OverflowError):
            return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if type(value) is not hint:
        raise InputError(f"{name} must be {KINDS[hint]}, got {value!r}.")
    return value


def _parsed_list(items: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    """``items`` are the arguments of a tuple type: one kind of entry, then ``...`` or as often as there are entries."""
    is_open = items[-1] is Ellipsis
    if not isinstance(value, list | tuple) or not (is_open or len(value) == len(items)):
        raise InputError(f"{name} must be a list{'' if is_open else f' of {len(items)} values'}, got {value!r}.")
    return tuple(_parsed(items[0], each, name) for each in value)


def write_config(config: RunConfig, path: Path) -> None:
    """Write ``path`` as YAML, in the layout of a recipe."""
    write_text(path, f"{FORMAT}{VERSION}\n{to_yaml(config)}")


def to_yaml(config: RunConfig) -> str:
    """The configuration as the YAML text of a recipe."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def read_config(path: Path) -> RunConfig:
    """The configuration that ``write_config`` wrote, or a recipe, whose first line names no version.

    Raises:
        InputError: if the file is missing, is no YAML, is of an unknown version, or holds a key or value that does not
            fit.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as a configuration: {' '.join(str(error).split())}.") from error
    first = text.partition("\n")[0]
    if first.startswith(FORMAT) and (version := first.removeprefix(FORMAT).strip()) != VERSION:
        raise InputError(f"{path} must be of version {VERSION}, got {version}. A newer seqdet wrote it.")
    return from_dict(RunConfig, values, name=str(path))
