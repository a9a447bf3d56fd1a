"""``python -m seqdet.compat script.py [arguments]``: run a script written for the reference."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from ..checks import InputError
from .aliases import install


def main(arguments: list[str]) -> None:
    """Run the script ``arguments[0]`` with the other arguments, its imports of the reference answered by seqdet."""
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.exit("usage: python -m seqdet.compat script.py [arguments]")
    script = Path(arguments[0])
    if not script.is_file():
        sys.exit(f"seqdet: error: {script} must be a Python script, and is not there.")
    if present := install():
        sys.stderr.write(f"seqdet: {' and '.join(present)} is installed here; the script runs on it, unchanged.\n")
    sys.argv = arguments
    sys.path.insert(0, str(script.resolve().parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except InputError as error:
        sys.exit(f"seqdet: error: {error}")
    except ImportError as error:
        if not (error.name or "").startswith((__package__ or "", "metavision")):
            raise
        sys.exit(f"seqdet: error: {error.msg}. What there is: docs/migration.md")


if __name__ == "__main__":
    main(sys.argv[1:])
