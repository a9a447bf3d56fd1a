"""RAW recordings that come through a pipe: decoded as they come, by the kernels that decode files."""

from __future__ import annotations

import select
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..checks import InputError
from .accounts import Account
from .array import COLUMNS, Events
from .evt import COORDINATES, HIGH_PARTS, LOOKED_AT, find_coding, is_order_open
from .evt_kernels import HIGH, OPTION, until_leap
from .headers import LONGEST, Header, parse_header
from .sieve import Sieve
from .words import AHEAD, CHUNK_EVENTS, CHUNK_TRIGGERS, REASONS, SLACK

PIECE_BYTES = 1 << 16
POLL_S = 0.2


class Pipe(Protocol):
    """What bytes come from: ``sys.stdin.buffer``, or what ``subprocess`` and ``socket.makefile`` give."""

    def read1(self, size: int, /) -> bytes: ...


class EvtPipe:
    """A RAW recording, EVT2, EVT2.1 or EVT3 with its header, that comes through a pipe; it is passed once.

    The events are those of the same bytes in a file, and come as soon as theirs do. Only where time leaps, by 0.1 s or
    more, do the next ``AHEAD`` = 8192 words have to say first whether it is damaged.

    format, size_hw, dropped: as in `Source`. What comes after the pipe was closed in the middle of a word is dropped.

    Args:
        pipe: the bytes.
        name: for messages.
        size_hw: height and width of the sensor, where the header does not say.
        is_stopped: asked before every read, and five times a second where nothing comes and the system can tell; then
            the recording ends.

    Raises:
        InputError: if the bytes are no RAW recording, or there are none; while reading, if the words of EVT2.1 turn out
            to be in another order than the header or the first of them say.
    """

    def __init__(
        self,
        pipe: Pipe,
        name: str = "stdin",
        *,
        size_hw: tuple[int, int] | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pipe, self._is_stopped = pipe, is_stopped
        self._head, self._has_ended = b"", False
        self._name = name
        self._header = header = self._read_header(name)
        self._start = self._head[header.length :][:LOOKED_AT]
        while is_order_open(header, self._start) and not self._has_ended:
            self._head += self._read()
            self._start = self._head[header.length :][:LOOKED_AT]
        coding = find_coding(header, self._start, name=name)
        self.format, self._word, self._decode, self._state, self._coding_note = coding
        self._up = int(self._state[OPTION]) if self.format == "EVT2.1" else 0
        self._head = self._head[header.length :]
        stated_hw = header.size_hw(COORDINATES)
        self.size_hw = stated_hw or size_hw
        self._passed = 0
        self._sieve = Sieve(Path(name), self.size_hw, strict=False)
        self._sieve.drop("sensor sizes that cannot be, in the header", int(stated_hw is None and header.states_size))

    @property
    def dropped(self) -> Counter[str]:
        """What was left out so far, by reason."""
        return self._sieve.dropped

    @property
    def account(self) -> Account:
        """What became of the events that came so far."""
        return Account(self._passed, +self.dropped)

    def chunks(self) -> Iterator[Events]:
        """The events in the order in which they come, in pieces of bounded size."""
        item, held = np.dtype(self._word).itemsize, self._head
        columns = [np.empty(CHUNK_EVENTS + SLACK, dtype) for dtype in COLUMNS.values()]
        edges = [np.empty(CHUNK_TRIGGERS, dtype) for dtype in (np.int64, np.uint8, np.uint8)]
        lost, limits_hw = np.zeros(len(REASONS), np.int64), self.size_hw or (COORDINATES, COORDINATES)
        while True:
            words = np.frombuffer(held, self._word, len(held) // item)
            done = 0
            while stop := len(words) - done if self._has_ended else self._settled(words[done:]):
                read, count, _ = self._decode(
                    words[done:], stop, AHEAD, self._state, lost, *limits_hw, *columns, *edges
                )
                done += read
                for reason, dropped in zip(REASONS, lost.tolist(), strict=True):
                    self._sieve.drop(reason, dropped)
                lost[:] = 0
                self._passed += count
                if count:
                    yield Events(*(column[:count].copy() for column in columns))
            if self._has_ended:
                self._sieve.drop("bytes of a last word cut off", len(held) % item)
                return
            piece = self._read()
            if len(self._start) < LOOKED_AT:
                self._start += piece[: LOOKED_AT - len(self._start)]
                note = find_coding(self._header, self._start, name=self._name).note
                if note != self._coding_note:
                    raise InputError(f"{self._name} must hold words in one order; {note}, and were not before.")
            held = held[done * item :] + piece

    def _settled(self, words: np.ndarray) -> int:
        """How many words can be decoded, whatever comes."""
        before_leap = until_leap(words, self._up, *HIGH_PARTS[self.format], self._state[HIGH])
        return max(before_leap, len(words) - AHEAD)

    def _read_header(self, name: str) -> Header:
        """Read until the header has surely ended: something else comes after it."""
        while True:
            header = parse_header(self._head)
            rest = self._head[header.length :]
            is_open = len(rest) < 2 or (rest.startswith(b"% ") and b"\n" not in rest)
            if self._has_ended or not is_open or len(self._head) >= LONGEST:
                break
            self._head += self._read()
        if not self._head:
            raise InputError(f"{name} must be a RAW recording, and it is empty.")
        return header

    def _read(self) -> bytes:
        """The next bytes, some at least until the pipe has ended."""
        is_stopped = self._is_stopped()
        while not is_stopped and _is_silent(self._pipe):
            is_stopped = self._is_stopped()
        piece = b"" if is_stopped else self._pipe.read1(PIECE_BYTES)
        self._has_ended = not piece
        return piece


def _is_silent(pipe: Any) -> bool:
    """Whether nothing came for a while; False where the system cannot tell."""
    try:
        return not select.select([pipe], [], [], POLL_S)[0]
    except (OSError, ValueError, TypeError):  # no file of the system, or Windows
        return False
