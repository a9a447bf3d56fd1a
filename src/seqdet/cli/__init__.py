"""The ``seqdet`` command. A function is a command, its signature the options, its docstring the help.

Bodies import what they need, so that ``--help`` never waits for torch.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

from jsonargparse import auto_cli, set_parsing_settings

from .. import __version__
from ..checks import InputError, Stopped
from .parser import COMMANDS, Parser, spelt

log = logging.getLogger("seqdet")


def main(args: list[str] | None = None) -> None:
    """Entry point; ``args`` defaults to the command line."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    sys.path.append(str(Path.cwd()))  # where representations of one's own may be
    log.setLevel(logging.INFO)
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    # Lightning 2.6 with torch 2.15: nothing that a user of the command line can do anything about.
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
    try:
        auto_cli(
            COMMANDS,
            spelt(sys.argv[1:] if args is None else args),
            prog="seqdet",
            parser_class=Parser,
            version=__version__,
            allow_abbrev=False,
        )
    except InputError as error:
        sys.exit(f"seqdet: error: {' '.join(str(error).split())}")
    except (Stopped, KeyboardInterrupt) as stop:
        log.info(str(stop) or "Stopped.")
        sys.exit(130)
