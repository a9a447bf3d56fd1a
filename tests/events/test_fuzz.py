"""Damaged copies of a recording of every format, in both modes: events that keep the contract, or one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording
from seqdet.events.hdf5_writer import write_hdf5
from seqdet.events.npy import write_npz

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "data" / "recordings"
DAMAGING = Path(__file__).parents[1] / "damaging.py"
SIZE_HW = (480, 640)
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


MADE_UP = {
    "plain.hdf5": lambda path: write_hdf5(path, [events()], size_hw=SIZE_HW),
    "blosc.hdf5": lambda path: write_hdf5(path, [events()], size_hw=SIZE_HW, compression="blosc"),
    "columns.h5": write_columns,
    "columns_blosc.h5": lambda path: write_columns(path, **hdf5plugin.Blosc()),
    "rows.npy": write_rows,
    "columns.npz": lambda path: write_npz(path, [events()], size_hw=SIZE_HW),
    "lines.csv": write_text,
    "records.bin": write_records,
}


def write_head(path: Path, suffix: str) -> None:
    found = sorted(RECORDINGS.glob(f"*{suffix}"))
    if not found:
        pytest.skip(f"the recordings in {RECORDINGS} are missing")
    path.write_bytes(found[0].read_bytes()[: HEADS[suffix]])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cases"),
    [
        *((name, 1500) for name in HEADS if name.endswith(("raw", "dat"))),
        ("ecf.hdf5", 400),
        *((name, 1000) for name in MADE_UP),
        ("260.aedat4", 150),
    ],
)
def test_damage_ends_in_events_that_keep_the_contract_or_in_a_sentence(tmp_path, name, cases):
    if name.endswith("aedat4"):
        pytest.importorskip("aedat", reason="the package aedat is not installed")
    path = tmp_path / f"whole_{name}"
    MADE_UP[name](path) if name in MADE_UP else write_head(path, name)
    with open_recording(path) as opened:
        assert sum(map(len, opened.chunks()))
    command = [sys.executable, str(DAMAGING), str(cases), "recording", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    *findings, last = [json.loads(line) for line in done.stdout.splitlines()] or [{}]
    assert done.returncode == 0, f"ended in case {(tmp_path / 'case').read_text()}: {done.stderr[-3000:]}"
    assert not findings, json.dumps(findings[:3], indent=2).replace("\\n", "\n")
    assert len(last["outcomes"]) >= 2, "damage that does nothing"
