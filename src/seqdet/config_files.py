"""Configurations as tables of plain values, and as YAML files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import yaml

from .checks import InputError, fitted
from .config import InputConfig, ModelConfig, PictureInput, RunConfig, Shown, VanillaConfig, usual_config
from .files import write_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
RECIPES = Path(__file__).parent / "recipes"
FORMAT = "# seqdet run "
VERSION = "1"
"""Together the first line of a written configuration; a comment, so that the file is a recipe as well."""
MODEL_SETTINGS = tuple(each.name for each in fields(ModelConfig))
"""Those that every architecture has."""
MOST_VALUES = 100_000
"""Of a YAML file. Aliases, which repeat what they name, make any number of a few lines."""


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

    A ``ModelConfig`` is that of the architecture that its name stands for.

    Args:
        kind: a dataclass of settings, such as ``RunConfig``.
        values: what ``to_dict`` gave.
        name: where the values come from, for the message.

    Raises:
        InputError: if a key or a value does not fit.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{name} must be a table of settings, got {values!r}.")
    usual = None
    if kind is ModelConfig:
        usual = _usual_model(values.get("name", VanillaConfig.name), name)
        kind = cast(type[Config], type(usual))
    hints = get_type_hints(kind)
    if unknown := [key for key in values if key not in hints]:
        settings = f"The settings are {', '.join(sorted(hints))}.{suggestion(unknown[0], hints)}"
        raise InputError(f"{name} has no setting {unknown[0]!r}. {settings}")
    needed = [each.name for each in fields(kind) if each.default is each.default_factory is MISSING]
    if missing := [key for key in needed if key not in values]:
        raise InputError(f"{name} must have the setting {missing[0]!r}, and has not.")
    parsed = {key: _parsed(hints[key], value, f"{name}.{key}") for key, value in values.items()}
    try:
        return kind(**parsed) if usual is None else cast(Config, replace(usual, **parsed))
    except InputError as error:
        raise InputError(f"{name}.{error}") from error


def shown_from_dict(values: Any, *, name: str) -> Shown | None:
    """What frames show, of the values that ``to_dict`` gave; None of None. Raises ``InputError`` as ``from_dict``."""
    if values is None:
        return None
    is_of_pictures = isinstance(values, Mapping) and "colour" in values
    return from_dict(PictureInput if is_of_pictures else InputConfig, values, name=name)


def _usual_model(model: Any, name: str) -> ModelConfig:
    """What the name of an architecture stands for, as it stands in a file."""
    if not isinstance(model, str):
        raise InputError(f"{name}.name must be text, got {model!r}.")
    try:
        return usual_config(model)
    except InputError as error:
        raise InputError(f"{name}.{str(error).removeprefix('model.')}") from error


def model_named(path: Path) -> str | None:
    """The architecture that a file of a configuration names; None if it names none, or cannot be read."""
    with suppress(OSError, ValueError, RecursionError, yaml.YAMLError, AttributeError):
        name = yaml.load(path.read_text(encoding="utf-8"), _Strict).get("model", {}).get("name")
        return name if isinstance(name, str) else None
    return None


def for_model(text: str, name: str) -> tuple[str, str | None]:
    """The text of a configuration for another architecture than its own: the settings of that one left out.

    Args:
        text: as ``read_config`` reads it.
        name: of the architecture.

    Returns:
        The text, and the name of the architecture that it was for, if it had settings of another one.
    """
    values = yaml.load(text, _Strict)
    model = values.get("model") or {}
    own = model.get("name", VanillaConfig.name)
    general = {key: value for key, value in model.items() if key in MODEL_SETTINGS and key != "name"}
    if own == name or not model:
        return text, None
    return yaml.safe_dump({**values, "model": {"name": name, **general}}, sort_keys=False), own


def check_setting(name: str, text: str, *, model: str = VanillaConfig.name) -> None:
    """Raise unless ``text``, which may be YAML, fits the setting ``name``, like ``train.lr``.

    Args:
        name: of the setting.
        text: its value.
        model: the architecture that settings of ``model`` are of.

    Raises:
        InputError: as ``from_dict``.
    """
    value = read_value(text)
    part, *keys = name.split(".")
    for key in reversed(keys):
        value = {key: value}
    if part == "model" and keys and keys != ["name"]:
        value = {"name": model, **value}
    from_dict(get_type_hints(RunConfig)[part], value, name=part)


def suggestion(name: object, known: Collection[str]) -> str:
    """The question whether a similar name was meant, to end a message with; nothing if there is none."""
    ends = [each for each in known if each.endswith(f".{str(name).lstrip('-')}")]
    return "".join(f" Did you mean {each}?" for each in (ends or get_close_matches(str(name), known, cutoff=0.7))[:1])


def _parsed(hint: Any, value: Any, name: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, name=name)
    if get_origin(hint) is dict and isinstance(value, Mapping):
        value = {key: _parsed(get_args(hint)[1], each, f"{name}.{key}") for key, each in value.items()}
    if hint is float and isinstance(value, str):  # YAML takes 1e-3 for text
        with suppress(ValueError):
            value = float(value)
    return fitted(hint, value, name)


def recipes() -> dict[str, Path]:
    """The recipes that come with seqdet, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}


def write_config(config: RunConfig, path: Path) -> None:
    """Write ``path`` as YAML, in the layout of a recipe."""
    write_text(path, f"{FORMAT}{VERSION}\n{to_yaml(config)}")


def to_yaml(config: RunConfig) -> str:
    """The configuration as the YAML text of a recipe."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def read_config(path: Path) -> RunConfig:
    """The configuration that ``write_config`` wrote, or a recipe, whose first line names no version.

    Raises:
        InputError: if the file is missing, is no YAML, is of an unknown version, gives a setting twice, or holds a key
            or value that does not fit.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.load(text, _Strict)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as a configuration: {' '.join(str(error).split())}.") from error
    first = text.partition("\n")[0]
    if first.startswith(FORMAT) and (version := first.removeprefix(FORMAT).strip()) != VERSION:
        raise InputError(f"{path} must be of version {VERSION}, got {version}. A newer seqdet wrote it.")
    return from_dict(RunConfig, values, name=str(path))


def read_yaml(text: str) -> Any:
    """Plain values alone. Raises ``yaml.YAMLError``, ValueError or RecursionError if it is none, or far too many."""
    return yaml.load(text, _Bounded)


def read_value(text: str) -> Any:
    """What ``text`` is as YAML, or itself if it is none."""
    try:
        return read_yaml(text)
    except (ValueError, RecursionError, yaml.YAMLError):
        return text


class _Bounded(yaml.SafeLoader):
    """Counts the values before any is made."""

    def get_single_node(self) -> yaml.Node | None:
        root = super().get_single_node()
        if root is not None and _values(root, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"aliases make more than {MOST_VALUES:,} values of it")
        return root


class _Strict(_Bounded):
    """Refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.YAMLError(f"{key.value} is given twice, again in line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _values(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node stands for, those that aliases repeat as often as they do; infinite if it holds itself."""
    if id(node) not in known:
        known[id(node)] = inf
        inner = [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 if isinstance(node, yaml.ScalarNode) else 1 + sum(_values(each, known) for each in inner)
    return known[id(node)]
