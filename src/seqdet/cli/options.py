"""The options of a command: how they are spelt, and how a message quotes what was typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints

from ..checks import InputError, fitted
from ..config_files import read_value

SHORT = {"-o": "--out", "--from": "--source"}
EVERYWHERE = ("--config", "--print_config", "--help", "--version")
NAME = re.compile(r"(?<![\w./\\'\"-])(?:--)?[a-z]\w*(?:\.\w+)*(?!\w|\.\w|[-/\\'\"])")
"""What may be the name of an option in a message; not a part of a path, and not a quoted value."""

SUBJECT = re.compile(r"[\w.]+(?:(?:, | and )[\w.]+)*(?= must )")
"""What a message begins with: the settings that it is about."""


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
        if name in options:
            typed[name] = (option if option.startswith("--") else name, value if equals else after)
    return typed


def quoting(message: str, args: Sequence[str], options: Mapping[str, Any]) -> str:
    """A message about settings, with their names and values as they were typed in ``args``.

    The library speaks of its arguments and of values as they were converted, ``size_hw ... got (0, 640)``; who typed
    ``--size-hw 0,640`` reads that. Names that were not typed become options where a command has them.
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
