"""Read many damaged copies of a recording in this process; ``test_fuzz`` starts it, since a native library may end it.

``python damaging.py RECORDING CASES``: writes a JSON line for each finding, and one with the outcomes at the end. The
number of the case in work lies in the file "case" beside the recording.
"""

import faulthandler
import json
import resource
import sys
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

from seqdet.checks import InputError
from seqdet.events.files import open_recording
from seqdet.events.sieve import JITTER_US

MOST_BYTES = 3 << 29  # that reading may add
LONGEST_S = 60
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1, 1 << 40)


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """A copy with one to eight faults: half of them near the begin or the end, where the structure is."""
    copy = bytearray(content)
    for _ in range(random.integers(1, 9)):
        if not copy:
            break
        reach = len(copy) if random.random() < 0.5 else min(len(copy), int(random.choice([80, 1000, 5000])))
        at = int(random.integers(reach))
        at = len(copy) - 1 - at if random.random() < 0.2 else at
        length = int(random.choice([1, 2, 3, 4, 8, 16, 40, 200, 4096]))
        other = int(random.integers(len(copy)))
        match random.integers(10):
            case 0 | 1:
                copy[at] ^= 1 << int(random.integers(8))
            case 2:
                copy[at : at + length] = random.bytes(len(copy[at : at + length]))
            case 3:
                copy[at : at + length] = bytes(len(copy[at : at + length]))
            case 4:
                del copy[at : at + length]
            case 5:
                copy[at:at] = random.bytes(length)
            case 6:
                copy[at:at] = copy[at : at + length]
            case 7:
                copy[at : at + length] = copy[other : other + length]
            case 8:
                width = int(random.choice([1, 2, 4, 8]))
                value = int(EXTREMES[random.integers(len(EXTREMES))]) & ((1 << 8 * width) - 1)
                copy[at : at + width] = value.to_bytes(width, "little")
            case 9 if random.random() < 0.3:
                del copy[at:]
    return bytes(copy)


def read(path: Path, *, strict: bool) -> str:
    """How reading ended. Raises what should not be raised."""
    latest = None
    try:
        with open_recording(path, strict=strict) as opened:
            span = None if path.suffix == ".aedat4" else opened.span_us()
            total = 0
            for events in opened.chunks():
                if not len(events):
                    continue
                total += len(events)
                times = events.t if latest is None else np.append(latest, events.t)
                newest = np.maximum.accumulate(times)
                assert (newest - times).max() <= JITTER_US + 64, "time runs back"
                latest = newest[-1]
                assert events.p.max() <= 1, "polarity"
                if opened.stated_size_hw:
                    assert events.y.max() < opened.size_hw[0], "row"
                    assert events.x.max() < opened.size_hw[1], "column"
            assert span is None or total, "a span without events"
            if path.suffix != ".aedat4":
                opened.triggers()
                if total:
                    assert span is not None, "events without a span"
                    list(opened.chunks(sum(span) // 2))
            return "dropped some" if opened.dropped else "whole"
    except InputError as error:
        if "\n" in str(error):
            raise AssertionError("a refusal of many lines") from error
        return "strictly refused" if strict else "refused"


def main(recording: Path, cases: int) -> None:
    content, outcomes = recording.read_bytes(), Counter()
    read(recording, strict=False)  # compiles and loads what takes memory
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
    for case in range(cases):
        (recording.parent / "case").write_text(str(case))
        path = recording.with_stem("damaged")
        path.write_bytes(damaged(content, np.random.default_rng(case)))
        faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        for strict in (False, True):
            try:
                outcomes[read(path, strict=strict)] += 1
            except Exception:
                say({"case": case, "strict": strict, "finding": traceback.format_exc()})
        faulthandler.cancel_dump_traceback_later()
    say(outcomes)


def say(what: dict) -> None:
    sys.stdout.write(json.dumps(what) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
