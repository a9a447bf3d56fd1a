"""Read AEDAT4, the format of DV and the DAVIS cameras, through the package ``aedat``.

Times are microseconds since 1970. The package checks little: some damaged files make it end the whole process, so each
pass runs it in another one, see ``aedat4_process``.

Sources: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html,
https://github.com/neuromorphicsystems/aedat.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import InputError
from ..files import read_json
from . import aedat4_process
from .aedat4_process import END, EVENT, TRIGGER
from .array import Events, Triggers, columns
from .gathering import gathered
from .sieve import LARGEST, Sieve
from .spans import whole_span_us
from .time_units import MICROSECONDS

SIGNATURE = b"#!AER-DAT4"
EDGES = {1: 1, 2: 0}  # rising and falling edge of the external signal; the other triggers are the camera's own frames


def open_aedat4(path: Path, *, strict: bool = False, joins_clocks: bool = False) -> Aedat4Source:
    """A recording in AEDAT4: the first stream of events of the file.

    Raises:
        InputError: if the package ``aedat`` is missing, or ``path`` cannot be read or has no stream of events.
    """
    if not _has_aedat():
        raise InputError(f"{path} needs the package aedat to be read. Install it by: pip install 'seqdet[aedat]'.")
    return Aedat4Source(path, strict=strict, joins_clocks=joins_clocks)


class Aedat4Source:
    """A ``Source`` of an AEDAT4 file; ``open_aedat4`` makes it."""

    format = "AEDAT4"
    is_indexed = False

    time_unit = MICROSECONDS

    def __init__(self, path: Path, *, strict: bool, joins_clocks: bool = False) -> None:
        self._path, self._strict, self._joins_clocks = path, strict, joins_clocks
        try:
            with path.open("rb") as file:
                if file.read(len(SIGNATURE)) != SIGNATURE:
                    raise InputError(f"{path} must begin with {SIGNATURE.decode()}; it is no AEDAT4 file.")
        except OSError as error:
            raise InputError(f"{path} must be a readable AEDAT4 file: {error}.") from error
        start, _ = next(self._messages(), ({}, None))
        if "streams" not in start:
            raise InputError(f"{path} must be a readable AEDAT4 file: {start.get('error', 'its head is damaged')}.")
        streams = {int(number): stream for number, stream in start["streams"].items()}
        numbers = sorted(number for number, stream in streams.items() if stream["type"] == "events")
        if not numbers:
            raise InputError(f"{path} must have a stream of events, got {[each['type'] for each in streams.values()]}.")
        self._number = numbers[0]
        height, width = (int(streams[self._number][side]) for side in ("height", "width"))
        self.size_hw = (height, width) if min(height, width) > 0 and max(height, width) <= LARGEST else None
        self._sieve = self._new_sieve()

    @property
    def dropped(self) -> Counter[str]:
        """What the latest pass over ``chunks`` left out."""
        return self._sieve.dropped

    @property
    def notes(self) -> tuple[str, ...]:
        """What the latest pass noticed."""
        return self._sieve.notes

    def chunks(self, start_us: int | None = None) -> Iterator[Events]:
        """The events, a packet of the file at a time; all are read, packets before ``start_us`` left out."""
        self._sieve = sieve = self._new_sieve()
        packets = self._packets("events", sieve)
        for events in sieve.passed(columns(t=rows["t"], x=rows["x"], y=rows["y"], p=rows["on"]) for rows in packets):
            if len(events) and (start_us is None or events.t.max() >= start_us):
                yield events

    def read(self, start_us: int, end_us: int) -> Events:
        """The events with times in ``[start_us, end_us)``, in the order of the file."""
        return gathered(self.chunks(start_us), start_us, end_us)

    def span_us(self) -> tuple[int, int] | None:
        """By a whole pass."""
        return whole_span_us(self.chunks())

    def triggers(self) -> Triggers:
        """The edges of the external signal, channel 0."""
        rows = np.concatenate([np.zeros(0, TRIGGER), *self._packets("triggers", self._new_sieve())])
        edges = rows[np.isin(rows["source"], list(EDGES))]
        rising = (edges["source"] == 1).astype(np.uint8)
        return Triggers(edges["t"].astype(np.int64), np.zeros(len(rising), np.uint8), rising)

    def close(self) -> None:
        """Nothing to do: the file is open during a pass only."""

    def _new_sieve(self) -> Sieve:
        return Sieve(self._path, self.size_hw, strict=self._strict, joins_clocks=self._joins_clocks)

    def _packets(self, kind: str, sieve: Sieve) -> Iterator[np.ndarray]:
        """The rows of each packet of our events, or of any triggers."""
        message: dict[str, Any] = {"error": "it said nothing"}
        for message, rows in self._messages():
            if message.get("kind") == kind and (kind == "triggers" or message["stream"] == self._number):
                yield rows
        if message:  # the last one is empty
            sieve.drop("packets from a damaged one on", 1)

    def _messages(self) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """What the other process says, with the rows that come along, until it ends, well or not."""
        command = [sys.executable, "-P", aedat4_process.__file__, str(self._path.absolute())]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        try:
            while (line := process.stdout.readline()).endswith(b"\n"):
                message = read_json(line)
                dtype = EVENT if message.get("kind") == "events" else TRIGGER
                size = message.get("rows", 0) * dtype.itemsize
                content = process.stdout.read(size)
                if len(content) < size:
                    return
                yield message, np.frombuffer(content, dtype)
                if line == END:
                    return
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _has_aedat() -> bool:
    try:
        return find_spec("aedat") is not None
    except ValueError:  # somebody put something else in its place
        return False
