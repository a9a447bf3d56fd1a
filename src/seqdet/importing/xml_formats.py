"""Formats of XML: Pascal VOC, and CVAT's own, with tracks of videos and with images.

Sources: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html;
https://docs.cvat.ai/docs/other/xml_format/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import cos, degrees, hypot, radians, sin
from pathlib import Path
from typing import cast
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from ..checks import InputError
from .files import frame_number, posix_path, read_text, real, whole
from .parsed import ParsedLabels, RecordingLabels, frame_size
from .shapes import Box, Keyframe, corners, hull, turned_box

WHAT = "an annotation of CVAT, as its exports CVAT for video 1.1 and CVAT for images 1.1 are"
SHAPES = ("box", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton")
IGNORED_ATTRIBUTES = ("ignored", "ignore", "iscrowd", "is_crowd", "difficult")
"""Names of attributes that make a box neither a target nor an error, if they are true."""
BEYOND = "tasks with tracks outside of the frames that they state: only frames with a track count as labelled"
NUMBERED_ON = "files whose tracks are numbered on from those of an earlier file of their recording"
TRUE = ("true", "1", "yes")
STEP = 1 << 16
"""Characters that are parsed at once."""


def read_voc(labels: ParsedLabels) -> None:
    """One XML file for each frame; one without objects is a frame without.

    The corners are edges of the box, as tools write them today: its width is ``xmax - xmin``. Difficult objects are
    ignored; a ``trackid``, as of ImageNet VID, is the identity. Turned boxes (``robndbox``: cx, cy, w, h, angle in
    radians) and polygons become their upright boxes.
    """
    for path in labels.files(".xml"):
        root = Element("annotation")
        root.extend(list(_parts(path, "annotation", "a Pascal VOC annotation")))
        height, width = (root.findtext(f"size/{side}") for side in ("height", "width"))
        frame = labels.of_frame_file(path, frame_size(height, width, str(path)))
        if frame is None:
            continue
        for each in root.iter("object"):
            name = (each.findtext("name") or "").strip()
            if not name:
                raise InputError(f"{path} must name the class of every object.")
            box = _object_box(labels, each, path)
            score = float((each.findtext("difficult") or "0").strip() != "1")
            place = f"the trackid of every object of {path}"
            track = labels.identity(frame.recording, each.findtext("trackid"), place)
            frame.add(box, labels.class_named(name, path), track=track, score=score)


def _object_box(labels: ParsedLabels, thing: Element, path: Path) -> Box:
    """The upright box of an object."""
    is_plain = thing.find("bndbox") is not None
    if (turned := thing.find("robndbox")) is not None and not is_plain:
        labels.tell_upright("turned boxes")
        cx, cy, w, h, angle = (real(turned.findtext(name), str(path)) for name in ("cx", "cy", "w", "h", "angle"))
        return turned_box((cx - w / 2, cy - h / 2, w, h), degrees(angle))
    if (polygon := thing.find("polygon")) is not None and not is_plain:
        labels.tell_upright("polygons")
        points = [(each.findtext("x"), each.findtext("y")) for each in polygon.iter("pt")]
        points = points or [(x.text, polygon.findtext("y" + x.tag[1:])) for x in polygon if x.tag.startswith("x")]
        if not points:
            raise InputError(
                f"{path} must have the corners of every polygon, as <pt> or as <x1> <y1> <x2> ..., got none."
            )
        return hull([(real(x, str(path)), real(y, str(path))) for x, y in points])
    sides = (thing.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax"))
    x1, y1, x2, y2 = (real(side, f"the bndbox of every object of {path}") for side in sides)
    return x1, y1, x2 - x1, y2 - y1


def read_cvat(labels: ParsedLabels) -> None:
    """CVAT for video 1.1 and CVAT for images 1.1, one file for each task or project.

    A file belongs to the recording of its name or of a folder or zip that it is in, or else of the name of the video or
    of the task in it; images to that of their folder, or as their names begin. Every frame of the task is labelled. A
    shape that is outside is no box. Where frames between two keyframes are not in the file, the box moves evenly from
    one to the other, as in CVAT, also to one that is outside; after the last shape of a track there is none. Occluded
    shapes are targets like others; those with a true attribute named as in ``IGNORED_ATTRIBUTES`` are ignored. Shapes
    that are no boxes, and turned boxes, become their upright boxes; tags of whole frames are left out.
    """
    for path in labels.files(".xml"):
        head = CvatHead()
        for element in _parts(path, "annotations", WHAT):
            if element.tag == "meta":
                head = _head(labels, element, path)
            elif element.tag == "track":
                _read_track(labels, element, path, head)
            elif element.tag == "image":
                head.has_images = True
                _read_image(labels, element, path)
        for task in (*head.tasks.values(), head.rest):
            if task.seen or (task.frames and not head.has_images):  # a task without a track has frames without a box
                _note_labelled(labels, task, path, head)


@dataclass
class CvatTask:
    """What the head of a file says of a task, and what its tracks were found to have.

    titles: names of its video and of itself. frames: numbers of all its frames in the video, if it says them. size_hw:
    of the video's frames. seen: frames of which its tracks say something. gone: frames that the file leaves out.
    """

    titles: list[str] = field(default_factory=list)
    frames: range = range(0)
    size_hw: tuple[int, int] | None = None
    seen: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)


@dataclass
class CvatHead:
    """The tasks of a file by their numbers, and one for tracks that belong to none of them.

    has_images: it is one of images. first_track: the number of its first track, by recording.
    """

    tasks: dict[str, CvatTask] = field(default_factory=dict)
    rest: CvatTask = field(default_factory=CvatTask)
    has_images: bool = False
    first_track: dict[str, int] = field(default_factory=dict)

    def task_of(self, track: Element) -> CvatTask:
        """The task that a track names, or the only one."""
        if len(self.tasks) == 1:
            return next(iter(self.tasks.values()))
        return self.tasks.get((track.get("task_id") or "").strip(), self.rest)


def _head(labels: ParsedLabels, meta: Element, path: Path) -> CvatHead:
    """What the head of a file says; the names of the classes are taken note of."""
    for label in (each for group in meta.iter("labels") for each in group.findall("label")):
        name, parent = ((label.findtext(each) or "").strip() for each in ("name", "parent"))
        if name and not parent:  # those with one are points of skeletons
            labels.class_named(name, path)
    return CvatHead({_text(each, "id"): _task(each, meta, path) for each in (*meta.iter("task"), *meta.iter("job"))})


def _task(element: Element, meta: Element, path: Path) -> CvatTask:
    sources = _text(element, "source") or _text(meta, "source"), _text(element, "name")
    task = CvatTask([title for title in sources if title])
    size = [_text(element, f"original_size/{side}") for side in ("height", "width")]
    if all(size):
        task.size_hw = whole(size[0], str(path)), whole(size[1], str(path))
    first, last = _text(element, "start_frame"), _text(element, "stop_frame")
    if first and last:
        step = _text(element, "frame_filter").removeprefix("step").strip(" =") or 1
        stop = frame_number(last, str(path)) + 1
        task.frames = range(frame_number(first, str(path)), stop, max(whole(step, str(path)), 1))
    return task


def _text(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _note_labelled(labels: ParsedLabels, task: CvatTask, path: Path, head: CvatHead) -> None:
    """Take note of the frames at which somebody looked."""
    found = _of_task(labels, task, path, head)
    if found is None:
        return
    if task.seen <= set(task.frames):
        found.at |= (set(task.frames) - task.gone) | task.seen  # what one track leaves out, another may have
        return
    found.at |= task.seen
    if task.frames:
        labels.told[BEYOND] += 1


def _of_task(labels: ParsedLabels, task: CvatTask, path: Path, head: CvatHead) -> RecordingLabels | None:
    """The labels of the recording that a task belongs to; a file without one is written down."""
    titles = list(map(posix_path, task.titles))
    is_alone = len(head.tasks) < 2
    owner = labels.owners.first([labels.near(path), *titles] if is_alone else titles, or_only=is_alone)
    if owner is None:
        labels.leave_unpaired(str(path) if is_alone else f"{path}: {', '.join(task.titles) or 'tracks of no task'}")
        return None
    found = labels.of_recording(owner.recording, path, "frame", task.size_hw)
    found.first = 0
    return found


def _read_track(labels: ParsedLabels, track: Element, path: Path, head: CvatHead) -> None:
    """Add the boxes of a track."""
    place = f"track {track.get('id')} of {path}"
    task = head.task_of(track)
    found = _of_task(labels, task, path, head)
    if found is None:
        return
    number = labels.identity(found, track.get("id", "0"), place, group=str(path))
    number += _first_track(labels, found, head) if number >= 0 else 0
    label = labels.class_named(_required(track, "label", place), path)

    def add(drawn: Keyframe, score: float) -> None:
        found.add(drawn.frame, drawn.upright(), label, track=number, score=score)

    before: Keyframe | None = None
    was_key = False
    score = 1.0
    numbered = [(frame_number(each.get("frame", ""), place), each) for each in track if each.tag in SHAPES]
    for frame, shape in sorted(numbered, key=lambda pair: pair[0]):
        now = _keyframe(labels, shape, frame, place)
        is_key = _is_true(shape.get("keyframe", "1"))
        if before is not None:
            is_known = before.frame in task.frames and frame in task.frames
            missing = [n for n in range(before.frame + 1, frame) if n in task.frames or not is_known]
            if was_key and is_key:
                for each in labels.filled(before, now, missing):
                    add(each, score)
                task.seen.update(missing)
            else:  # the file has what is between keyframes, but not these
                task.gone.update(missing)
        score = 0.0 if _is_ignored(track) or _is_ignored(shape) else 1.0
        task.seen.add(frame)
        is_outside = _is_true(shape.get("outside", "0"))
        if not is_outside:
            add(now, score)
        before = None if is_outside else now
        was_key = is_key


def _first_track(labels: ParsedLabels, found: RecordingLabels, head: CvatHead) -> int:
    """What is added to the numbers of the tracks in a file, so that they differ from those of other files."""
    if found.name not in head.first_track:
        head.first_track[found.name] = found.next_track(0)
        labels.told[NUMBERED_ON] += head.first_track[found.name] > 0
    return head.first_track[found.name]


def _read_image(labels: ParsedLabels, image: Element, path: Path) -> None:
    """Add the boxes of an image."""
    place = f"image {image.get('name') or image.get('id')} of {path}"
    name = posix_path(image.get("name") or "")
    owner = labels.owners.of_frame(name, after=[labels.near(path)])
    if owner is None:
        labels.leave_unpaired(f"{path}: {name}")
        return
    size_hw = frame_size(image.get("height"), image.get("width"), place)
    has_no_number = not owner.is_whole and owner.number is None
    stated = (whole(image.get("id", ""), place), "frame") if has_no_number else None
    frame = labels.of_frame(owner, path, size_hw, "", stated=stated)
    for shape in image:
        if shape.tag not in SHAPES:
            labels.dropped["tags of whole frames"] += shape.tag == "tag"
            continue
        box = _keyframe(labels, shape, frame.at, place).upright()
        label = labels.class_named(_required(shape, "label", place), path)
        frame.add(box, label, score=0.0 if _is_ignored(shape) else 1.0)


def _keyframe(labels: ParsedLabels, shape: Element, frame: int, place: str) -> Keyframe:
    """A shape, as a box that may be turned."""
    if shape.tag != "box":
        labels.tell_upright(f"shapes ({shape.tag})")
        return Keyframe(frame, _hull(shape, place))
    x1, y1, x2, y2 = (real(shape.get(side), place) for side in ("xtl", "ytl", "xbr", "ybr"))
    angle = real(shape.get("rotation") or 0, place)
    labels.tell_upright("turned boxes", int(angle != 0))
    return Keyframe(frame, (x1, y1, x2 - x1, y2 - y1), angle)


def _hull(shape: Element, place: str) -> Box:
    """The upright box around a shape that is none."""
    if shape.tag == "ellipse":
        x, y, across, down = (real(shape.get(name), place) for name in ("cx", "cy", "rx", "ry"))
        angle = radians(real(shape.get("rotation") or 0, place))
        w = hypot(across * cos(angle), down * sin(angle))
        h = hypot(across * sin(angle), down * cos(angle))
        return x - w, y - h, 2 * w, 2 * h
    if shape.tag == "mask":
        x, y, w, h = (real(shape.get(name), place) for name in ("left", "top", "width", "height"))
        return x, y, w, h
    if shape.tag == "cuboid":
        sides = [name for name in shape.attrib if name.startswith("x") and name[1:2] in ("t", "b")]
        numbers = [shape.get(side + name[1:]) for name in sides for side in "xy"]
    elif shape.tag == "skeleton":
        shown = [each for each in shape if each.tag == "points" and not _is_true(each.get("outside", "0"))]
        numbers = ",".join(each.get("points", "") for each in shown).replace(";", ",").split(",")
    else:
        numbers = (shape.get("points") or "").replace(";", ",").split(",")
    return hull(corners(numbers, place))


def _required(element: Element, name: str, place: str) -> str:
    if not (value := (element.get(name) or "").strip()):
        raise InputError(f"{place} must have a {name}.")
    return value


def _is_ignored(element: Element) -> bool:
    """Whether an attribute says that the shape is to be ignored."""
    return any(
        (each.get("name") or "").strip().lower() in IGNORED_ATTRIBUTES and _is_true(each.text or "")
        for each in element.findall("attribute")
    )


def _is_true(text: str) -> bool:
    return text.strip().lower() in TRUE


def _parts(path: Path, tag: str, what: str) -> Iterator[Element]:
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
    parser = XMLPullParser(("start", "end"))
    above = list[Element]()
    try:
        for start in range(0, len(text) + STEP, STEP):  # the last time there is nothing left
            if start < len(text):
                parser.feed(text[start : start + STEP])
            else:
                parser.close()
            for event, element in cast("Iterator[tuple[str, Element]]", parser.read_events()):
                if event == "start":
                    if not above and element.tag != tag:
                        raise InputError(f"{path} must be {what}, got <{element.tag[:40]}>.")
                    above.append(element)
                    continue
                above.pop()
                if len(above) == 1:
                    yield element
                    above[0].clear()
    except (ParseError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a sound XML file: {error}.") from error
