"""XML that somebody else wrote: without entities, of one kind, and a part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from ...checks import InputError
from .reading import read_text

STEP = 1 << 16
"""Characters that are parsed at once."""


def parts(path: Path, tag: str, what: str) -> Iterator[Element]:
    """The elements right below the root of a file, each when it is complete; afterwards it is forgotten.

    Args:
        path: of the file.
        tag: of its root.
        what: the format, for messages.

    Raises:
        InputError: if it is no sound XML, has another root, or declares types and entities, which may blow up.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path} must be {what}, without entities of its own.")
    parser, open_elements = XMLPullParser(("start", "end")), list[Element]()
    try:
        for start in range(0, len(text), STEP):
            parser.feed(text[start : start + STEP])
            yield from _complete(parser, open_elements, path, tag, what)
        parser.close()
        yield from _complete(parser, open_elements, path, tag, what)
    except (ParseError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a sound XML file: {error}.") from error


def whole_xml(path: Path, tag: str, what: str) -> Element:
    """The root of a small file, with all in it. Arguments and errors are those of ``parts``."""
    root = Element(tag)
    root.extend(list(parts(path, tag, what)))
    return root


def _complete(
    parser: XMLPullParser, open_elements: list[Element], path: Path, tag: str, what: str
) -> Iterator[Element]:
    for found in parser.read_events():
        event, element = found[0], found[-1]
        assert isinstance(element, Element)
        if event == "start":
            if not open_elements and element.tag != tag:
                raise InputError(f"{path} must be {what}, got <{element.tag[:40]}>.")
            open_elements.append(element)
            continue
        open_elements.pop()
        if len(open_elements) == 1:
            yield element
            open_elements[0].clear()
