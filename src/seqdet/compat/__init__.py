"""The names of the reference pipeline on top of seqdet.

Import them as ``seqdet.compat.metavision_ml...``. A script that says ``metavision_ml`` runs unchanged with
``python -m seqdet.compat script.py``, a notebook after ``%load_ext seqdet.compat``. ``names`` is the table of the
reference's modules; import finds them by it, and nothing is patched. What differs is in ``docs/migration.md``.
"""

from __future__ import annotations

from typing import Any

from .names import install, make_importable, name_missing_import

make_importable()


def load_ipython_extension(shell: Any) -> None:
    """What ``%load_ext seqdet.compat`` does: answer imports of the reference, and name those that a cell lacks."""
    if install():
        shell.events.register("post_run_cell", name_missing_import)
