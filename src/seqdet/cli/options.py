"""The options of a command: how they are spelt, and how a message quotes what was typed."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.util import resolve_name
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from docstring_parser import parse, parse_from_object

from ..checks import InputError, fitted
from ..config import ModelConfig, VanillaConfig, usual_config
from ..config_files import model_named, read_value, recipes


class Typed(frozenset[str]):
    """The options that a user typed, as the parser names them, whatever their values; for a command that asks."""


SPELT = {"representation": "tensor"}
"""Options that are spelt otherwise than the field of a dataclass that they are."""
HIDDEN = ("replace_labels",)
"""Fields that are no options."""
COMMON = {
    "place": "the group or table of an HDF5 file that has the events, where there are several.",
    "strict": "stop at the first fault instead of leaving it out and counting it.",
    "size_hw": "height and width of the sensor, for recordings that do not say.",
    "time_unit": "of the times, for tables and HDF5 columns that do not say; guessed if not given.",
}
"""What an option means of which a command says nothing of its own."""
REQUIRED = inspect.Parameter.empty
SHORT = {"-o": "--out", "--from": "--source"}
RECIPE = "--recipe"
MODEL_NAME = "--model.name"
FILES = ("--config", RECIPE)
"""Options that stand for many others."""
EVERYWHERE = (*FILES, "--print_config", "--help", "--help-all", "--version")
NAME = re.compile(r"(?<![\w./\\'\"-])(?:--)?[a-z]\w*(?:\.\w+)*(?!\w|\.\w|[-/\\'\"])")
"""What may be the name of an option in a message; not a part of a path, and not a quoted value."""

SUBJECT = re.compile(r"[\w.]+(?:(?:, | and )[\w.]+)*(?= must )")
"""What a message begins with: the settings that it is about."""


class _Late(dict[str, Any]):
    """What a module imports for the type checker alone, by name: imported when a command that names it is asked for."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.package = module.rpartition(".")[0]
        self.homes: dict[str, str] = {}
        with suppress(OSError, TypeError):  # Python has no file of it
            blocks = [
                each for each in ast.parse(inspect.getsource(sys.modules[module])).body if isinstance(each, ast.If)
            ]
            imports = [each for block in blocks for each in block.body if isinstance(each, ast.ImportFrom)]
            self.homes = {name.name: f"{'.' * each.level}{each.module}" for each in imports for name in each.names}

    def __missing__(self, name: str) -> Any:
        return getattr(import_module(resolve_name(self.homes[name], self.package)), name)


@cache
def flat(command: Callable[..., Any], words: tuple[str, ...] = ()) -> Callable[..., Any]:
    """A command as the parser takes it: the fields of the dataclasses that it needs are arguments of its own.

    Their defaults and descriptions are those of the dataclass; what the docstring of the command says of an option goes
    before that. A dataclass with a default is an option with its own name in front of those of its fields.

    Args:
        command: a function.
        words: the command line, if it is known: for an argument of the type ``Typed``, and for a ``ModelConfig``, whose
            options are those of the architecture that it names.
    """
    hints = get_type_hints(command, localns=_Late(command.__module__))
    parameters = inspect.signature(command).parameters
    kinds = {
        name: hints[name] for name, each in parameters.items() if is_dataclass(hints[name]) and each.default is REQUIRED
    }
    asks = [name for name in parameters if hints[name] is Typed]
    arguments = []
    described = dict(COMMON)
    for name, argument in parameters.items():
        if name in kinds:
            arguments += _arguments(kinds[name])
            described |= _descriptions(kinds[name])
        elif name not in asks:
            arguments.append(argument.replace(annotation=hints[name]))
    usual = usual_model(words) if ModelConfig in hints.values() else None
    arguments = [
        each.replace(annotation=type(usual), default=usual) if each.annotation is ModelConfig else each
        for each in arguments
    ]
    arguments.sort(key=lambda argument: (argument.kind, argument.default is not REQUIRED))
    says = parse(command.__doc__ or "")
    described |= {each.arg_name: each.description or "" for each in says.params}

    def called(**given: Any) -> Any:
        """The command, with its dataclasses built."""
        built = {name: _built(kind, given) for name, kind in kinds.items()}
        typed = Typed(typed_options(words, options_of([called])))
        return command(**built, **given, **dict.fromkeys(asks, typed))

    lines = [f"    {each.name}: {' '.join(described.get(each.name, '').split())}" for each in arguments]
    called.__doc__ = "\n".join([says.description or "", "", "Args:", *lines]) if lines else command.__doc__
    called.__name__ = called.__qualname__ = command.__name__
    called.__module__ = command.__module__
    called.__annotations__ = {each.name: each.annotation for each in arguments}
    called.__dict__["__signature__"] = inspect.Signature(arguments)
    return called


def usual_model(words: Sequence[str]) -> ModelConfig:
    """The settings of the architecture that a command line names, by its option or by a file; else the usual one.

    Raises:
        InputError: if there is no such architecture.
    """
    typed = []
    files = []
    for word, after in pairwise([*words, ""]):
        option, equals, value = word.partition("=")
        value = value if equals else after
        if option == MODEL_NAME:
            typed.append(value)
        elif option == "--config":
            files.append(Path(value))
        elif option == RECIPE and value in recipes():
            files.append(recipes()[value])
    named = typed or list(filter(None, map(model_named, files)))
    return usual_config(named[-1] if named else VanillaConfig.name)


def _shown(kind: Any) -> Iterator[tuple[Field[Any], str, Any]]:
    """The fields of a dataclass that are options, or dataclasses of options: with the option's name, and the type."""
    hints = get_type_hints(kind)
    for each in fields(kind):
        if each.name not in HIDDEN:
            yield each, SPELT.get(each.name, each.name), hints[each.name]


def _arguments(kind: Any) -> list[inspect.Parameter]:
    """The fields as arguments by name, those of dataclasses in it too."""
    found = []
    for each, name, hint in _shown(kind):
        if is_dataclass(hint):
            found += _arguments(hint)
            continue
        default = each.default if each.default_factory is MISSING else each.default_factory()
        default = REQUIRED if default is MISSING else default
        found.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint))
    return found


def _built(kind: Any, given: dict[str, Any]) -> Any:
    """The dataclass of its options, which are taken out of what is given."""
    return kind(
        **{
            each.name: _built(hint, given) if is_dataclass(hint) else given.pop(name)
            for each, name, hint in _shown(kind)
        }
    )


def _descriptions(kind: Any) -> dict[str, str]:
    """What the options of a dataclass mean: by the docstrings below them, or by lines ``name: text`` in its own."""
    texts = {each.arg_name: each.description for each in parse_from_object(kind).params if each.description}
    for names, text in re.findall(r"^    ((?:\w+, )*\w+): (.+(?:\n {8,}.+)*)", kind.__doc__ or "", re.MULTILINE):
        texts |= dict.fromkeys(names.split(", "), text)
    found = {}
    for each, name, hint in _shown(kind):
        found |= _descriptions(hint) if is_dataclass(hint) else {name: texts.get(each.name, "")}
    return {name: text for name, text in found.items() if text}


def options_of(functions: Iterable[Callable[..., Any]]) -> dict[str, Any]:
    """The type of every option of commands, as the parser names it: ``--size_hw``, ``--data.clip_length``."""
    found = {}

    def add(prefix: str, kind: Any) -> None:
        for name, hint in get_type_hints(kind).items():
            if name != "return":
                found[f"{prefix}{name}"] = hint
            if is_dataclass(hint):
                add(f"{prefix}{name}.", hint)

    for each in functions:
        add("--", each)
    return found


def parsers_name(option: str, options: Mapping[str, Any]) -> str:
    """``--size_hw`` for ``--size-hw``, ``--duration_us`` for ``--duration``; what is unknown stays as it is."""
    option = SHORT.get(option, option)
    name = "--" + option[2:].replace("-", "_")
    if name not in options and f"{name}_us" in options:  # the unit of all times
        return f"{name}_us"
    return name if name in options or name in EVERYWHERE else option


def users_name(option: str) -> str:
    """``--size-hw`` for ``--size_hw``; settings of a configuration are spelt as there, ``--data.clip_length``."""
    return option if "." in option else "--" + option[2:].replace("_", "-")


def missing_sentence(name: str, command: Callable[..., Any]) -> str:
    """That the argument ``name`` of a flat command must be given, and what it is."""
    argument = inspect.signature(command).parameters[name]
    option = next((short for short, long in SHORT.items() if long == f"--{name}" and len(short) > 2), f"--{name}")
    meaning = next(each.description for each in parse(command.__doc__ or "").params if each.arg_name == name)
    shown = users_name(option) if argument.kind is inspect.Parameter.KEYWORD_ONLY else name
    return f"{shown} must be given: {(meaning or '').rstrip('.')}."


def list_entries(hint: Any) -> tuple[Any, ...]:
    """The types of the entries of an option that is a list, ``(int, int)`` or ``(str, ...)``; none if it is not."""
    kinds = (hint, *get_args(hint))  # of a list, or of a list and None
    return next((get_args(kind) for kind in kinds if get_origin(kind) is tuple), ())


def as_list(hint: Any, text: str) -> str:
    """``480,640`` for an option that is a list, as the list that a configuration holds, ``[480,640]``."""
    entries = list_entries(hint)
    if not entries or text.lstrip().startswith("["):
        return text
    if entries[0] is str:
        return json.dumps([each.strip() for each in text.split(",") if each.strip()])
    return f"[{text}]"


def typed_options(args: Sequence[str], options: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Option and value as they were typed, by the name that the parser has for it."""
    typed = {}
    for word, after in pairwise([*args, ""]):
        option, equals, value = word.partition("=")
        name = parsers_name(option, options)
        if name in options or name in FILES:
            typed[name] = (option if option.startswith("--") else name, value if equals else after)
    return typed


def quoting(message: str, args: Sequence[str], options: Mapping[str, Any]) -> str:
    """A message about settings, with their names and values as they were typed in ``args``.

    The library speaks of its arguments and of values as they were converted, ``size_hw ... got (0, 640)``; who typed
    ``--size-hw 0,640`` reads that. Names that were not typed become options where a command has them.

    Args:
        message: of an error.
        args: the command line.
        options: of the command, as ``options_of`` gives them.
    """
    typed = typed_options(args, options)
    subject = SUBJECT.match(message)
    head, got, tail = message.partition("got ")
    said = []

    def spelt(found: re.Match[str]) -> str:
        option = _meant(found[0].removeprefix("--"), options, typed, tail)
        is_plain = not {"_", ".", "-"} & {*found[0]}  # may be a common word
        if option is None or (is_plain and not (option in typed and subject and found.end() <= subject.end())):
            return found[0]
        if option in typed:
            said.append(option)
            return typed[option][0]
        return users_name(option) if "." not in option else found[0]

    head = NAME.sub(spelt, head)
    for option in said:
        tail = _with_value(tail, options[option], typed[option][1])
    is_list = any(list_entries(options[option]) for option in said)
    hint = " Entries of a list stand between commas, as in 480,640." if is_list and "must be a list" in head else ""
    return head + got + tail + hint


def _meant(name: str, options: Mapping[str, Any], typed: Mapping[str, tuple[str, str]], tail: str) -> str | None:
    """The option that a message means by a name, or by the last part of its name; None if it may be several."""
    found = [each for each in options if each == f"--{name}" or each.endswith(f".{name}")]
    if len(found) == 1 and {"_", "."} & {*name}:
        return found[0]
    given = [each for each in found if each in typed]
    quoted = [each for each in given if _quoted(tail, options[each], typed[each][1])]
    return quoted[0] if len(quoted) == 1 else None


def _with_value(text: str, hint: Any, value: str) -> str:
    """The text with ``value`` in place of what it was converted to."""
    if re.match(rf"'?{re.escape(value)}(?!\w)", text) or not (found := _quoted(text, hint, value, whole=True)):
        return text
    return text[: found.start()] + value + text[found.end() :]


def _quoted(text: str, hint: Any, value: str, *, whole: bool = False) -> re.Match[str] | None:
    """Where a text has a typed value as it was converted, or, unless it must be whole, an entry of a typed list."""
    read = read_value(as_list(hint, value))
    found = [value, read]
    with suppress(InputError):
        found.append(fitted(hint, read, ""))
    with suppress(ValueError, TypeError):
        found.append(float(read))
    if isinstance(read, list):
        found += [tuple(read), *([] if whole else read)]
    spellings = [spelling for each in found for spelling in (repr(each), str(each)) if spelling]
    matches = (re.search(rf"(?<![\w.]){re.escape(each)}(?!\w|\.\d)", text) for each in spellings)
    return max(filter(None, matches), key=lambda match: len(match[0]), default=None)
