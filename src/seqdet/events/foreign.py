"""Files that are no recording that we read, called by what they are, with the way to one that we do."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..checks import InputError, proposed

LOOKED_AT = 1 << 10  # bytes from the begin
_ARRAYS = "Write its events to an npz with the arrays t, x, y and p"
_SIMULATE = f"Events of it are made by: {proposed('simulate', 'VIDEO', '-o', 'EVENTS.raw')}"
_UNPACK = "Unpack it and name what is in it"


class _Kind(NamedTuple):
    """What a file is if it has one of some bytes at a place; and what to do with it."""

    name: str
    way_out: str
    starts: tuple[bytes, ...]
    place: int = 0


KINDS = (
    _Kind(
        "a pointer of Git LFS, not the file itself",
        "Fetch the file: git lfs pull",
        (b"version https://git-lfs.github.com/spec/",),
    ),
    _Kind("a pointer of git-annex, not the file itself", "Fetch the file: git annex get", (b"/annex/objects/",)),
    _Kind(
        "a bag of ROS 1",
        f"{_ARRAYS}, which the Python package rosbags gives without ROS",
        (b"#ROSBAG V",),
    ),
    _Kind(
        "a database of SQLite, as a bag of ROS 2 is",
        f"{_ARRAYS}, which the Python package rosbags gives without ROS",
        (b"SQLite format 3\x00",),
    ),
    _Kind(
        "an MCAP file, as a bag of ROS 2 is",
        f"{_ARRAYS}, which the Python package rosbags gives without ROS",
        (b"\x89MCAP",),
    ),
    _Kind("a MATLAB file", f"{_ARRAYS}, which scipy.io.loadmat gives, or h5py for version 7.3", (b"MATLAB ",)),
    _Kind(
        "an Event Stream (.es)",
        f"{_ARRAYS}, which the Python packages event_stream and faery give",
        (b"Event Stream",),
    ),
    _Kind("a Parquet table", f"{_ARRAYS}, which pandas.read_parquet gives", (b"PAR1",)),
    _Kind("an Arrow table", f"{_ARRAYS}, which pandas.read_feather gives", (b"ARROW1", b"FEA1")),
    _Kind("a video", _SIMULATE, (b"ftyp", b"moov", b"mdat"), 4),
    _Kind("a video", _SIMULATE, (b"\x1aE\xdf\xa3",)),
    _Kind("a video", _SIMULATE, (b"AVI ",), 8),
    _Kind("a picture", "A detector of pictures takes a folder of them", (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")),
    _Kind("packed by bzip2", _UNPACK, (b"BZh",)),
    _Kind("packed by xz", _UNPACK, (b"\xfd7zXZ\x00",)),
    _Kind("packed by Zstandard", _UNPACK, (b"\x28\xb5\x2f\xfd",)),
    _Kind("packed by 7-Zip", _UNPACK, (b"7z\xbc\xaf\x27\x1c",)),
    _Kind("packed by RAR", _UNPACK, (b"Rar!",)),
    _Kind("a tar archive", _UNPACK, (b"ustar",), 257),
    _Kind("a capture of network packets", _ARRAYS, (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\n\r\r\n\x1c")),
    _Kind("a PDF document", "Name the recording", (b"%PDF-",)),
)
PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")


def check_foreign(path: Path) -> None:
    """Raise if a file begins as one of another kind does.

    Raises:
        InputError: naming the kind, and the way out.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
        file.seek(-1, 2)
        last = file.read(1)
    for kind in KINDS:
        if start.startswith(kind.starts, kind.place):
            raise InputError(f"{path} must be a recording, and is {kind.name}. {kind.way_out}.")
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGES):
        raise InputError(
            f"{path} must be a recording, and is a web page in its place. Open the link of the download in a browser: "
            "it may ask for something first."
        )
    if start.startswith(PICKLES) and last == b".":
        raise InputError(
            f"{path} must be a recording, and is a pickle of Python, which may run any code and is never opened. "
            f"{_ARRAYS}."
        )
    if len(start) == LOOKED_AT and not any(start):
        raise InputError(f"{path} must be a recording, and begins with zeros alone. Was its download broken off?")
