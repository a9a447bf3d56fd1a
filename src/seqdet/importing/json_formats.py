"""Formats of JSON: COCO, with the extensions for videos, and Label Studio's tasks.

Sources: https://cocodataset.org/#format-data; https://labelstud.io/guide/export,
https://labelstud.io/tags/rectanglelabels, .../tags/videorectangle
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from ..checks import InputError
from ..data.labels import CLASSES_FILE
from ..events.time_units import SPELT, is_time_name, unit_in_name
from ..files import read_json
from ..pictures.images import IMAGE_SUFFIXES
from ..pictures.video import VIDEO_SUFFIXES
from .files import frame_number, is_number, posix_path, read_text, real, times_us, whole
from .owners import Owner
from .parsed import RELATIVE, FrameLabels, ParsedLabels, RecordingLabels, TimeKind, frame_size
from .shapes import Box, Keyframe, corners, hull, mask_box, turned_box

MICROSECONDS = "t"
"""What images of COCO call their time without a unit, as label files do."""
SCORES = ("score", "confidence", "class_confidence")
NUMBERS = ("frame_id", "frame_index", "frame_number", "frame", "mot_frame_id")
VIDEO = "videorectangle"
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES | {".gif"}
UPLOADED = re.compile("^[0-9a-f]{8}-")
"""What Label Studio puts before the names of files that were uploaded to it."""
USUAL_RATES = (24, 25, 30, 50, 60, 100, 120, 24_000 / 1001, 30_000 / 1001, 60_000 / 1001)
"""Frames a second. Label Studio counts frames at a rate of its own, 24 if it is not told another."""
SEVERAL = "tasks with several annotations: the one marked as ground truth, or else the last, was taken"


def read_coco(labels: ParsedLabels) -> None:
    """JSON of images, annotations and categories.

    An image belongs to the recording of its video (``video_id`` of ``videos``, which has a ``name`` or ``file_name``)
    or else of its ``file_name``, or of the file itself. Its time is its ``timestamp_us``, or another that says its
    unit, such as ``time_ms``; its number one of ``NUMBERS``, or else the last number in its name. Images without
    annotations are frames without objects; crowds are ignored. Polygons and masks without a bbox become their upright
    boxes.
    """
    for path, found in _documents(labels):
        if not isinstance(found, dict):
            raise InputError(f"{path} must hold a JSON object, got a {type(found).__name__}.")
        with _in_shape(f"{path} must be a COCO file"):
            _read_coco(labels, path, found)


def _read_coco(labels: ParsedLabels, path: Path, found: dict[str, Any]) -> None:
    categories = _categories(labels, found)
    classes = {each["id"]: labels.class_named(str(each["name"]), path) for each in categories}
    videos = {each["id"]: each for each in found.get("videos", [])}
    frames: dict[Any, FrameLabels | None] = {}
    for image in found["images"]:
        video = videos.get(image.get("video_id"), {})
        if (owner := _coco_owner(labels, path, image, video)) is None:
            labels.leave_unpaired(f"{path}: {image.get('file_name', image['id'])}")
            frames.setdefault(image["id"])
            continue
        height, width = (image.get(side) or video.get(side) for side in ("height", "width"))
        refusal = f"images of {path} must have a timestamp_us, a frame_id or a number in their file_name."
        stated = _stated_time(labels, image, path)
        frame = labels.of_frame(owner, path, frame_size(height, width, str(path)), refusal, stated=stated)
        frame.recording.rate = real(video["fps"], str(path)) if video.get("fps") else frame.recording.rate
        frames[image["id"]] = frame
    for each in found.get("annotations", []):
        place = f"annotation {each.get('id')} of {path}"
        if each["image_id"] not in frames or each["category_id"] not in classes:
            raise InputError(f"{place} must be of an image and a category that are in the file, and is not.")
        if (frame := frames[each["image_id"]]) is None:
            continue
        box = _coco_box(labels, each, place)
        extra = each.get("attributes") or {}
        track = next((n[key] for n in (each, extra) for key in ("track_id", "instance_id") if key in n), 0)
        stated = next((each[key] for key in SCORES if is_number(str(each.get(key)))), 1)
        score = 0.0 if each.get("iscrowd") or each.get("ignore") else real(stated, place)
        track = labels.identity(frame.recording, track, place)
        frame.add(box, classes[each["category_id"]], track=track, score=score)


def _categories(labels: ParsedLabels, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The categories by their numbers, but for those that only group others: Roboflow adds one of that kind."""
    categories = sorted(found.get("categories", []), key=lambda each: each["id"])
    used = {each["category_id"] for each in found.get("annotations", [])}
    kept = []
    for each in categories:
        is_group = any(other.get("supercategory") == each["name"] for other in categories if other is not each)
        if is_group and each["id"] not in used:
            labels.told[f"categories without a box that only group others, and are no class ({each['name']})"] += 1
        else:
            kept.append(each)
    return kept


def _coco_box(labels: ParsedLabels, annotation: dict[str, Any], place: str) -> Box:
    """The box of an annotation; of its polygons, where it has none itself."""
    if bbox := annotation.get("bbox"):
        if len(bbox) != 4:
            raise InputError(f"{place} must have a bbox of x, y, width, height.")
        x, y, w, h = (real(value, place) for value in bbox)
        return x, y, w, h
    polygons = annotation.get("segmentation")
    if isinstance(polygons, dict):
        labels.tell_upright("masks")
        return mask_box(polygons, place)
    if not isinstance(polygons, list) or not polygons:
        raise InputError(f"{place} must have a bbox, or polygons or a mask as its segmentation, and has none of them.")
    labels.tell_upright("polygons")
    return hull(point for polygon in polygons for point in corners(polygon, place))


def _coco_owner(labels: ParsedLabels, path: Path, image: dict[str, Any], video: dict[str, Any]) -> Owner | None:
    """The recording of an image, and the number in its name."""
    name = posix_path(str(image.get("file_name", "")))
    title = posix_path(str(video.get("name") or video.get("file_name") or ""))
    before = [title, PurePosixPath(title.name) / "x"] if title.name else []
    return labels.owners.of_frame(name, before=[*before, PurePosixPath(path.stem) / "x"], after=[labels.near(path)])


def _stated_time(labels: ParsedLabels, image: dict[str, Any], path: Path) -> tuple[int, TimeKind] | None:
    """When an image of COCO was, if it says so besides in its name."""
    times = [name for name in image if is_time_name(name) and image[name] is not None]
    if stated := next((name for name in times if unit_in_name(name)), None):
        found_us, unit = times_us([image[stated]], path, stated)
        if unit.unit != "us":
            labels.told[f"images whose time is in {SPELT[unit.unit]}, as {stated} says"] += 1
        return int(found_us[0]), "us"
    if MICROSECONDS in times:
        return whole(image[MICROSECONDS], str(path)), "us"
    if times:
        labels.told[
            f"images whose {times[0]} is not used, as it says no unit: name it {times[0]}_us, _ms, _s or _ns"
        ] += 1
    if name := next((name for name in NUMBERS if name in image), None):
        return whole(image[name], str(path)), "frame"
    return None


def read_label_studio(labels: ParsedLabels) -> None:
    """The export called JSON: a list of tasks, each of an image or of a video.

    An image belongs to the recording of its folder, or as its name begins, and its number is the last in its name; a
    video to the recording of its name. A task without an annotation, or with a skipped one, labels nothing; one whose
    annotation is empty has no objects. Frames of a video are numbered from 1, and all of them are labelled; a box moves
    evenly from keyframe to keyframe, and stands still after the last one, unless it is switched off there. Polygons,
    ellipses and turned boxes become their upright boxes.
    """
    for path, tasks in _documents(labels):
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise InputError(f"{path} must hold a list of tasks, as the export called JSON of Label Studio does.")
        if tasks and not any("annotations" in task for task in tasks):
            raise InputError(
                f"{path} must be the export called JSON of Label Studio, whose tasks have annotations, and has none. "
                "JSON-MIN and a list of tasks to label do not say what was looked at."
            )
        chosen = [(task, result) for task in tasks if (result := _result(labels, task, path)) is not None]
        videos = sum(_is_video(task, result, path) for task, result in chosen)
        for task, result in chosen:
            place = f"task {task.get('id')} of {path}"
            with _in_shape(f"{place} must be as Label Studio exports it"):
                if _is_video(task, result, path):
                    _read_video(labels, task, result, path, place, is_alone=videos == 1)
                else:
                    _read_image(labels, task, result, path, place)


def _result(labels: ParsedLabels, task: dict[str, Any], path: Path) -> list[dict[str, Any]] | None:
    """What the annotation of a task says; None if nobody looked at it."""
    annotations = task.get("annotations") or []
    if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
        raise InputError(f"task {task.get('id')} of {path} must have a list of annotations.")
    done = [each for each in annotations if not each.get("was_cancelled")]
    labels.dropped["tasks without an annotation, at which nobody looked"] += not done
    labels.told[SEVERAL] += len(done) > 1
    if not done:
        return None
    best = next((each for each in done if each.get("ground_truth")), done[-1])
    result = best.get("result")
    if not isinstance(result, list) or not all(isinstance(each, dict) for each in result):
        raise InputError(f"task {task.get('id')} of {path} must have a list of results in its annotation.")
    return result


def _is_video(task: dict[str, Any], result: list[dict[str, Any]], path: Path) -> bool:
    return any(each.get("type") == VIDEO for each in result) or _media(task, path)[0].suffix.lower() in VIDEO_SUFFIXES


def _media(task: dict[str, Any], path: Path) -> list[PurePosixPath]:
    """The file that a task is about: as it is called in the task, and as it was before it was uploaded."""
    data = task.get("data")
    texts = [text for text in data.values() if isinstance(text, str)] if isinstance(data, dict) else []
    names = [_file(text) for text in texts if text.strip()]
    if not names:
        raise InputError(f"task {task.get('id')} of {path} must name an image or a video in its data.")
    name = next((each for each in names if each.suffix.lower() in MEDIA_SUFFIXES), names[0])
    return [name, name.with_name(UPLOADED.sub("", name.name) or name.name)]


def _file(text: str) -> PurePosixPath:
    """The path in an address: of an upload, of a cloud, or of a file on the server (``?d=``)."""
    _, is_local, local = text.partition("?d=")
    return posix_path(unquote(local if is_local else text.partition("?")[0]))


def _read_image(
    labels: ParsedLabels, task: dict[str, Any], result: list[dict[str, Any]], path: Path, place: str
) -> None:
    """Add the boxes of an image."""
    uploaded, name = _media(task, path)
    owner = labels.owners.of_frame(name, after=[uploaded, labels.near(path)])
    if owner is None:
        labels.leave_unpaired(f"{path}: {name}")
        return
    refusal = f"{place} must have the number of its frame, or its time, in the name of its image, got {name}."
    frame = labels.of_frame(owner, path, RELATIVE, refusal)
    for each in result:
        if (box := _region_box(labels, each, place)) is None:
            continue
        if (label := _region_class(labels, each, result, path)) is not None:
            frame.add(_shares(box), label)


def _region_box(labels: ParsedLabels, region: dict[str, Any], place: str) -> Box | None:
    """The upright box of a region of an image, in percent of its sides; None if it has none."""
    kind = str(region.get("type", "")).removesuffix("labels")
    value = region.get("value") or {}
    if kind == "rectangle":
        return _upright(labels, _keyframe(value, place), region, place)
    if kind == "polygon":
        labels.tell_upright("polygons")
        return hull(corners([number for point in value["points"] for number in point], place))
    if kind == "ellipse":
        labels.tell_upright("ellipses")
        x, y, across, down = (real(value[name], place) for name in ("x", "y", "radiusX", "radiusY"))
        around = Keyframe(0, (x - across, y - down, 2 * across, 2 * down), real(value.get("rotation") or 0, place))
        # the box around the turned box is a little larger than that around the turned ellipse
        return _upright(labels, around, region, place, about_corner=False)
    if kind:  # that is the name of the class of a region that is there too
        labels.dropped[f"results of the kind {region['type']}, which are no boxes"] += 1
    return None


def _keyframe(value: dict[str, Any], place: str, frame: int = 0) -> Keyframe:
    """A rectangle, in percent of the sides of a frame."""
    x, y, w, h = (real(value.get(name), place) for name in ("x", "y", "width", "height"))
    return Keyframe(frame, (x, y, w, h), real(value.get("rotation") or 0, place))


def _upright(
    labels: ParsedLabels, drawn: Keyframe, region: dict[str, Any], place: str, *, about_corner: bool = True
) -> Box:
    """The upright box around one that may be turned, in percent of the sides of a frame, which its region knows."""
    if not drawn.angle:
        return drawn.box
    width, height = region.get("original_width"), region.get("original_height")
    if not width or not height:
        raise InputError(f"{place} must have original_width and original_height beside turned boxes, and has not.")
    labels.tell_upright("turned boxes")
    across, down = real(width, place) / 100, real(height, place) / 100
    x, y, w, h = drawn.box
    in_pixels = x * across, y * down, w * across, h * down
    x, y, w, h = turned_box(in_pixels, drawn.angle, about_corner=about_corner)
    return x / across, y / down, w / across, h / down


def _shares(box: Box) -> Box:
    """A box in percent as shares of the frame."""
    x, y, w, h = box
    return x / 100, y / 100, w / 100, h / 100


def _region_class(
    labels: ParsedLabels, region: dict[str, Any], result: Sequence[dict[str, Any]], path: Path
) -> int | None:
    """The class of a region: its own, or that of a result of the same id; None if it has none."""
    same = [each for each in result if region.get("id") is not None and each.get("id") == region["id"]]
    for each in (region, *same):
        value = each.get("value") or {}
        names = value.get(str(each.get("type"))) or value.get("labels") or value.get("rectanglelabels")
        if isinstance(names, list) and names:
            labels.told["regions with several labels: the first was taken"] += len(names) > 1
            return labels.class_named(str(names[0]), path)
    labels.dropped["regions without a label"] += 1
    return None


def _read_video(
    labels: ParsedLabels, task: dict[str, Any], result: list[dict[str, Any]], path: Path, place: str, *, is_alone: bool
) -> None:
    """Add the tracks of a video."""
    name, uploaded = _media(task, path)
    owner = labels.owners.first([name, uploaded, *([labels.near(path)] if is_alone else [])], or_only=is_alone)
    if owner is None:
        labels.leave_unpaired(f"{path}: {name}")
        return
    found = labels.of_recording(owner.recording, path, "frame", RELATIVE)
    found.first = 1
    kinds = Counter(str(each.get("type")) for each in result)
    for kind in kinds.keys() - {VIDEO, "labels"}:
        labels.dropped[f"results of the kind {kind}, which are no boxes"] += kinds[kind]
    tracks = [each for each in result if each.get("type") == VIDEO]
    lengths = {frame_number(each["value"]["framesCount"], place) for each in tracks if each["value"].get("framesCount")}
    last = max(lengths, default=0)
    found.at.update(range(1, last + 1))
    found.rate = _rate(labels, tracks, place) or found.rate
    found.own_count = last or found.own_count
    for number, track in enumerate(tracks, start=found.next_track(1)):
        if (label := _region_class(labels, track, result, path)) is not None:
            _read_track(labels, found, track, label, number, last, place)


def _rate(labels: ParsedLabels, tracks: Sequence[dict[str, Any]], place: str) -> float | None:
    """Frames a second, as Label Studio counted them: a usual rate, if one fits their number and the duration."""
    for value in (each["value"] for each in tracks):
        if value.get("framesCount") and value.get("duration"):
            count = frame_number(value["framesCount"], place)
            seconds = real(value["duration"], place)
            if seconds <= 0:
                continue
            fitting = [rate for rate in USUAL_RATES if abs(seconds * rate - count) <= 1]
            rate = min(fitting, key=lambda each: abs(each - count / seconds), default=count / seconds)
            labels.told[f"videos of {rate:.4g} frames a second, as framesCount and duration say"] += 1
            return rate
    return None


def _read_track(
    labels: ParsedLabels,
    found: RecordingLabels,
    track: dict[str, Any],
    label: int,
    number: int,
    last: int,
    place: str,
) -> None:
    """Add the boxes of one object. ``last`` is the number of the video's last frame; 0 if it is not known."""
    keys: dict[int, tuple[Keyframe, bool]] = {}
    for each in track["value"]["sequence"]:
        frame = frame_number(each["frame"], place)
        keys[frame] = _keyframe(each, place, frame), bool(each.get("enabled", True))
    ordered = [keys[frame] for frame in sorted(keys)]
    for n, (key, is_on) in enumerate(ordered):
        shown = [key]
        if is_on and n + 1 < len(ordered):
            following = ordered[n + 1][0]
            shown += labels.filled(key, following, range(key.frame + 1, following.frame))
        elif is_on and last > key.frame:
            end = key._replace(frame=last)
            shown += [*labels.filled(key, end, range(key.frame + 1, last)), end]
        for each in shown:
            found.add(each.frame, _shares(_upright(labels, each, track, place)), label, track=number)
            found.at.add(each.frame)


def _documents(labels: ParsedLabels) -> Iterator[tuple[Path, Any]]:
    """The JSON files, but for our own of classes, and what they say. Raises ``InputError`` if one is not sound."""
    for path in labels.files(".json"):
        if path.name == CLASSES_FILE:
            continue
        try:
            found = read_json(read_text(path))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} must be sound JSON: {error}.") from error
        yield path, found


@contextmanager
def _in_shape(told: str) -> Iterator[None]:
    """Say what JSON must be where something in it is missing or of another type."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{told}, and lacks or mistakes {error}.") from error
