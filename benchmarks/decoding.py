"""How many events per second do the readers of RAW and DAT decode, in pieces and whole, against a copy of the columns?

python benchmarks/decoding.py                  # a table on the terminal
python benchmarks/decoding.py --json out.json

Two recordings are made up and written to a temporary folder: sparse, single events all over 1280x720, and dense, long
stretches of rows of 640x480. The bound is numpy copying the columns whole, 13 bytes an event, to new arrays, which
whole columns need as well: most of the time goes into new memory. Times are those of the processor, so that other work
on the machine counts less. *x memory* is the peak while whole columns are read over what they take. The package evt3,
where it is installed, decodes the EVT3 files too, in batches and whole; the better of the two is shown.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numba
import numpy as np

from seqdet.events.array import Events, columns
from seqdet.events.dat import open_dat, write_dat
from seqdet.events.evt import open_evt, write_evt2, write_evt3
from seqdet.events.reading import Recording


def sparse(count: int) -> tuple[Events, tuple[int, int]]:
    """Events at random places, about two a microsecond."""
    random = np.random.default_rng(1)
    x, y, p = random.integers(1280, size=count), random.integers(720, size=count), random.integers(2, size=count)
    return columns(t=np.sort(random.integers(count // 2, size=count)), x=x, y=y, p=p), (720, 1280)


def dense(count: int) -> tuple[Events, tuple[int, int]]:
    """Rows read out one after the other, three quarters of the pixels in stretches of 64 having an event."""
    random = np.random.default_rng(1)
    stretches = count // 48
    begin, row = random.integers(0, 640 - 64, size=stretches), np.arange(stretches) % 480
    fired = random.random((stretches, 64)) < 0.75
    which, place = fired.nonzero()
    return columns(t=which, x=begin[which] + place, y=row[which], p=row[which] % 2), (480, 640)


def write_evt21(path: Path, events: Events, size_hw: tuple[int, int]) -> None:
    """A RAW file in EVT2.1, words as they are: neighbours of a row within aligned groups of 32 pixels share a word."""
    time, group = events.t, events.x.astype(np.int64) >> 5
    starts = np.ones(len(events), bool)
    starts[1:] = (np.diff(time) != 0) | (np.diff(group) != 0) | (np.diff(events.y.astype(np.int64)) != 0)
    starts[1:] |= (np.diff(events.p.astype(np.int64)) != 0) | (np.diff(events.x.astype(np.int64)) <= 0)
    first = starts.nonzero()[0]
    masks = np.bitwise_or.reduceat(np.uint64(1) << (events.x & 31).astype(np.uint64), first)
    halves = events.p[first].astype(np.uint64) << np.uint64(28) | (time[first] & 63).astype(np.uint64) << np.uint64(22)
    halves |= group[first].astype(np.uint64) << np.uint64(16) | events.y[first].astype(np.uint64)
    high = time[first] >> 6
    ticks = np.flatnonzero(np.diff(high, prepend=-1))
    words = np.insert(
        halves << np.uint64(32) | masks, ticks, (8 << 28 | high[ticks]).astype(np.uint64) << np.uint64(32)
    )
    height, width = size_hw
    path.write_bytes(
        f"% format EVT21;endianness=little;height={height};width={width}\n% end\n".encode() + words.tobytes()
    )


def million_per_s(work: Callable[[], int]) -> float:
    begin = time.process_time()
    return work() / 1e6 / (time.process_time() - begin)


def decode(source: Recording) -> int:
    return sum(map(len, source.chunks()))


def read_whole(source: Recording) -> int:
    return len(source.read(0, 1 << 60))


def times_memory(source: Recording, count: int) -> float:
    tracemalloc.start()
    read_whole(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (13 * count)


def decode_by_peer(path: Path, *, whole: bool) -> int:
    evt3 = importlib.import_module("evt3")
    return len(evt3.decode_file(str(path))) if whole else sum(map(len, evt3.decode_file_batches(str(path))))


def pass_for_span(path: Path, count: int) -> int:
    open_evt(path).span_us()
    return count


def copy(events: Events) -> int:
    return len(Events(events.t.copy(), events.x.copy(), events.y.copy(), events.p.copy()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000_000, help="about how many, in each recording")
    parser.add_argument("--repeats", type=int, default=5, help="the best of so many is shown")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    os.environ["SEQDET_CACHE"] = os.devnull  # no index is kept: each pass is the first one

    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    versions = f"numba {numba.__version__}, numpy {np.__version__}"
    print(
        f"{machine}, {versions}\n{'':>16} {'bytes/event':>12} {'M events/s':>11} {'M copied/s':>11} "
        f"{'of a copy':>10} {'whole M/s':>10} {'of a copy':>10} {'x memory':>9} {'span alone':>11} {'by evt3':>11}"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for density in (sparse, dense):
            events, size_hw = density(args.events)
            path = {name: Path(folder) / f"{name}" for name in ("EVT2", "EVT2.1", "EVT3", "DAT")}
            write_evt2(path["EVT2"], [events], size_hw=size_hw)
            write_evt21(path["EVT2.1"], events, size_hw)
            write_evt3(path["EVT3"], [events], size_hw=size_hw)
            write_dat(path["DAT"], [events], size_hw=size_hw)
            for name, file in path.items():
                source = open_dat(file) if name == "DAT" else open_evt(file)
                if decode(source) != len(events):
                    raise SystemExit(f"{name} lost events: {source.dropped}")
                works = [partial(decode, source), partial(copy, events), partial(read_whole, source)]
                if name != "DAT":
                    works.append(partial(pass_for_span, file, len(events)))
                if name == "EVT3" and importlib.util.find_spec("evt3"):
                    works += [partial(decode_by_peer, file, whole=whole) for whole in (False, True)]
                rates = [list(map(million_per_s, works)) for _ in range(args.repeats)]
                rate, copied, whole, *others = map(max, zip(*rates, strict=True))
                row = {
                    "recording": f"{name} {density.__name__}",
                    "bytes_per_event": file.stat().st_size / len(events),
                    "million_events_per_s": rate,
                    "million_copied_per_s": copied,
                    "of_a_copy": rate / copied,
                    "million_whole_per_s": whole,
                    "whole_of_a_copy": whole / copied,
                    "times_memory": times_memory(source, len(events)),
                    "pass_for_span": others[0] if others else None,
                    "evt3_million_per_s": max(others[1:], default=None),
                }
                rows.append({**row, "machine": machine, "versions": versions})
                print(
                    "{:>16} {:>12.1f} {:>11.0f} {:>11.0f} {:>10.2f} {:>10.0f} {:>10.2f} {:>9.2f}".format(*row.values()),
                    *(f"{value:>11.0f}" if value else f"{'':>11}" for value in list(row.values())[8:]),
                )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
