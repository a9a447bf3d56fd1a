"""Read AEDAT4, the format of DV and the DAVIS cameras, through the package ``aedat``.

Times are microseconds since 1970. The package checks little: some damaged files make it end the whole process.

Sources: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html,
https://github.com/neuromorphicsystems/aedat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import InputError
from .array import Events, Triggers, columns
from .sieve import LARGEST, Sieve

SIGNATURE = b"#!AER-DAT4"
EDGES = {1: 1, 2: 0}  # rising and falling edge of the external signal; the other triggers are the camera's own frames


def open_aedat4(path: Path, *, strict: bool = False) -> Aedat4Source:
    """A recording in AEDAT4: the first stream of events of the file.

    Raises:
        InputError: if the package ``aedat`` is missing, or ``path`` cannot be read or has no stream of events.
    """
    try:
        decoder = import_module("aedat").Decoder
    except ImportError as error:
        raise InputError(
            f"{path} needs the package aedat to be read. Install it by: pip install 'seqdet[aedat]'."
        ) from error
    return Aedat4Source(decoder, path, strict=strict)


class Aedat4Source:
    """A ``Source`` of an AEDAT4 file; ``open_aedat4`` makes it."""

    format = "AEDAT4"

    def __init__(self, decoder: Any, path: Path, *, strict: bool) -> None:
        self._decoder, self._path, self._strict = decoder, path, strict
        try:
            with path.open("rb") as file:
                if file.read(len(SIGNATURE)) != SIGNATURE:
                    raise InputError(f"{path} must begin with {SIGNATURE.decode()}; it is no AEDAT4 file.")
            streams = decoder(str(path)).id_to_stream()
        except (OSError, RuntimeError) as error:
            raise InputError(f"{path} must be a readable AEDAT4 file: {error}.") from error
        numbers = sorted(number for number, stream in streams.items() if stream["type"] == "events")
        if not numbers:
            raise InputError(f"{path} must have a stream of events, got {[each['type'] for each in streams.values()]}.")
        self._number = numbers[0]
        height, width = (int(streams[self._number][side]) for side in ("height", "width"))
        self.size_hw = (height, width) if min(height, width) > 0 and max(height, width) <= LARGEST else None
        self._sieve = Sieve(path, self.size_hw, strict=strict)

    @property
    def dropped(self) -> Counter[str]:
        """What the latest pass over ``chunks`` left out."""
        return self._sieve.dropped

    def chunks(self, start_us: int | None = None) -> Iterator[Events]:
        """The events, a packet of the file at a time; all are read, packets before ``start_us`` left out."""
        self._sieve = sieve = Sieve(self._path, self.size_hw, strict=self._strict)
        for packet in self._packets(sieve):
            if packet["stream_id"] == self._number:
                rows = packet["events"]
                events = sieve.keep(columns(t=rows["t"], x=rows["x"], y=rows["y"], p=rows["on"]))
                if len(events) and (start_us is None or events.t.max() >= start_us):
                    yield events

    def triggers(self) -> Triggers:
        """The edges of the external signal, channel 0."""
        sieve = Sieve(self._path, self.size_hw, strict=self._strict)
        parts = [packet["triggers"] for packet in self._packets(sieve) if "triggers" in packet]
        t = np.concatenate([np.zeros(0, np.int64), *(part["t"].astype(np.int64) for part in parts)])
        source = np.concatenate([np.zeros(0, np.uint8), *(part["source"] for part in parts)])
        kept = np.isin(source, list(EDGES))
        rising = (source[kept] == 1).astype(np.uint8)
        return Triggers(t[kept], np.zeros(len(rising), np.uint8), rising)

    def close(self) -> None:
        """Nothing to do: the file is open during a pass only."""

    def _packets(self, sieve: Sieve) -> Iterator[dict[str, Any]]:
        packets = self._decoder(str(self._path))
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (OSError, RuntimeError):
                sieve.drop("packets from a damaged one on", 1)
                return
            yield packet
