"""From words on the command line to settings; what does not fit is one line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from ..allowing import allow
from ..checks import InputError, one_line
from ..config import EventDigitsConfig, RunConfig
from ..config_files import check_setting, from_dict, read_config, suggestion
from ..events.sensor import Sensor
from .benchmarking import benchmark_model
from .datasets import audit_dataset, import_dataset
from .exporting import export_model
from .prediction import predict_recording
from .recordings import convert_recording, inspect_recording, precompute_tensors, simulate_digits, simulate_frames
from .training import evaluate_results, train

PARTS = get_type_hints(RunConfig)
GROUPS = {**PARTS, "scene": EventDigitsConfig, "sensor": Sensor}
"""Options that are dataclasses."""
REPRESENTATIONS = ("--tensor", "--data.dataset.tensor.representation")
"""Options that name what makes the frames. Whoever types a function of their own here allows it."""
ALLOW = "--allow"
ALLOW_HELP = """
functions of your own:
  --allow ALLOW         Call this function where a file names it to make the frames:
                        module:function, or path/to/file.py:function. It is taken from
                        the command line alone. (type: str)
"""
ALLOWING = ("train", "evaluate", "predict", "export", "benchmark")
"""Commands that may call such functions."""
COMMANDS: dict[str, Any] = {
    "train": train,
    "evaluate": evaluate_results,
    "predict": predict_recording,
    "export": export_model,
    "benchmark": benchmark_model,
    "inspect": inspect_recording,
    "convert": convert_recording,
    "precompute": precompute_tensors,
    "import": import_dataset,
    "audit": audit_dataset,
    "simulate": {
        "_help": "Write the events of a video, of images or of moving digits.",
        "frames": simulate_frames,
        "digits": simulate_digits,
    },
}


class Parser(ArgumentParser):
    """Checks settings as those in a file are checked, and says in one line what does not fit."""

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:
        try:
            return super().parse_args(*args, **kwargs)
        except (OSError, UnicodeError) as error:
            raise InputError(f"a file that an option names cannot be read: {error}.") from error

    def parse_path(self, path: Any, *args: Any, **kwargs: Any) -> Namespace:
        if self.prog.split()[-1] == "train":
            read_config(Path(path))
        return super().parse_path(path, *args, **kwargs)

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        return super().format_help(*args, **kwargs) + (ALLOW_HELP if self.prog.split()[-1] in ALLOWING else "")

    def instantiate(self, namespace: Namespace, *args: Any, **kwargs: Any) -> Namespace:
        namespace = namespace.clone()
        for name, kind in GROUPS.items():
            if name in namespace and "subcommand" not in namespace:  # which may have that name as well
                namespace[name] = from_dict(kind, namespace.as_dict()[name], name=name)
        return super().instantiate(namespace, instantiate_groups=False)

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """What ``--config`` reads."""
        return super().dump(Namespace({name: namespace[name] for name in PARTS if name in namespace}), *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        self.exit(2, f"seqdet: error: {one_line(self.sentence(message))}\n")

    def sentence(self, message: str) -> str:
        """What is wrong, in the words of the configuration where it is about a setting."""
        if unknown := re.match(r"unrecognized arguments: ([^\s=]+)", message):
            options = [option for action in self._actions for option in action.option_strings]
            return f"unknown argument {unknown[1]}.{suggestion(unknown[1], options)}"
        if not (named := re.match(r'Parser key "([\w.]+)":', message)):
            return message
        words = [word for arg in self.args for word in (arg.split("=", 1) if arg.startswith("--") else [arg])]
        if "Does not validate against" in message:  # what the parser tried, at length
            given = "".join(value for option, value in pairwise(words) if option == f"--{named[1]}")
            return f"--{named[1]} cannot be {given!r}; --help says what it can be."
        try:
            for option, value in pairwise(words):
                if option == f"--{named[1]}" and option[2:].partition(".")[0] in PARTS:
                    check_setting(named[1], value)
        except InputError as error:
            return str(error)
        return f"--{named[1]}: {message[named.end() :]}"


def spelt(args: Sequence[str]) -> list[str]:
    """The arguments as the parser takes them: ``--dry-run`` as ``--dry_run=true``, ``-o``, many paths as one list.

    Functions that they name are allowed, and named as files name them; ``--allow`` does nothing else and goes.
    """
    short = {"-o": "--out", "--from": "--source"}
    words = _allowed([short.get(word, word) for word in args])
    named = COMMANDS.get(words[0] if words else "", {})
    functions = [named] if callable(named) else [each for each in named.values() if callable(each)]
    options = {f"--{name}": kind for each in functions for name, kind in get_type_hints(each).items()}
    for n, word in enumerate(words):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            name = "--" + name[2:].replace("-", "_")
            if name not in options and f"{name}_us" in options:  # the unit of all times
                name += "_us"
            words[n] = name + equals + value
            if options.get(words[n]) is bool and (words[n + 1 :] or [""])[0] not in ("true", "false"):
                words[n] += "=true"
    for n, (before, word) in enumerate(pairwise(words), 1):
        option, equals, value = word.partition("=") if word.startswith("--") else (before, "", word)
        if option in REPRESENTATIONS and ":" in value:
            words[n] = (f"{option}=" if equals else "") + allow(value)[0]
    places = [
        n
        for n, word in enumerate(words)
        if n
        and (word == "-" or not word.startswith("-"))
        and ("=" in words[n - 1] or not words[n - 1].startswith("--"))
    ]
    if words[:1] == ["simulate"] and places and words[places[0]] not in COMMANDS["simulate"]:
        words.insert(1, "frames")
    if words[:1] == ["evaluate"] and len(places) == 2:
        words.insert(places[1], "--dataset")
    alone = {"precompute": 0, "predict": 1}.get(words[0] if words else "", len(places))
    if several := places[alone:]:
        first = [words[n] for n in places[:alone]]
        rest = (word for n, word in enumerate(words) if n and n not in places)
        words = [words[0], *first, json.dumps([words[n] for n in several]), *rest]
    return words


def _allowed(args: list[str]) -> list[str]:
    """The arguments without ``--allow``, done as it says."""
    words = iter(args)
    left = []
    for word in words:
        option, equals, value = word.partition("=")
        if option != ALLOW or args[0] not in ALLOWING:
            left.append(word)
        else:
            allow(value if equals else next(words, ""))
    return left
