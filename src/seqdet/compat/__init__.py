"""The names of the reference pipeline on top of seqdet.

Import them as ``seqdet.compat.metavision_ml...``. A script that says ``metavision_ml`` runs unchanged with
``python -m seqdet.compat script.py``, a notebook after ``%load_ext seqdet.compat``. Nothing is patched on import. What
differs is in ``docs/migration.md``.
"""

from __future__ import annotations

from typing import Any

from .aliases import install
from .missing_names import name_missing_import


def load_ipython_extension(shell: Any) -> None:
    """What ``%load_ext seqdet.compat`` does: answer imports of the reference, and name those that a cell lacks."""
    if install():
        shell.events.register("post_run_cell", name_missing_import)
