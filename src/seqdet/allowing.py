"""Which functions outside of seqdet may be called: those that the user named, and never those that a file names.

Weights, configurations, exported models and tensors may say that their frames are made by ``package.module:function``.
To import that module and to call that function with the parameters of the file would let the file's author run any
program. So the word of a file counts for nothing until whoever runs seqdet has said the same name: by ``--allow``, by
typing it as an option, or by ``allow`` below. Other processes of the same job know it by an environment variable.

A run remembers what its own user allowed, in a file in that user's home: a copy of the run elsewhere does not.
What is allowed holds for every later file of the process.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from .checks import InputError
from .files import write_text

log = logging.getLogger(__name__)
ALLOWED = "SEQDET_ALLOWED"
"""Environment variable: a JSON list of entries."""
FORMAT = "seqdet allowed 1"
MOST_LAYERS = 100
"""Of what wraps a function: one could wrap itself."""


def allow(*entries: str) -> list[str]:
    """Let functions be called when a file or a configuration names them, in this process and those that it starts.

    Args:
        entries: ``package.module:function``, which is imported as any other module; or ``path/to/file.py:function``,
            which files know as ``file:function``.

    Returns:
        The names as files have them.

    Raises:
        InputError: if an entry is neither, or its file is missing.
    """
    whole = [_whole(entry) for entry in entries]
    _set([*whole, *_entries()])
    return [_name(entry) for entry in whole]


def find_allowed(name: str) -> Callable[..., Any]:
    """The function ``name``, ``module:function``, if it was allowed.

    Raises:
        InputError: if it was not, or there is no such function.
    """
    entry = next((entry for entry in _entries() if _name(entry) == name), None)
    if entry is None:
        module, _, function = name.rpartition(":")
        raise InputError(
            f"{name!r} must be allowed by you, as it is code outside of seqdet and a file must not choose what runs "
            f"here. If you know what it does: --allow {name}, or --allow path/to/{module}.py:{function} if it is in a "
            "file; in Python seqdet.allow."
        )
    place, _, function = entry.rpartition(":")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else import_module(place)
        found = getattr(module, function)
    except (ImportError, AttributeError, OSError, ValueError) as error:
        where = "" if place.endswith(".py") else f" Name its file, path/to/{place}.py:{function}, or set PYTHONPATH."
        raise InputError(f"{name!r} must be an importable module:function: {error}.{where}") from error
    if not callable(found):
        raise InputError(f"{name!r} must be a function, got a {type(found).__name__}.")
    return found


def source_digest(name: str) -> str:
    """Of the files in which the function ``name`` is written: what it makes may be another thing when they change.

    These are that of the function, also of one that a decorator or ``partial`` wraps, and those of modules that it
    imports; not those of Python and of installed packages. Empty for a representation of seqdet, which changes with
    its version alone.

    Raises:
        InputError: as ``find_allowed``.
    """
    if ":" not in name:
        return ""
    contents = [path.read_bytes() for path in _own_sources(find_allowed(name))]
    if len(contents) > 1:
        contents = [hashlib.sha256(content).digest() for content in contents]
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _own_sources(function: Callable[..., Any]) -> list[Path]:
    """The files of the user in which a function is written, sorted: of its modules, and of those that they name."""
    installed = [Path(folder).resolve() for folder in {*sysconfig.get_paths().values(), str(Path(__file__).parent)}]
    waiting = [sys.modules.get(getattr(each, "__module__", None) or "") for each in _layers(function)]
    seen = set()
    found = []
    while waiting:
        module = waiting.pop()
        if module is None or module in seen:
            continue
        seen.add(module)
        path = Path(getattr(module, "__file__", None) or "").resolve()
        if path.suffix != ".py" or any(path.is_relative_to(folder) for folder in installed):
            continue
        if path.is_file():
            found.append(path)
        for value in vars(module).values():
            is_module = isinstance(value, ModuleType)
            waiting.append(value if is_module else sys.modules.get(str(getattr(value, "__module__", ""))))
    return sorted(found)


def _layers(function: Callable[..., Any]) -> Iterator[object]:
    """A function, and what it wraps: by a decorator, as a ``partial``, compiled, or as an object that is called."""
    layer: object = function
    for _ in range(MOST_LAYERS):
        yield layer
        yield type(layer)
        inner = [getattr(layer, name, None) for name in ("__wrapped__", "func", "py_func")]
        layer = next((each for each in inner if callable(each)), None)
        if layer is None:
            return


def remember(config: Path) -> None:
    """Note what is allowed now for the run with the configuration ``config``, in the home of this user."""
    if not (entries := _entries()):
        return
    facts = {"format": FORMAT, "config": str(config.resolve()), "sha256": _digest(config), "allowed": entries}
    facts["sources"] = {name: _source_or_nothing(name) for name in map(_name, entries)}
    try:
        path = _memory(config)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_text(path, json.dumps(facts, indent=2) + "\n")
    except (OSError, RuntimeError, InputError) as error:
        log.warning("%s: later commands on this run need --allow again.", error)


def recall(config: Path) -> None:
    """Allow what was allowed when the run with the configuration ``config`` began, if it began here, by this user.

    What was allowed since goes before it. A warning says which of these functions were edited since.
    """
    with suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):  # nothing is noted, or not by us
        noted = json.loads(_memory(config).read_text(encoding="utf-8"))
        if noted["format"] == FORMAT and noted["sha256"] == _digest(config):
            _set([*_entries(), *map(str, noted["allowed"])])
            for name, source in noted.get("sources", {}).items():
                if source and source != _source_or_nothing(name):
                    log.warning("%s was edited since %s was trained: it may show other frames.", name, config.parent)


def _source_or_nothing(name: str) -> str:
    """The digest of what is allowed, which may be gone by now: whoever calls it says so."""
    with suppress(InputError):
        return source_digest(name)
    return ""


def _whole(entry: str) -> str:
    """The entry as it means the same from any folder."""
    place, colon, function = entry.rpartition(":")
    is_file = place.endswith(".py")
    parts = [function] if is_file else [*place.split("."), function]
    if not colon or not all(part.isidentifier() for part in parts):
        raise InputError(f"what is allowed must be module:function or file.py:function, got {entry!r}.")
    if not is_file:
        return entry
    if not Path(place).is_file():
        raise InputError(f"{place} must be the file of {function}, and there is none.")
    return f"{Path(place).resolve()}:{function}"


def _name(entry: str) -> str:
    """What a file calls an entry."""
    place, _, function = entry.rpartition(":")
    return f"{Path(place).stem}:{function}" if place.endswith(".py") else entry


def _entries() -> list[str]:
    try:
        return [str(entry) for entry in json.loads(os.environ.get(ALLOWED, "[]"))]
    except (ValueError, TypeError) as error:
        raise InputError(f"{ALLOWED} in the environment must be a JSON list: {error}. Use --allow instead.") from error


def _set(entries: list[str]) -> None:
    os.environ[ALLOWED] = json.dumps(list(dict.fromkeys(entries)))


def _from_file(path: Path) -> Any:
    """The module in a file, under a name that no import meets: it stands in the place of no other module."""
    name = f"seqdet allowed {path}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _memory(config: Path) -> Path:
    """The file about one run; where there is no home, RuntimeError."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "seqdet" / "allowed" / f"{hashlib.sha256(str(config.resolve()).encode()).hexdigest()}.json"


def _digest(config: Path) -> str:
    return hashlib.sha256(config.read_bytes()).hexdigest()
