"""CVAT's own XML: tracks of videos, and images.

Source: https://docs.cvat.ai/docs/other/xml_format/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, hypot, radians, sin
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from ...checks import InputError
from .drafts import Draft, Drafts
from .reading import frame_number, parts, real, whole
from .shapes import Box, Keyframe, corners, filled, hull, turned_box

WHAT = "an annotation of CVAT, as its exports CVAT for video 1.1 and CVAT for images 1.1 are"
SHAPES = ("box", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton")
IGNORED_ATTRIBUTES = ("ignored", "ignore", "iscrowd", "is_crowd", "difficult")
"""Names of attributes that make a box neither a target nor an error, if they are true."""
TRUE = ("true", "1", "yes")


@dataclass
class Task:
    """What the head of a file says of a task, and what its tracks were found to have.

    titles: names of its video and of itself. frames: numbers of all its frames in the video, if it says them. size_hw:
    of the video's frames. seen: frames of which its tracks say something. gone: frames that the file leaves out.
    """

    titles: list[str] = field(default_factory=list)
    frames: range = range(0)
    size_hw: tuple[int, int] | None = None
    seen: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)


def read_cvat(drafts: Drafts) -> None:
    """CVAT for video 1.1 and CVAT for images 1.1, one file for each task or project.

    A file belongs to the recording of its name or of a folder or zip that it is in, or else of the name of the video or
    of the task in it; images to that of their folder, or as their names begin. Every frame of the task is labelled. A
    shape that is outside is no box. Where frames between two keyframes are not in the file, the box moves evenly from
    one to the other, as in CVAT, also to one that is outside; after the last shape of a track there is none. Occluded
    shapes are targets like others; those with a true attribute named as in ``IGNORED_ATTRIBUTES`` are ignored. Shapes
    that are no boxes, and turned boxes, become their upright boxes; tags of whole frames are left out.
    """
    for path in drafts.files(".xml"):
        head = Head()
        for element in parts(path, "annotations", WHAT):
            if element.tag == "meta":
                head = _head(drafts, element, path)
            elif element.tag == "track":
                _read_track(drafts, element, path, head)
            elif element.tag == "image":
                head.has_images = True
                _read_image(drafts, element, path)
        for task in (*head.tasks.values(), head.rest):
            if task.seen or (task.frames and not head.has_images):  # a task without a track has frames without a box
                _note_labelled(drafts, task, path, head)


@dataclass
class Head:
    """The tasks of a file by their numbers, and one for tracks that belong to none of them.

    has_images: it is one of images. first_track: the number of its first track, by recording.
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    rest: Task = field(default_factory=Task)
    has_images: bool = False
    first_track: dict[str, int] = field(default_factory=dict)

    def task_of(self, track: Element) -> Task:
        """The task that a track names, or the only one."""
        if len(self.tasks) == 1:
            return next(iter(self.tasks.values()))
        return self.tasks.get((track.get("task_id") or "").strip(), self.rest)


def _head(drafts: Drafts, meta: Element, path: Path) -> Head:
    """What the head of a file says; the names of the classes are taken note of."""
    for label in (each for labels in meta.iter("labels") for each in labels.findall("label")):
        name, parent = ((label.findtext(each) or "").strip() for each in ("name", "parent"))
        if name and not parent:  # those with one are points of skeletons
            drafts.named(name, path)
    return Head({_text(each, "id"): _task(each, meta, path) for each in (*meta.iter("task"), *meta.iter("job"))})


def _task(element: Element, meta: Element, path: Path) -> Task:
    sources = _text(element, "source") or _text(meta, "source"), _text(element, "name")
    task = Task([title for title in sources if title])
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


def _note_labelled(drafts: Drafts, task: Task, path: Path, head: Head) -> None:
    """Take note of the frames at which somebody looked."""
    draft = _draft(drafts, task, path, head)
    if draft is None:
        return
    if task.seen <= set(task.frames):
        draft.at |= (set(task.frames) - task.gone) | task.seen  # what one track leaves out, another may have
        return
    draft.at |= task.seen
    if task.frames:
        drafts.told[
            "tasks with tracks outside of the frames that they state: only frames with a track count as labelled"
        ] += 1


def _draft(drafts: Drafts, task: Task, path: Path, head: Head) -> Draft | None:
    """The labels of the recording that a task belongs to; a file without one is written down."""
    titles = [PurePosixPath(title.replace("\\", "/")) for title in task.titles]
    is_alone = len(head.tasks) < 2
    owner = drafts.first_owner([drafts.near(path), *titles] if is_alone else titles, or_only=is_alone)
    if owner is None:
        drafts.leave_unpaired(str(path) if is_alone else f"{path}: {', '.join(task.titles) or 'tracks of no task'}")
        return None
    return drafts.draft(owner.recording, path, "frame", task.size_hw)


def _read_track(drafts: Drafts, track: Element, path: Path, head: Head) -> None:
    """Add the boxes of a track."""
    place, task = f"track {track.get('id')} of {path}", head.task_of(track)
    draft = _draft(drafts, task, path, head)
    if draft is None:
        return
    number = drafts.identity(draft, track.get("id", "0"), place, group=str(path))
    number += _first_track(drafts, draft, path, head) if number >= 0 else 0
    label = drafts.named(_required(track, "label", place), path)
    before: Keyframe | None = None
    was_key, score = False, 1.0
    numbered = [(frame_number(each.get("frame", ""), place), each) for each in track if each.tag in SHAPES]
    for frame, shape in sorted(numbered, key=lambda pair: pair[0]):
        now = _keyframe(drafts, shape, frame, place)
        is_key = _is_true(shape.get("keyframe", "1"))
        if before is not None:
            is_known = before.frame in task.frames and frame in task.frames
            missing = [n for n in range(before.frame + 1, frame) if n in task.frames or not is_known]
            if was_key and is_key:
                made = filled(drafts, before, now, missing)
                draft.rows += [(each.frame, *turned_box(each.box, each.angle), label, number, score) for each in made]
                task.seen.update(missing)
            else:  # the file has what is between keyframes, but not these
                task.gone.update(missing)
        score = 0.0 if _is_ignored(track) or _is_ignored(shape) else 1.0
        task.seen.add(frame)
        is_outside = _is_true(shape.get("outside", "0"))
        if not is_outside:
            draft.rows.append((frame, *turned_box(now.box, now.angle), label, number, score))
        before, was_key = None if is_outside else now, is_key


def _first_track(drafts: Drafts, draft: Draft, path: Path, head: Head) -> int:
    """What is added to the numbers of the tracks in a file, so that they differ from those of other files."""
    recording = next(name for name, each in drafts.recordings.items() if each is draft)
    if recording not in head.first_track:
        head.first_track[recording] = int(max((row[6] for row in draft.rows if row[6] >= 0), default=-1)) + 1
        if head.first_track[recording]:
            drafts.told["files whose tracks are numbered on from those of an earlier file of their recording"] += 1
    return head.first_track[recording]


def _read_image(drafts: Drafts, image: Element, path: Path) -> None:
    """Add the boxes of an image."""
    place = f"image {image.get('name') or image.get('id')} of {path}"
    name = PurePosixPath((image.get("name") or "").replace("\\", "/"))
    owner = drafts.owner_of_frame(name, after=[drafts.near(path)])
    if owner is None:
        drafts.leave_unpaired(f"{path}: {name}")
        return
    size = [whole(image.get(side) or 0, place) for side in ("height", "width")]
    when = "end" if owner.is_whole else "frame" if owner.number is None else "number"
    draft = drafts.draft(owner.recording, path, when, (size[0], size[1]) if min(size) > 0 else None)
    at = whole(image.get("id", ""), place) if when == "frame" else owner.number or 0
    draft.at.add(at)
    for shape in image:
        if shape.tag not in SHAPES:
            drafts.dropped["tags of whole frames"] += shape.tag == "tag"
            continue
        drawn = _keyframe(drafts, shape, at, place)
        label = drafts.named(_required(shape, "label", place), path)
        draft.rows.append((at, *turned_box(drawn.box, drawn.angle), label, 0, 0.0 if _is_ignored(shape) else 1.0))


def _keyframe(drafts: Drafts, shape: Element, frame: int, place: str) -> Keyframe:
    """A shape, as a box that may be turned."""
    if shape.tag != "box":
        drafts.told[f"shapes ({shape.tag}) that became their upright boxes"] += 1
        return Keyframe(frame, _hull(shape, place))
    x1, y1, x2, y2 = (real(shape.get(side), place) for side in ("xtl", "ytl", "xbr", "ybr"))
    angle = real(shape.get("rotation") or 0, place)
    drafts.told["turned boxes that became their upright boxes"] += angle != 0
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
