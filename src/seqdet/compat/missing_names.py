"""Names that a script uses and does not import, although ``seqdet.compat`` has them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

from .aliases import ROOTS

log = logging.getLogger(__name__)


def import_line(name: str | None) -> str | None:
    """The import that a script lacks, in the reference's terms; None if no module of ours has a public ``name``."""
    for theirs, module in _modules():
        if name in _public(module):
            return f"from {theirs} import {name}"
    return None


def name_missing_import(cell: Any) -> None:
    """Log the import that a cell of a notebook lacks; ``cell`` is IPython's result of running it."""
    error = cell.error_in_exec
    line = import_line(error.name) if isinstance(error, NameError) else None
    if line is not None:
        log.warning("seqdet: %s. Import it first: %s", error, line)


def _modules() -> Iterator[tuple[str, ModuleType]]:
    """Our modules, each with its name in the reference."""
    for theirs, ours in ROOTS.items():
        if ours.startswith(f"{__package__}.{theirs}"):
            root = import_module(ours)
            yield theirs, root
            for found in walk_packages(getattr(root, "__path__", []), f"{ours}."):
                yield found.name.removeprefix(f"{__package__}."), import_module(found.name)


def _public(module: ModuleType) -> list[str]:
    """What the module says that it exports, or what it defines itself."""
    if hasattr(module, "__all__"):
        return module.__all__
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
