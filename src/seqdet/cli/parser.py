"""From words on the command line to settings; what does not fit is one line."""

from __future__ import annotations

import json
import logging
import re
import sys
from argparse import SUPPRESS, Action
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from ..allowing import allow
from ..checks import InputError, check_choice, fitted
from ..config import ModelConfig, RunConfig
from ..config_files import check_setting, for_model, from_dict, read_config, read_value, recipes, suggestion
from . import UsageError
from .detectors import (
    benchmark_model,
    diagnose_run,
    evaluate_results,
    export_model,
    import_weights,
    list_models,
    predict_recording,
    train,
)
from .options import (
    MODEL_NAME,
    RECIPE,
    SHORT,
    as_list,
    flat,
    list_entries,
    missing_sentence,
    options_of,
    parsers_name,
    users_name,
    usual_model,
)
from .recordings import (
    audit_dataset,
    convert_recording,
    import_dataset,
    inspect_recording,
    precompute_tensors,
    simulate_digits,
    simulate_frames,
)

log = logging.getLogger("seqdet")
PARTS = get_type_hints(RunConfig)
OWN_FUNCTIONS = ("--tensor", "--data.dataset.tensor.representation", MODEL_NAME)
"""Options that name what makes the frames, or the detector. Whoever types a function of their own here allows it."""
LIST_TYPE = re.compile(r"(?:Optional\[)?tuple\[([^\]]*)\]\]?(?: \| null)?")
MISSING = re.compile(r"the following arguments are required: (\w+\.[\w.]+)")
ALLOW = "--allow"
ALLOW_HELP = """
functions of your own:
  --allow ALLOW         Call this function where a file names it to make the frames or
                        the detector: module:function, or path/to/file.py:function. It
                        is taken from the command line alone. (type: str)
"""
RECIPE_HELP = """
recipes:
  --recipe NAME         Begin with the settings of a recipe that comes with seqdet, which
                        all other options override: {}.
"""
ALLOWING = ("train", "evaluate", "diagnose", "predict", "export", "benchmark")
"""Commands that may call such functions."""
COMMANDS: dict[str, Any] = {
    "train": train,
    "evaluate": evaluate_results,
    "diagnose": diagnose_run,
    "predict": predict_recording,
    "export": export_model,
    "import-weights": import_weights,
    "benchmark": benchmark_model,
    "models": list_models,
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


FIRST = (
    *("--out", "--resume", "--config", "--help", "--help-all", "--print_config"),
    *("--data.dataset.folder", "--data.lanes", "--data.clip_length", "--data.workers"),
    *("--model.name", "--model.base", "--model.channels", "--model.classes"),
    *("--train.max_steps", "--train.lr", "--train.precision", "--train.device", "--train.processes", "--train.seed"),
)
"""Options of ``train`` that its help shows at first."""


def wanted(words: Sequence[str]) -> dict[str, Any]:
    """The commands for the parser: with all their options what the words ask for, and only named what they do not."""
    alone = [words[0]] if words and words[0] in COMMANDS else []
    if words[:1] == ["--help"] or words[:1] == ["-h"] or words[:1] == ["--version"]:
        return {name: _named(command) for name, command in COMMANDS.items()}
    return {
        name: _flat(command, tuple(words)) if not alone or name in alone else _named(command)
        for name, command in COMMANDS.items()
    }


def _flat(command: Any, words: tuple[str, ...]) -> Any:
    if isinstance(command, dict):
        return {name: flat(each, words) if callable(each) else each for name, each in command.items()}
    return flat(command, words)


def _named(command: Any) -> Any:
    """A command that has nothing but its description."""
    if isinstance(command, dict):
        return {name: _named(each) if callable(each) else each for name, each in command.items()}

    def named() -> None:
        pass

    named.__doc__ = command.__doc__
    return named


class HelpFormatter(DefaultHelpFormatter):
    """Writes lists as the command line takes them."""

    def _expand_help(self, action: Action) -> str:
        text = LIST_TYPE.sub(lambda found: found[1].replace(", ", ","), super()._expand_help(action))
        text = text.replace("<class 'Path'>", "Path").replace(", default: )", ")")
        if isinstance(action.default, tuple):
            text = text.replace(
                f"default: {action.default}", f"default: {','.join(map(str, action.default)) or 'none'}"
            )
        return text


class HelpAll(Action):
    """Shows the help with all options."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, SUPPRESS, nargs=0, default=SUPPRESS, **kwargs)

    def __call__(self, parser: Any, *args: Any) -> None:
        sys.stdout.write(parser.format_help(is_whole=True))
        parser.exit()


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

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        if self.prog.split()[-1] == "train":
            name = self.get_default("model.name")
            content, other = for_model(content, name)
            if other is not None:
                log.info("The settings of %s in the configuration are left out for %s.", other, name)
        return super().parse_string(content, *args, **kwargs)

    def add_function_arguments(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str]:
        if function.__name__ == "train":
            self.add_argument("--help-all", action=HelpAll, help="Show all options and exit.")
        return super().add_function_arguments(function, *args, **kwargs)

    def format_help(self, *args: Any, is_whole: bool = False, **kwargs: Any) -> str:
        command = self.prog.split()[-1]
        options = options_of(functions(command))
        for action in self._actions:
            if command == "train" and not is_whole and not {*action.option_strings} & {*FIRST}:
                action.help = SUPPRESS
            if not action.option_strings and action.metavar:  # a list of paths
                action.metavar = f"{action.dest} ..."
            spelt_short = [short for short, long in SHORT.items() if long in action.option_strings]
            action.option_strings = [*spelt_short, *(each for each in action.option_strings if each != "--source")]
            for option in action.option_strings:
                if entries := list_entries(options.get(option)):
                    action.metavar = ",".join(getattr(entry, "__name__", "...") for entry in entries).upper()
        text = super().format_help(*args, **kwargs) + (ALLOW_HELP if command in ALLOWING else "")
        text += RECIPE_HELP.format(", ".join(recipes())) if command == "train" else ""
        return re.sub(r"--[a-z]+(?:_[a-z]+)+(?![\w.])", lambda found: users_name(found[0]), text)

    def instantiate(self, namespace: Namespace, *args: Any, **kwargs: Any) -> Namespace:
        namespace = namespace.clone()
        for option, kind in options_of(functions(self.prog.split()[-1])).items():
            name = option.removeprefix("--")
            is_group = name in namespace and "." not in name
            is_group &= "subcommand" not in namespace  # which may have that name as well
            if is_group and isinstance(kind, type) and is_dataclass(kind):
                kind = ModelConfig if issubclass(kind, ModelConfig) else kind
                namespace[name] = from_dict(kind, namespace.as_dict()[name], name=name)
        return super().instantiate(namespace, instantiate_groups=False)

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """What ``--config`` reads."""
        return super().dump(Namespace({name: namespace[name] for name in PARTS if name in namespace}), *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UsageError(self.sentence(message)) from ex

    def sentence(self, message: str) -> str:
        """What is wrong, in the words of the configuration where it is about a setting."""
        if missing := MISSING.match(message):
            command, name = missing[1].split(".")[-2:]
            return missing_sentence(name, functions(command)[0])
        if unknown := re.match(r"unrecognized arguments: ([^\s=]+)", message):
            options = [option for action in self._actions for option in action.option_strings]
            like_options = re.sub(r"(?<=\w)-", "_", unknown[1])
            if like_options.startswith("--model.") and MODEL_NAME in options:
                has = ", ".join(sorted(each[len("--model.") :] for each in options if each.startswith("--model.")))
                settings = f"The settings of {self.get_default('model.name')} are {has}."
                return f"unknown argument {unknown[1]}. {settings}{suggestion(like_options, options)}"
            return f"unknown argument {unknown[1]}.{suggestion(like_options, options)}"
        if not (named := re.match(r'Parser key "([\w.]+)":', message)):
            return message
        words = [word for arg in self.args for word in (arg.split("=", 1) if arg.startswith("--") else [arg])]
        given = [value for option, value in pairwise(words) if option == f"--{named[1]}"]
        options = options_of(functions(self.prog.split()[-1], words))
        try:
            for value in given:
                if named[1].partition(".")[0] in PARTS:
                    check_setting(named[1], value, model=usual_model(words).name)
                elif f"--{named[1]}" in options:
                    fitted(options[f"--{named[1]}"], read_value(value), named[1])
        except InputError as error:
            return str(error)
        if "Does not validate against" in message:  # what the parser tried, at length
            return f"--{named[1]} cannot be {''.join(given)!r}; --help says what it can be."
        return f"--{named[1]}: {message[named.end() :]}"


def functions(command: str, words: Sequence[str] = ()) -> list[Callable[..., Any]]:
    """The functions behind a command: several where one more word tells which.

    Args:
        command: its name.
        words: the command line, for the options of the architecture that it names.
    """
    found = COMMANDS.get(command) or COMMANDS.get("simulate", {}).get(command)
    return [
        flat(each, tuple(words)) for each in ([found] if callable(found) else (found or {}).values()) if callable(each)
    ]


def spelt(args: Sequence[str]) -> list[str]:
    """The arguments as the parser takes them: ``--dry-run`` as ``--dry_run=true``, ``480,640`` and many paths as lists.

    Functions that they name are allowed, and named as files name them; ``--allow`` does nothing else and goes.
    """
    words = _files_first(_allowed([SHORT.get(word, word) for word in args]))
    options = options_of(functions(words[0], words)) if words else {}
    for n, word in enumerate(words):
        if not word.startswith("--"):
            continue
        option, equals, value = word.partition("=")
        name = parsers_name(option, options)
        words[n] = name + equals + (as_list(options.get(name), value) if equals else "")
        after = "" if equals or n + 1 == len(words) else words[n + 1]
        if "." not in name and options.get(name) is bool and not equals and after not in ("true", "false"):
            words[n] += "=true"
        elif after and list_entries(options.get(name)):
            words[n + 1] = as_list(options[name], after)
    for n, (before, word) in enumerate(pairwise(words), 1):
        option, equals, value = word.partition("=") if word.startswith("--") else (before, "", word)
        if option in OWN_FUNCTIONS and ":" in value:
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
    second = {"evaluate": "--dataset", "import": "--recordings"}.get(words[0] if words else "")
    if second and len(places) == 2:
        words.insert(places[1], second)
    alone = {"precompute": 0, "predict": 1}.get(words[0] if words else "", len(places))
    if several := places[alone:]:
        first = [words[n] for n in places[:alone]]
        rest = (word for n, word in enumerate(words) if n and n not in places)
        words = [words[0], *first, json.dumps([words[n] for n in several]), *rest]
    return words


def _files_first(args: list[str]) -> list[str]:
    """The arguments with configurations before the options, which win over them; a recipe is one that seqdet brings."""
    begin = 2 if args[:1] == ["simulate"] and {*args[1:2]} & {*COMMANDS["simulate"]} else 1
    words = iter(args[begin:])
    known = recipes()
    files = []
    others = []
    for word in words:
        option, equals, value = word.partition("=")
        if option == RECIPE and args[0] == "train":
            name = value if equals else next(words, "")
            check_choice(name, known, RECIPE)
            files += ["--config", str(known[name])]
        elif word == "--config":
            files += [word, *islice(words, 1)]
        else:
            (files if option == "--config" else others).append(word)
    return [*args[:begin], *files, *others]


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
