"""``python -m seqdet.compat script.py [arguments]``: run a script written for the reference."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from traceback import extract_tb
from typing import NoReturn

from ..checks import InputError, one_line
from .names import import_line, install

PAGE = "docs/migration.md in the repository of seqdet"


def main(arguments: list[str]) -> None:
    """Run the script ``arguments[0]`` with the other arguments, its imports of the reference answered by seqdet."""
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.exit("usage: python -m seqdet.compat script.py [arguments]")
    script = Path(arguments[0])
    if not script.is_file():
        _end(f"{script} must be a Python script, and is not there.")
    is_ours = install()
    sys.argv = arguments
    sys.path.insert(0, str(script.resolve().parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except InputError as error:
        _end(f"{error} ({_place(error, script)})")
    except ImportError as error:
        if not (error.name or "").startswith((__package__ or "", "metavision")):
            raise
        _end(f"{error.msg} ({_place(error, script)}). What there is: {PAGE}")
    except NameError as error:
        line = import_line(error.name) if is_ours else None
        if line is None:
            raise
        _end(f"{error} ({_place(error, script)}). Import it first: {line}")


def _end(words: str) -> NoReturn:
    sys.exit(f"seqdet: error: {one_line(words)}")


def _place(error: Exception, script: Path) -> str:
    """File and line of the script that led to an error."""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(script)]
    return f"{script}, line {lines[-1]}" if lines else str(script)


if __name__ == "__main__":
    main(sys.argv[1:])
