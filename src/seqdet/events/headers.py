"""The text lines ``% key value`` at the head of RAW and DAT files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..checks import InputError

LONGEST = 1 << 16  # bytes; no camera writes that much


@dataclass(frozen=True)
class Header:
    """What the head of a file says: values by key in lower case, and how many bytes it takes.

    The options of a line such as ``% format EVT3;height=720;width=1280`` are keys of their own.
    """

    fields: dict[str, str]
    length: int

    @property
    def encoding(self) -> str | None:
        """The encoding of a RAW file as its header names it, in upper case; None in a header of another kind."""
        name = self.fields.get("format") or self.fields.get("evt")
        return name.upper() if name else None

    @property
    def states_size(self) -> bool:
        """Whether a size of the sensor is stated, whatever it is."""
        return not self.fields.keys().isdisjoint(("geometry", "height", "width"))

    def size_hw(self, largest: int) -> tuple[int, int] | None:
        """Height and width of the sensor in pixels; None if not stated, or not two numbers from 1 to ``largest``."""
        width, _, height = self.fields.get("geometry", "").partition("x")
        try:
            size = int(self.fields.get("height", height)), int(self.fields.get("width", width))
        except ValueError:
            return None
        return size if min(size) >= 1 and max(size) <= largest else None


def read_header(path: Path) -> Header:
    """The header of a RAW or DAT file; see ``parse_header``.

    Raises:
        InputError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(LONGEST)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    return parse_header(head)


def parse_header(head: bytes) -> Header:
    """The header at the start of ``head``; of content without one, no fields and the length 0.

    It ends after a line ``% end``, or where a line does not begin with ``% `` or holds control characters.
    """
    fields: dict[str, str] = {}
    length = 0
    while head.startswith(b"% ", length):
        line, newline, _ = head[length:].partition(b"\n")
        if not newline or min(line.strip()) < ord(" "):
            break
        length += len(line) + 1
        key, _, value = line[2:].decode(errors="replace").strip().partition(" ")
        if key == "end":
            break
        value, *options = value.strip().split(";") if key == "format" else [value.strip()]
        fields.setdefault(key.lower(), value)
        for name, _, option in (each.partition("=") for each in options):
            fields.setdefault(name.strip().lower(), option.strip())
    return Header(fields, length)
