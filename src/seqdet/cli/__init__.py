"""The ``seqdet`` command. A function is a command, its signature the options, its docstring the help.

Bodies import what they need, so that ``--help`` never waits for torch; the parser itself is imported where Ctrl-C is
heard already.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TextIO

from ..checks import InputError, ReaderGone, Stopped, one_line
from ..stopping import SIGNALS, exit_status, hear_again, interrupt, is_interrupted

log = logging.getLogger("seqdet")
LESS = {
    "train": "Go on with --resume when other programs are closed, or start a new run with fewer data.lanes, a shorter "
    "data.clip_length, or a smaller model.base and model.channels",
    "precompute": "Lower --workers, or make smaller frames",
    "simulate": "Lower --workers, or make smaller frames",
}
"""What takes less memory, by command."""
JSON = ("--json", "--json=true")
"""Of ``seqdet predict``: its standard output is for another program."""
READER_GONE = 128 + 13
"""Exit status of a process that SIGPIPE ended, as shells know it."""


class UsageError(InputError):
    """The command line cannot be understood."""


def main(args: list[str] | None = None) -> None:
    """Entry point; ``args`` defaults to the command line."""
    owns_process = args is None  # and so its signals
    words = sys.argv[1:] if args is None else args
    try:
        if owns_process:
            signal.signal(signal.SIGTERM, interrupt)
            if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # it may be to be ignored
                signal.signal(signal.SIGINT, interrupt)
            sys.unraisablehook = hear_again
            _leave_current_folder()
        _run(words)
        if owns_process:  # what is done is done, though Python takes a second to end
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
    except UsageError as error:
        sys.stderr.write(f"seqdet: error: {one_line(error)}\n")
        sys.exit(2)
    except InputError as error:
        sys.exit(f"seqdet: error: {one_line(error)}")
    except ReaderGone:
        sys.exit(READER_GONE)
    except (Stopped, KeyboardInterrupt) as stop:
        _end_stopped(str(stop), words, owns_process=owns_process)
    except Exception as error:
        if is_interrupted():
            _end_stopped("", words, owns_process=owns_process)
        if not isinstance(error, MemoryError) and "ried to allocate" not in str(error):  # the words of torch
            raise
        less = LESS.get(words[0], "Close other programs")
        sys.exit(f"seqdet: error: there must be more memory than this machine has free. {less}.")


def _log_stream(words: list[str]) -> TextIO:
    """Where the log of a command line goes."""
    return sys.stderr if words[:1] == ["predict"] and {*JSON} & {*words} else sys.stdout


def _end_stopped(sentence: str, words: list[str], *, owns_process: bool) -> NoReturn:
    """Say that the command was stopped, and end."""
    if owns_process:  # what is left to do takes a moment
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.basicConfig(format="%(message)s", stream=_log_stream(words))  # it may have come before there was a log
    log.setLevel(logging.INFO)
    log.info(sentence or "Stopped.")
    sys.exit(exit_status() if owns_process else 130)


def _leave_current_folder() -> None:
    """Take no code from the current folder, whose files are data: neither here nor in processes that start here."""
    os.environ["PYTHONSAFEPATH"] = "1"
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if len(places) > 1 and "" in places:  # which Python takes for the current folder
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))
        with suppress(ValueError):  # Python may have been told to ignore the variable
            sys.path.remove(str(Path.cwd()))
    # A file .numba_config.yaml may name a folder of compiled functions, which are unpickled; this goes before it.
    os.environ.setdefault("NUMBA_CACHE_DIR", "")


def _run(words: list[str]) -> None:
    """Do what the command line says."""
    from jsonargparse import auto_cli, set_parsing_settings

    from .. import __version__
    from ..progress import AboveBars
    from .options import options_of, quoting
    from .parser import HelpFormatter, Parser, functions, spelt, wanted

    logging.basicConfig(format="%(message)s", handlers=[AboveBars(_log_stream(words))])
    log.setLevel(logging.INFO)
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    # Lightning 2.6 with torch 2.15: nothing that a user of the command line can do anything about.
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
    try:
        auto_cli(
            wanted(words),
            spelt(words),
            prog="seqdet",
            parser_class=Parser,
            formatter_class=HelpFormatter,
            version=__version__,
            allow_abbrev=False,
        )
    except InputError as error:
        options = options_of(functions(words[0], words)) if words else {}
        raise type(error)(quoting(str(error), words, options)) from error
