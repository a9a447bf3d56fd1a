"""Cut the recordings of tests/recordings out of whole ones, and write their digests.

python scripts/cut_recordings.py FOLDER

FOLDER holds the whole recordings and digests.json, whose digests independent decoders agree on. Bytes are copied as
they are wherever the format allows; nothing is encoded again. What is read of a cut has to be a part of what is read of
the whole, whose digests have to be the known ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
from bisect import bisect_left
from pathlib import Path

import h5py
import numpy as np

from seqdet.events.array import COLUMNS, Events
from seqdet.events.files import open_recording

CUTS = Path(__file__).parents[1] / "tests" / "recordings"
COUNT = 16_384
"""Events of the lens recording that the cuts of RAW and DAT hold: all before the time of this one."""
HDF5_CHUNKS = 3
PLAIN_COUNT, PLAIN_CHUNK = 9000, 2000
TRIGGER_WORDS = 40_000, 108_000
"""Between these is the cut of the EVT3 recording with two triggers: it holds both."""
PACKETS = 80
"""Of the AEDAT4 recording, less all frames but the first."""
DIGESTED = {"t_i8": "t", "x_u2": "x", "y_u2": "y", "p_u1": "p"}


def read(path: Path) -> tuple[Events, int]:
    """All events, and the number of triggers; nothing may be damaged."""
    with open_recording(path, strict=True) as opened:
        return Events.concatenate(list(opened.chunks())), len(opened.triggers())


def digests(events: Events) -> dict[str, str]:
    return {name: hashlib.sha1(getattr(events, column).tobytes()).hexdigest() for name, column in DIGESTED.items()}


def head_size(content: bytes) -> int:
    """Length of the lines with a percent sign that RAW and DAT begin with, and of the two bytes after them in DAT."""
    size = 0
    while content[size : size + 1] == b"%":
        size = content.index(b"\n", size) + 1
    return size if content.startswith(b"% evt") else size + 2


def cut_before(source: Path, target: Path, end_us: int, word_bytes: int) -> None:
    """The longest beginning whose events are all before ``end_us``."""
    content = source.read_bytes()
    head = head_size(content)

    def is_late(words: int) -> bool:
        target.write_bytes(content[: head + words * word_bytes])
        events, _ = read(target)
        return bool(len(events) and events.t[-1] >= end_us)

    words = bisect_left(range(2, (len(content) - head) // word_bytes), True, key=is_late) + 1
    target.write_bytes(content[: head + words * word_bytes])


def cut_around_triggers(source: Path, target: Path) -> None:
    """Words of EVT3 from one that begins with time and row, so that nothing before it is needed."""
    content = source.read_bytes()
    head = head_size(content)
    words = np.frombuffer(content[head:], "<u2")
    kinds = words >> 12
    complete = (kinds[:-2] == 8) & (kinds[1:-1] == 6) & (kinds[2:] == 0)  # time high, time low, row
    first, last = (place + int(np.argmax(complete[place:])) for place in TRIGGER_WORDS)
    target.write_bytes(content[:head] + words[first:last].tobytes())


def cut_chunks(source: Path, target: Path) -> None:
    """The first chunks, as they were compressed."""
    with h5py.File(source) as whole, h5py.File(target, "w", libver="earliest") as cut:
        cut.attrs.update(whole.attrs)
        theirs = whole["CD/events"]
        assert isinstance(theirs, h5py.Dataset)
        assert theirs.chunks
        (rows,) = theirs.chunks
        count = HDF5_CHUNKS * rows
        space = h5py.h5s.create_simple((count,))
        group = cut.create_group("CD")
        storage = theirs.id.get_create_plist()
        storage.set_obj_track_times(False)  # so that every run writes the same bytes
        made = h5py.h5d.create(group.id, b"events", theirs.id.get_type(), space, storage)
        for chunk in range(HDF5_CHUNKS):
            mask, content = theirs.id.read_direct_chunk((chunk * rows,))
            made.write_direct_chunk((chunk * rows,), content, mask)
        write_index(whole, cut, count)


def cut_rows(source: Path, target: Path) -> None:
    """The first rows, not compressed as in the whole file."""
    with h5py.File(source) as whole, h5py.File(target, "w", libver="earliest") as cut:
        cut.attrs.update(whole.attrs)
        theirs = whole["CD/events"]
        assert isinstance(theirs, h5py.Dataset)
        cut.create_dataset("CD/events", data=theirs[:PLAIN_COUNT], chunks=(PLAIN_CHUNK,))
        write_index(whole, cut, PLAIN_COUNT)


def write_index(whole: h5py.File, cut: h5py.File, count: int) -> None:
    """Their rows that point to the first ``count`` events, and a last row as they write it: the count, no time."""
    theirs = whole["CD/indexes"]
    assert isinstance(theirs, h5py.Dataset)
    rows = theirs[: int((theirs["id"] < count).sum()) + 1]
    rows[-1] = count, -1
    cut.create_dataset("CD/indexes", data=rows, chunks=(len(rows),)).attrs.update(theirs.attrs)


def cut_packets(source: Path, target: Path) -> None:
    """The first packets, with one frame only; the head says that no table of packets follows."""
    content = source.read_bytes()
    start = content.index(b"\n") + 1
    (head_bytes,) = struct.unpack_from("<I", content, start)
    place = start + 4 + head_bytes
    head, packets, frames = bytearray(content[:place]), [], 0
    table = content.index(struct.pack("<q", find_table(content, place)), start)
    head[table : table + 8] = struct.pack("<q", -1)
    for _ in range(PACKETS):
        stream, size = struct.unpack_from("<ii", content, place)
        packet, place = content[place : place + 8 + size], place + 8 + size
        frames += stream == 1
        if stream != 1 or frames == 1:
            packets.append(packet)
    target.write_bytes(bytes(head) + b"".join(packets))


def find_table(content: bytes, place: int) -> int:
    """Where the packets of an AEDAT4 file end."""
    while place + 8 <= len(content):
        _, size = struct.unpack_from("<ii", content, place)
        if size <= 0 or place + 8 + size > len(content):
            break
        place += 8 + size
    return place


def part_of(cut: Events, whole: Events) -> bool:
    """Whether ``cut`` is a run of ``whole``."""
    first = int(np.searchsorted(whole.t, cut.t[0]))
    same_time = range(first, int(np.searchsorted(whole.t, cut.t[0], side="right")))
    return any(
        all(np.array_equal(getattr(whole, name)[n : n + len(cut)], getattr(cut, name)) for name in COLUMNS)
        for n in same_time
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds the whole recordings and digests.json")
    folder = parser.parse_args().folder
    known = json.loads((folder / "digests.json").read_text())
    said = {}
    for name, facts in known.items():
        target = CUTS / name
        whole, _ = read(folder / name)
        assert digests(whole) == facts["sha1"], name
        if name.startswith("trigger"):
            cut_around_triggers(folder / name, target)
        elif name.endswith((".raw", ".dat")):
            word_bytes = 2 if "evt3" in name else 4 if "evt2." in name else 8
            cut_before(folder / name, target, int(whole.t[COUNT]), word_bytes)
        elif "ecf" in name:
            cut_chunks(folder / name, target)
        elif name.endswith(".hdf5"):
            cut_rows(folder / name, target)
        else:
            cut_packets(folder / name, target)
        events, triggers = read(target)
        assert part_of(events, whole), name
        said[name] = {
            "events": len(events),
            "first_t": int(events.t[0]),
            "last_t": int(events.t[-1]),
            "p1": int(events.p.sum()),
            "sha1": digests(events),
            "width": facts["width"],
            "height": facts["height"],
            "triggers": triggers,
        }
        print(f"{name}: {len(events):,} events, {triggers} triggers, {target.stat().st_size:,} bytes")
    (CUTS / "digests.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
