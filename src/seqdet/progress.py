"""How far long work is: a bar where somebody watches, elsewhere a line a minute in the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import nullcontext
from copy import copy
from time import monotonic
from types import TracebackType
from typing import TextIO, TypeVar

from tqdm import tqdm

from .checks import visible

log = logging.getLogger(__name__)
Item = TypeVar("Item")
LINE_S = 60.0
"""Between two lines in the log, the first of which comes as late: work that ends before has none."""


class Progress:
    """Shows how much of some work is done, on a terminal as a bar, in a log as lines; closed at its end.

    Args:
        title: what is done, in a word or two.
        unit: one piece of the work; its plural takes an s.
        total: pieces; None if nobody knows.
        done: of them before this work began.
        layout: of the bar, as tqdm takes it.
        stays: whether the bar stays on the terminal when the work has ended.
    """

    def __init__(
        self,
        title: str,
        *,
        unit: str,
        total: float | None = None,
        done: float = 0,
        layout: str | None = None,
        stays: bool = False,
    ) -> None:
        self.title = visible(title)
        self.unit = unit
        self.total = total
        self.done = done
        self._first = done
        self._began_s = monotonic()
        self._said_s = self._began_s
        screen = _screen()
        self._has_lines = screen is None or (screen is sys.stderr and not _log_stream().isatty())
        self._bar = tqdm(
            desc=self.title,
            unit=unit,
            total=total,
            initial=done,
            bar_format=layout,
            leave=stays,
            file=screen,
            disable=screen is None,
            dynamic_ncols=True,
            smoothing=0,  # by the mean of all, as the lines
        )

    def update(self, count: float = 1, *, facts: str = "", left_s: float | None = None) -> None:
        """Some more is done.

        Args:
            count: pieces.
            facts: what else there is to know, between commas.
            left_s: how long the rest will take, for the lines; as long for each piece as so far if not given.
        """
        self.done += count
        if not self._bar.disable:
            self._bar.set_postfix_str(facts, refresh=False)
            self._bar.update(count)
        if self._has_lines and (now := monotonic()) - self._said_s >= LINE_S:
            self._said_s = now
            log.info("%s", ", ".join(self._words(now - self._began_s, facts, left_s)))

    def close(self) -> None:
        """There is no more."""
        self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _words(self, taken_s: float, facts: str, left_s: float | None) -> list[str]:
        """The parts of a line."""
        if left_s is None and self.total is not None and self.done > self._first:
            left_s = taken_s / (self.done - self._first) * (self.total - self.done)
        of = "" if self.total is None else f" of {_number(self.total)}"
        head = f"{self.title}: {_number(self.done)}{of} {self.unit}s"
        tail = f"{duration(taken_s)} so far" if left_s is None else f"about {duration(left_s)} to go"
        return [head, *([facts] if facts else []), tail]


def progress(
    items: Iterable[Item],
    title: str,
    *,
    unit: str,
    total: int | None = None,
    size: Callable[[Item], int] = lambda item: 1,
) -> Iterator[Item]:
    """The items, one after the other, with their progress shown: one is done when the next is asked for.

    Args:
        items: the work.
        title, unit: as of ``Progress``.
        total: pieces; the number of items, if that is known, if not given.
        size: how many pieces an item is.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(title, unit=unit, total=total) as shown:
        for item in items:
            yield item
            shown.update(size(item))


class AboveBars(logging.StreamHandler[TextIO]):
    """Writes lines of a log so that a bar, where there is one, goes on below them; a full disk takes only the line."""

    def emit(self, record: logging.LogRecord) -> None:
        with nullcontext() if _screen() is None else tqdm.external_write_mode(file=self.stream):
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        if record.name.partition(".")[0] == "seqdet":  # whose messages are of one line, whatever names they hold
            record = copy(record)
            record.msg = visible(record.getMessage())
            record.args = None
        return visible(super().format(record), but="\n\t")

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def log_lines(log: logging.Logger, lines: Iterable[str]) -> None:
    """Log each line by itself: a message is one line, and what looks like several was written by a name."""
    for line in lines:
        log.info("%s", line)


def duration(seconds: float) -> str:
    """A time in words, as exact as anyone wants to know it: 0.3 s, 45 s, 8 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _log_stream() -> TextIO:
    """Where lines of the log go."""
    handlers = logging.getLogger().handlers
    return next((each.stream for each in handlers if isinstance(each, AboveBars)), sys.stdout)


def _screen() -> TextIO | None:
    """Where a bar can be drawn; None if that is nowhere."""
    if type(sys.stdout).__module__.startswith("ipykernel"):  # a notebook, which takes all on stderr for a warning
        return sys.stdout
    return sys.stderr if sys.stderr.isatty() else None
