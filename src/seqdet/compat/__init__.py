"""The names of the reference pipeline on top of seqdet.

Import them as ``seqdet.compat.metavision_ml...``, or run a script that says ``metavision_ml`` unchanged with
``python -m seqdet.compat script.py``. Nothing is patched on import. What differs is in ``docs/migration.md``.
"""
