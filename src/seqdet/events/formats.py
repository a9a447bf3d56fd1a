"""What a file is: the formats of recordings that are read and written, and files of other kinds, which are refused.

A further format of recordings is a module of its own and a line in ``FORMATS``, and in ``ENCODINGS`` if it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..checks import InputError, check_choice, proposed
from .aedat import is_aedat, open_aedat
from .dat import is_dat, open_dat, write_dat
from .evt import is_evt, open_evt, write_evt2, write_evt3
from .hdf5 import is_hdf5, open_hdf5, write_hdf5
from .reading import ReadOptions, Recording
from .tables import is_nmnist, is_npy, is_npz, open_nmnist, open_npy, open_npz, write_npz
from .text import open_text


class Format(NamedTuple):
    """A format of recordings.

    endings: of the names of its files. is_one: whether a file that is not empty is of it. open: its reader. is_signed:
    whether files begin in a way of its own: no file that is called so and begins in another way is of another format.
    has_bare: whether there are files without that begin, which are told by their names.
    """

    endings: tuple[str, ...]
    is_one: Callable[[Path], bool]
    open: Callable[[Path, ReadOptions], Recording]
    is_signed: bool = False
    has_bare: bool = False


TEXT = Format((".csv", ".txt"), lambda path: False, open_text)  # it is what is nothing else
FORMATS = (
    Format((".raw",), is_evt, open_evt, is_signed=True),
    Format((".dat",), is_dat, open_dat, is_signed=True, has_bare=True),
    Format((".hdf5", ".h5"), is_hdf5, open_hdf5, is_signed=True),
    Format((".aedat", ".aedat4"), is_aedat, open_aedat, is_signed=True),
    Format((".npz",), is_npz, open_npz),
    Format((".npy",), is_npy, open_npy),
    TEXT,
    Format((".bin",), is_nmnist, open_nmnist),
)
TEXTS = TEXT.endings
"""Those of texts, which may be anything."""
RECORDINGS = tuple(ending for form in FORMATS for ending in form.endings)
"""The endings of recordings."""


class Encoding(NamedTuple):
    """A format that is written.

    write: its writer. endings: of names that say it. loop_us: where its counter begins again; a reader cannot know how
    often it did before the first event. holds_triggers: whether trigger edges can be written too. is_compressible:
    whether ``write`` takes a ``compression``.
    """

    write: Callable[..., None]
    endings: tuple[str, ...] = ()
    loop_us: int = 1 << 63
    holds_triggers: bool = False
    is_compressible: bool = False


ENCODINGS = {
    "evt2": Encoding(write_evt2, loop_us=1 << 34, holds_triggers=True),
    "evt3": Encoding(write_evt3, (".raw",), loop_us=1 << 24, holds_triggers=True),
    "dat": Encoding(write_dat, (".dat",), loop_us=1 << 32),
    "hdf5": Encoding(write_hdf5, (".hdf5", ".h5"), holds_triggers=True, is_compressible=True),
    "npz": Encoding(write_npz, (".npz",)),
}
"""By name: those that ``encoding`` of ``seqdet convert`` lists, in ``cli.recordings``."""


def encoding_of(path: Path) -> str:
    """The key in ``ENCODINGS`` that the ending of a name says. Raises ``InputError`` if it says none."""
    names = {ending: name for name, encoding in ENCODINGS.items() for ending in encoding.endings}
    check_choice(path.suffix, names, "the ending of the file's name")
    return names[path.suffix]


def find_format(path: Path) -> Format:
    """The format of a file that is there and not empty, told by its content first and its name second.

    Raises:
        InputError: if it is called as a file that it is not.
        OSError: if it cannot be read.
    """
    signed = [form for form in FORMATS if form.is_signed]
    if found := next((form for form in signed if form.is_one(path)), None):
        return found
    if named := next((form for form in signed if path.suffix in form.endings), None):
        if named.has_bare:
            return named
        raise InputError(f"{path} must begin as a {path.suffix} file does; it is damaged, or of another format.")
    return next((form for form in FORMATS if not form.is_signed and form.is_one(path)), TEXT)


LOOKED_AT = 1 << 10  # bytes from the begin
_ARRAYS = "Write its events to an npz with the arrays t, x, y and p"
_SIMULATE = f"Events of it are made by: {proposed('simulate', 'VIDEO', '-o', 'EVENTS.raw')}"
_UNPACK = "Unpack it and name what is in it"


class _Foreign(NamedTuple):
    """What a file is if it has one of some bytes at a place; and what to do with it."""

    name: str
    way_out: str
    starts: tuple[bytes, ...]
    place: int = 0


FOREIGN = (
    _Foreign(
        "a pointer of Git LFS, not the file itself",
        "Fetch the file: git lfs pull",
        (b"version https://git-lfs.github.com/spec/",),
    ),
    _Foreign("a pointer of git-annex, not the file itself", "Fetch the file: git annex get", (b"/annex/objects/",)),
    _Foreign(
        "a bag of ROS 1",
        f"{_ARRAYS}, which the Python package rosbags gives without ROS",
        (b"#ROSBAG V",),
    ),
    _Foreign(
        "a database of SQLite, as a bag of ROS 2 is",
        f"{_ARRAYS}, which the Python package rosbags gives without ROS",
        (b"SQLite format 3\x00",),
    ),
    _Foreign(
        "an MCAP file, as a bag of ROS 2 is",
        f"{_ARRAYS}, which the Python package rosbags gives without ROS",
        (b"\x89MCAP",),
    ),
    _Foreign("a MATLAB file", f"{_ARRAYS}, which scipy.io.loadmat gives, or h5py for version 7.3", (b"MATLAB ",)),
    _Foreign(
        "an Event Stream (.es)",
        f"{_ARRAYS}, which the Python packages event_stream and faery give",
        (b"Event Stream",),
    ),
    _Foreign("a Parquet table", f"{_ARRAYS}, which pandas.read_parquet gives", (b"PAR1",)),
    _Foreign("an Arrow table", f"{_ARRAYS}, which pandas.read_feather gives", (b"ARROW1", b"FEA1")),
    _Foreign("a video", _SIMULATE, (b"ftyp", b"moov", b"mdat"), 4),
    _Foreign("a video", _SIMULATE, (b"\x1aE\xdf\xa3",)),
    _Foreign("a video", _SIMULATE, (b"AVI ",), 8),
    _Foreign("a picture", "A detector of pictures takes a folder of them", (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")),
    _Foreign("packed by bzip2", _UNPACK, (b"BZh",)),
    _Foreign("packed by xz", _UNPACK, (b"\xfd7zXZ\x00",)),
    _Foreign("packed by Zstandard", _UNPACK, (b"\x28\xb5\x2f\xfd",)),
    _Foreign("packed by 7-Zip", _UNPACK, (b"7z\xbc\xaf\x27\x1c",)),
    _Foreign("packed by RAR", _UNPACK, (b"Rar!",)),
    _Foreign("a tar archive", _UNPACK, (b"ustar",), 257),
    _Foreign("a capture of network packets", _ARRAYS, (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\n\r\r\n\x1c")),
    _Foreign("a PDF document", "Name the recording", (b"%PDF-",)),
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
    for kind in FOREIGN:
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
        raise InputError(f"{path} must be a recording, and begins with zeros alone. Was its download interrupted?")
