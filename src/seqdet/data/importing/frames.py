"""Formats with one file for each labelled frame: YOLO and Pascal VOC."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from ...checks import InputError
from ..labels import CLASSES_FILE
from .drafts import RELATIVE, Draft, Drafts
from .reading import read_text, real, whole

CLASS_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names", CLASSES_FILE)
YOLO_COLUMNS = (5, 6)  # class, centre, size, and perhaps a score


def read_yolo(drafts: Drafts) -> None:
    """One text for each frame, a line for each box: class, centre x and y, width, height, as shares of the frame.

    An empty text is a frame without objects. Source: https://docs.ultralytics.com/datasets/detect/
    """
    drafts.find_classes(*CLASS_FILES)
    for path in drafts.files(".txt"):
        if path.name in CLASS_FILES or path.name in ("train.txt", "val.txt", "test.txt"):
            continue
        lines = [line.split() for line in read_text(path).splitlines()]
        draft, at = _frame(drafts, path, RELATIVE)
        if draft is None:
            continue
        for number, line in enumerate(lines, start=1):
            place = f"{path}, line {number},"
            if not line:
                continue
            if len(line) not in YOLO_COLUMNS:
                raise InputError(f"{place} must be class, centre x, centre y, width, height; got {len(line)} columns.")
            x, y, w, h, *score = (real(value, place) for value in line[1:])
            if not -0.5 <= min(x, y) <= max(x, y, w, h) <= 1.5:
                raise InputError(f"{place} must be shares of the frame, from 0 to 1, got {' '.join(line[1:])}.")
            label = drafts.numbered(whole(line[0], place), path)
            draft.rows.append((at, x - w / 2, y - h / 2, w, h, label, 0, *(score or [1])))


def read_voc(drafts: Drafts) -> None:
    """One XML file for each frame; one without objects is a frame without.

    The corners are edges of the box, as tools write them today: its width is ``xmax - xmin``. Difficult objects are
    ignored. Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
    """
    for path in drafts.files(".xml"):
        text = read_text(path)
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise InputError(f"{path} must be a Pascal VOC annotation, without entities of its own.")
        try:
            root = ElementTree.fromstring(text)
        except (ElementTree.ParseError, ValueError) as error:
            raise InputError(f"{path} must be a sound XML file: {error}.") from error
        if root.tag != "annotation":
            raise InputError(f"{path} must be a Pascal VOC annotation, got <{root.tag[:40]}>.")
        size = [whole(root.findtext(f"size/{side}") or 0, str(path)) for side in ("height", "width")]
        draft, at = _frame(drafts, path, (size[0], size[1]) if min(size) > 0 else None)
        if draft is None:
            continue
        for each in root.iter("object"):
            name = (each.findtext("name") or "").strip()
            if not name:
                raise InputError(f"{path} must name the class of every object.")
            x1, y1, x2, y2 = (real(each.findtext(f"bndbox/{n}"), str(path)) for n in ("xmin", "ymin", "xmax", "ymax"))
            score = float((each.findtext("difficult") or "0").strip() != "1")
            draft.rows.append((at, x1, y1, x2 - x1, y2 - y1, drafts.named(name, path), 0, score))


def _frame(drafts: Drafts, path: Path, frame_hw: tuple[int, int] | None) -> tuple[Draft | None, int]:
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
