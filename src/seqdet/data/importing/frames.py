"""Formats with one file for each labelled frame: what they share, and Pascal VOC."""

from __future__ import annotations

from math import degrees
from pathlib import Path
from xml.etree.ElementTree import Element

from ...checks import InputError
from ..labels import CLASSES_FILE
from .drafts import Draft, Drafts
from .reading import real, whole, whole_xml
from .shapes import Box, hull, turned_box

CLASS_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names", CLASSES_FILE)


def read_voc(drafts: Drafts) -> None:
    """One XML file for each frame; one without objects is a frame without.

    The corners are edges of the box, as tools write them today: its width is ``xmax - xmin``. Difficult objects are
    ignored; a ``trackid``, as of ImageNet VID, is the identity. Turned boxes (``robndbox``: cx, cy, w, h, angle in
    radians) and polygons become their upright boxes.
    Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
    """
    for path in drafts.files(".xml"):
        root = whole_xml(path, "annotation", "a Pascal VOC annotation")
        size = [whole(root.findtext(f"size/{side}") or 0, str(path)) for side in ("height", "width")]
        draft, at = frame_draft(drafts, path, (size[0], size[1]) if min(size) > 0 else None)
        if draft is None:
            continue
        for each in root.iter("object"):
            name = (each.findtext("name") or "").strip()
            if not name:
                raise InputError(f"{path} must name the class of every object.")
            box, shape = _box(each, path)
            drafts.told[f"{shape} that became their upright boxes"] += shape != "boxes"
            score = float((each.findtext("difficult") or "0").strip() != "1")
            track = drafts.identity(draft, each.findtext("trackid"), f"the trackid of every object of {path}")
            draft.rows.append((at, *box, drafts.named(name, path), track, score))


def _box(thing: Element, path: Path) -> tuple[Box, str]:
    """The upright box of an object, and what kind of shape it is in the file."""
    sides = "xmin", "ymin", "xmax", "ymax"
    if (turned := thing.find("robndbox")) is not None and thing.find("bndbox") is None:
        cx, cy, w, h, angle = (real(turned.findtext(name), str(path)) for name in ("cx", "cy", "w", "h", "angle"))
        return turned_box((cx - w / 2, cy - h / 2, w, h), degrees(angle)), "turned boxes"
    if (polygon := thing.find("polygon")) is not None and thing.find("bndbox") is None:
        points = [(each.findtext("x"), each.findtext("y")) for each in polygon.iter("pt")]
        points = points or [(x.text, polygon.findtext("y" + x.tag[1:])) for x in polygon if x.tag.startswith("x")]
        if not points:
            raise InputError(
                f"{path} must have the corners of every polygon, as <pt> or as <x1> <y1> <x2> ..., got none."
            )
        return hull([(real(x, str(path)), real(y, str(path))) for x, y in points]), "polygons"
    x1, y1, x2, y2 = (real(thing.findtext(f"bndbox/{name}"), f"the bndbox of every object of {path}") for name in sides)
    return (x1, y1, x2 - x1, y2 - y1), "boxes"


def frame_draft(drafts: Drafts, path: Path, frame_hw: tuple[int, int] | None) -> tuple[Draft | None, int]:
    """The labels that a file belongs to, and which frame of the recording it is about."""
    owner = drafts.owner_of_file(path)
    if owner is None:
        return None, 0
    if not owner.is_whole and owner.number is None:
        raise InputError(f"{path} must have the number of its frame, or its time in microseconds, in its name.")
    draft = drafts.draft(owner.recording, path, "end" if owner.is_whole else "number", frame_hw)
    at = owner.number or 0
    draft.at.add(at)
    return draft, at
