"""Damaged copies of a recording of every format, in both modes: events that keep the contract, or one sentence."""

import gzip
import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording
from seqdet.events.formats import ENCODINGS
from seqdet.events.hdf5 import write_hdf5
from seqdet.events.tables import write_npz

DAMAGING = Path(__file__).parents[1] / "damaging.py"
SIZE_HW = (480, 640)
SAMPLED, MANY = 2, 1000
"""Damaged copies of each made-up recording, in every test and in the slow one."""
HEADS = {  # how much of a real recording of these formats is damaged
    "evt2.raw": 60_000,
    "evt21_legacy.raw": 60_000,
    "evt21_little.raw": 60_000,
    "evt3.raw": 60_000,
    "td.dat": 60_000,
    "ecf.hdf5": None,
    "260.aedat4": 400_000,
}


def events() -> Events:
    random = np.random.default_rng(1)
    x, y, p = random.integers(640, size=9000), random.integers(480, size=9000), random.integers(2, size=9000)
    return columns(t=np.cumsum(random.integers(9, size=9000)), x=x, y=y, p=p)


def write_columns(path: Path, **options) -> None:
    with h5py.File(path, "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", data=getattr(events(), name), chunks=(2000,), **options)
        file["t_offset"], file["events/height"], file["events/width"] = 1_000_000, *SIZE_HW


def write_records(path: Path) -> None:
    """N-MNIST's: x, y, p << 23 | time, with overflows of the time as y = 240."""
    parts = events()
    place, value = (parts.x % 34) << 8 | parts.y % 34, parts.p.astype(np.int64) << 23 | parts.t
    rows = [*(int(xy) << 24 | int(rest) for xy, rest in zip(place, value, strict=True)), 240 << 24]
    path.write_bytes(b"".join(row.to_bytes(5, "big") for row in rows))


def write_text(path: Path) -> None:
    rows = zip(*(getattr(events(), name).tolist()[:900] for name in "txyp"), strict=True)
    path.write_text("t,x,y,p\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows))


def write_rows(path: Path) -> None:
    rows = np.zeros(9000, [("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
    for name in "txyp":
        rows[name] = getattr(events(), name)
    np.save(path, rows)


def matrix(order: str, dtype: type) -> np.ndarray:
    return np.stack([getattr(events(), name).astype(dtype) for name in order], axis=1)


def seconds(order: str) -> np.ndarray:
    rows = matrix(order, np.float64)
    rows[:, order.index("t")] /= 1e6
    return rows


def write_vendor(encoding: str, path: Path) -> None:
    ENCODINGS[encoding].write(path, [events()], size_hw=SIZE_HW)


def write_evt21(path: Path) -> None:
    """A word with the high part of the time before each with an event."""
    parts, words = events(), np.zeros((9000, 2), "<u8")
    t, x, y, p = (getattr(parts, name).astype(np.uint64) for name in "txyp")
    words[:, 0] = 8 << 60 | t >> 6 << 32
    words[:, 1] = p << 60 | (t & 63) << 54 | x >> 5 << 48 | y << 32 | 1 << (x & 31)
    path.write_bytes(b"% evt 2.1\n% format EVT21;height=480;width=640\n% end\n" + words.tobytes())


def write_aedat2(path: Path, *, is_davis: bool) -> None:
    parts, rows = events(), np.zeros((9000, 2), ">u4")
    x, y, p = (getattr(parts, name).astype(np.uint32) for name in "xyp")
    rows[:, 0] = y % 260 << 22 | x % 346 << 12 | p << 11 if is_davis else y % 128 << 8 | x % 128 << 1 | p
    rows[:, 1] = parts.t
    camera = b"eu.seebetter.ini.chips.davis.Davis346B" if is_davis else b"DVS128"
    path.write_bytes(b"#!AER-DAT2.0\r\n# AEChip: " + camera + b"\r\n" + rows.tobytes())


def write_aedat3(path: Path) -> None:
    parts, rows = events(), np.zeros((9000, 2), "<u4")
    x, y = parts.x.astype(np.uint32) % 128, parts.y.astype(np.uint32) % 128
    rows[:, 0], rows[:, 1] = x << 17 | y << 2 | parts.p.astype(np.uint32) << 1 | 1, parts.t
    content = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    for part in np.split(rows, 9):
        content += struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 1000, 1000, 1000) + part.tobytes()
    path.write_bytes(content)


def write_array(path: Path, place: str, rows: np.ndarray, **options) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset(place, data=rows, **options)


def write_side_by_side(path: Path, place: str, names: str) -> None:
    with h5py.File(path, "w") as file:
        for name, column in zip(names.split(), seconds("txyp").T, strict=True):
            file[f"{place}/{name}"] = column


def records() -> np.ndarray:
    rows = np.zeros(9000, [("timestamp", "<i8"), ("x", "<u2"), ("y", "<u2"), ("polarity", "u1")])
    for name, ours in zip(rows.dtype.names or (), "txyp", strict=True):
        rows[name] = getattr(events(), ours)
    return rows


def write_packed(path: Path) -> None:
    """As the name without its last ending says, in a gzip or a zip."""
    inner = path.parent / path.stem.removeprefix("whole_")
    MADE_UP[inner.name](inner)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(inner.read_bytes()))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(inner, inner.name)
    inner.unlink()


MADE_UP: dict[str, Callable[[Path], None]] = {
    "evt21.raw": write_evt21,
    **{name: partial(write_vendor, name.partition(".")[0]) for name in ("evt2.raw", "evt3.raw", "dat.dat")},
    "dvs128.aedat": partial(write_aedat2, is_davis=False),
    "davis.aedat": partial(write_aedat2, is_davis=True),
    "packets.aedat": write_aedat3,
    "vendor.csv": lambda path: np.savetxt(
        path, matrix("xypt", np.int64)[:900], fmt="%d", delimiter=",", header="geometry:640,480", comments="%"
    ),
    "sized.txt": lambda path: np.savetxt(
        path, seconds("txyp")[:900], fmt=["%.6f", "%d", "%d", "%d"], header="640 480", comments=""
    ),
    "array.npy": lambda path: np.save(path, matrix("txyp", np.int64)),
    "by_columns.npy": lambda path: np.save(path, np.asfortranarray(seconds("txyp"))),
    "array.npz": lambda path: np.savez_compressed(path, events=matrix("xypt", np.int64)),
    "seconds.h5": partial(write_side_by_side, place="events", names="ts xs ys ps"),
    "root.h5": partial(write_side_by_side, place="/", names="t x y p"),
    "vendor_array.h5": lambda path: write_array(path, "events", matrix("xypt", np.int64)),
    "mvsec.h5": lambda path: write_array(path, "davis/left/events", seconds("xytp"), chunks=True, compression="gzip"),
    "parts_of_rows.h5": lambda path: write_array(
        path, "events", matrix("txyp", np.uint32), chunks=(1000, 3), compression="gzip"
    ),
    "records.h5": lambda path: write_array(path, "dvs/data", records(), chunks=(2000,)),
    **dict.fromkeys(("evt3.raw.gz", "lines.csv.zip", "array.npz.gz", "columns.h5.zip"), write_packed),
    "plain.hdf5": lambda path: write_hdf5(path, [events()], size_hw=SIZE_HW),
    "blosc.hdf5": lambda path: write_hdf5(path, [events()], size_hw=SIZE_HW, compression="blosc"),
    "columns.h5": write_columns,
    "columns_blosc.h5": lambda path: write_columns(path, **hdf5plugin.Blosc()),
    "rows.npy": write_rows,
    "columns.npz": lambda path: write_npz(path, [events()], size_hw=SIZE_HW),
    "lines.csv": write_text,
    "records.bin": write_records,
}


def write_head(folder: Path, path: Path, suffix: str) -> None:
    path.write_bytes(sorted(folder.glob(f"*{suffix}"))[0].read_bytes()[: HEADS[suffix]])


def read_damaged(files: list[Path], cases: int, folder: Path) -> list[dict[str, int]]:
    """How reading of damaged copies ended, by file; that it ended well is asserted."""
    for path in files:
        with open_recording(path) as opened:
            assert sum(map(len, opened.chunks()))
    command = [
        sys.executable,
        str(DAMAGING),
        str(cases),
        *(word for path in files for word in ("recording", str(path))),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    case = (folder / "case").read_text() if (folder / "case").is_file() else "none"
    assert done.returncode == 0, f"ended in case {case}: {done.stderr[-3000:]}"
    findings = [line for line in lines if "finding" in line]
    assert not findings, json.dumps(findings[:3], indent=2).replace("\\n", "\n")
    return [line["outcomes"] for line in lines]


def test_a_few_damaged_copies_of_every_format_end_in_events_or_in_a_sentence(tmp_path):
    files = [tmp_path / f"whole_{name}" for name in MADE_UP]
    for path, write in zip(files, MADE_UP.values(), strict=True):
        write(path)
    found = read_damaged(files, SAMPLED, tmp_path)
    assert len(found) == len(MADE_UP)
    assert len({outcome for outcomes in found for outcome in outcomes}) >= 2, "damage that does nothing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cases"),
    [
        *((name, 1500) for name in HEADS if name.endswith(("raw", "dat"))),
        ("ecf.hdf5", 400),
        ("260.aedat4", 150),
    ],
)
def test_damage_to_a_real_recording_ends_in_events_that_keep_the_contract_or_in_a_sentence(
    recordings, tmp_path, name, cases
):
    if name.endswith("aedat4"):
        pytest.importorskip("aedat", reason="the package aedat is not installed")
    path = tmp_path / f"whole_{name}"
    write_head(recordings, path, name)
    (outcomes,) = read_damaged([path], cases, tmp_path)
    assert len(outcomes) >= 2, "damage that does nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE_UP)
def test_damage_ends_in_events_that_keep_the_contract_or_in_a_sentence(tmp_path, name):
    path = tmp_path / f"whole_{name}"
    MADE_UP[name](path)
    (outcomes,) = read_damaged([path], MANY, tmp_path)
    assert len(outcomes) >= 2, "damage that does nothing"
