"""Label Studio's JSON: rectangles of images, and of videos with their keyframes.

Sources: https://labelstud.io/guide/export, https://labelstud.io/tags/rectanglelabels, .../tags/videorectangle
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from ...checks import InputError
from ...events.frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from ..labels import CLASSES_FILE
from .drafts import RELATIVE, Draft, Drafts
from .reading import any_json, frame_number, real
from .shapes import Box, Keyframe, corners, filled, hull, turned_box

VIDEO = "videorectangle"
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES | {".gif"}
UPLOADED = re.compile("^[0-9a-f]{8}-")
"""What Label Studio puts before the names of files that were uploaded to it."""
USUAL_RATES = (24, 25, 30, 50, 60, 100, 120, 24_000 / 1001, 30_000 / 1001, 60_000 / 1001)
"""Frames a second. Label Studio counts frames at a rate of its own, 24 if it is not told another."""
SEVERAL = "tasks with several annotations: the one marked as ground truth, or else the last, was taken"


def read_label_studio(drafts: Drafts) -> None:
    """The export called JSON: a list of tasks, each of an image or of a video.

    An image belongs to the recording of its folder, or as its name begins, and its number is the last in its name; a
    video to the recording of its name. A task without an annotation, or with a skipped one, labels nothing; one whose
    annotation is empty has no objects. Frames of a video are numbered from 1, and all of them are labelled; a box moves
    evenly from keyframe to keyframe, and stands still after the last one, unless it is switched off there. Polygons,
    ellipses and turned boxes become their upright boxes.
    """
    for path in drafts.files(".json"):
        if path.name == CLASSES_FILE:
            continue
        tasks = any_json(path)
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise InputError(f"{path} must hold a list of tasks, as the export called JSON of Label Studio does.")
        if tasks and not any("annotations" in task for task in tasks):
            raise InputError(
                f"{path} must be the export called JSON of Label Studio, whose tasks have annotations, and has none. "
                "JSON-MIN and a list of tasks to label do not say what was looked at."
            )
        chosen = [(task, result) for task in tasks if (result := _result(drafts, task, path)) is not None]
        videos = sum(_is_video(task, result, path) for task, result in chosen)
        for task, result in chosen:
            place = f"task {task.get('id')} of {path}"
            try:
                if _is_video(task, result, path):
                    _read_video(drafts, task, result, path, place, is_alone=videos == 1)
                else:
                    _read_image(drafts, task, result, path, place)
            except (KeyError, TypeError, AttributeError, IndexError) as error:
                told = f"{place} must be as Label Studio exports it, and lacks or mistakes {error}."
                raise InputError(told) from error


def _result(drafts: Drafts, task: dict[str, Any], path: Path) -> list[dict[str, Any]] | None:
    """What the annotation of a task says; None if nobody looked at it."""
    annotations = task.get("annotations") or []
    if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
        raise InputError(f"task {task.get('id')} of {path} must have a list of annotations.")
    done = [each for each in annotations if not each.get("was_cancelled")]
    drafts.dropped["tasks without an annotation, at which nobody looked"] += not done
    drafts.told[SEVERAL] += len(done) > 1
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
    return PurePosixPath(unquote(local if is_local else text.partition("?")[0]).replace("\\", "/"))


def _read_image(drafts: Drafts, task: dict[str, Any], result: list[dict[str, Any]], path: Path, place: str) -> None:
    """Add the boxes of an image."""
    uploaded, name = _media(task, path)
    owner = drafts.owner_of_frame(name, after=[uploaded, drafts.near(path)])
    if owner is None:
        drafts.leave_unpaired(f"{path}: {name}")
        return
    if not owner.is_whole and owner.number is None:
        raise InputError(
            f"{place} must have the number of its frame, or its time, in the name of its image, got {name}."
        )
    draft = drafts.draft(owner.recording, path, "end" if owner.is_whole else "number", RELATIVE)
    at = owner.number or 0
    draft.at.add(at)
    for each in result:
        if (box := _box(drafts, each, place)) is not None and (label := _label(drafts, each, result, path)) is not None:
            draft.rows.append((at, *(side / 100 for side in box), label, 0, 1.0))


def _box(drafts: Drafts, region: dict[str, Any], place: str) -> Box | None:
    """The upright box of a region of an image, in percent of its sides; None if it has none."""
    kind = str(region.get("type", "")).removesuffix("labels")
    value = region.get("value") or {}
    if kind == "rectangle":
        return _upright(drafts, _sides(value, place), real(value.get("rotation") or 0, place), region, place)
    if kind == "polygon":
        drafts.told["polygons that became their upright boxes"] += 1
        return hull(corners([number for point in value["points"] for number in point], place))
    if kind == "ellipse":
        drafts.told["ellipses that became their upright boxes"] += 1
        x, y, across, down = (real(value[name], place) for name in ("x", "y", "radiusX", "radiusY"))
        angle = real(value.get("rotation") or 0, place)
        # the box around the turned box is a little larger than that around the turned ellipse
        return _upright(drafts, (x - across, y - down, 2 * across, 2 * down), angle, region, place, about_corner=False)
    if kind:  # that is the name of the class of a region that is there too
        drafts.dropped[f"results of the kind {region['type']}, which are no boxes"] += 1
    return None


def _sides(value: dict[str, Any], place: str) -> Box:
    x, y, w, h = (real(value.get(name), place) for name in ("x", "y", "width", "height"))
    return x, y, w, h


def _upright(
    drafts: Drafts, box: Box, angle: float, region: dict[str, Any], place: str, *, about_corner: bool = True
) -> Box:
    """The upright box around one that is turned, about its top left corner, in percent of the sides of a frame."""
    if not angle:
        return box
    width, height = region.get("original_width"), region.get("original_height")
    if not width or not height:
        raise InputError(f"{place} must have original_width and original_height beside turned boxes, and has not.")
    drafts.told["turned boxes that became their upright boxes"] += 1
    scale = real(width, place) / 100, real(height, place) / 100
    in_pixels = box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1]
    x, y, w, h = turned_box(in_pixels, angle, about_corner=about_corner)
    return x / scale[0], y / scale[1], w / scale[0], h / scale[1]


def _label(drafts: Drafts, region: dict[str, Any], result: Sequence[dict[str, Any]], path: Path) -> int | None:
    """The class of a region: its own, or that of a result of the same id; None if it has none."""
    same = [each for each in result if region.get("id") is not None and each.get("id") == region["id"]]
    for each in (region, *same):
        value = each.get("value") or {}
        names = value.get(str(each.get("type"))) or value.get("labels") or value.get("rectanglelabels")
        if isinstance(names, list) and names:
            drafts.told["regions with several labels: the first was taken"] += len(names) > 1
            return drafts.named(str(names[0]), path)
    drafts.dropped["regions without a label"] += 1
    return None


def _read_video(
    drafts: Drafts, task: dict[str, Any], result: list[dict[str, Any]], path: Path, place: str, *, is_alone: bool
) -> None:
    """Add the tracks of a video."""
    name, uploaded = _media(task, path)
    owner = drafts.first_owner([name, uploaded, *([drafts.near(path)] if is_alone else [])], or_only=is_alone)
    if owner is None:
        drafts.leave_unpaired(f"{path}: {name}")
        return
    draft = drafts.draft(owner.recording, path, "frame", RELATIVE)
    draft.first = 1
    kinds = Counter(str(each.get("type")) for each in result)
    for kind in kinds.keys() - {VIDEO, "labels"}:
        drafts.dropped[f"results of the kind {kind}, which are no boxes"] += kinds[kind]
    tracks = [each for each in result if each.get("type") == VIDEO]
    lengths = {frame_number(each["value"]["framesCount"], place) for each in tracks if each["value"].get("framesCount")}
    last = max(lengths, default=0)
    draft.at.update(range(1, last + 1))
    draft.rate = _rate(drafts, tracks, place) or draft.rate
    first_number = int(max((row[6] for row in draft.rows), default=0)) + 1
    for number, track in enumerate(tracks, start=first_number):
        if (label := _label(drafts, track, result, path)) is not None:
            _read_track(drafts, draft, track, label, number, last, place)


def _rate(drafts: Drafts, tracks: Sequence[dict[str, Any]], place: str) -> float | None:
    """Frames a second, as Label Studio counted them: a usual rate, if one fits their number and the duration."""
    for value in (each["value"] for each in tracks):
        if value.get("framesCount") and value.get("duration"):
            count, seconds = frame_number(value["framesCount"], place), real(value["duration"], place)
            if seconds <= 0:
                continue
            fitting = [rate for rate in USUAL_RATES if abs(seconds * rate - count) <= 1]
            rate = min(fitting, key=lambda each: abs(each - count / seconds), default=count / seconds)
            drafts.told[f"videos of {rate:.4g} frames a second, as framesCount and duration say"] += 1
            return rate
    return None


def _read_track(
    drafts: Drafts, draft: Draft, track: dict[str, Any], label: int, number: int, last: int, place: str
) -> None:
    """Add the boxes of one object."""
    found: dict[int, tuple[Keyframe, bool]] = {}
    for each in track["value"]["sequence"]:
        frame = frame_number(each["frame"], place)
        key = Keyframe(frame, _sides(each, place), real(each.get("rotation") or 0, place))
        found[frame] = key, bool(each.get("enabled", True))
    keys = [found[frame] for frame in sorted(found)]
    for n, (key, is_on) in enumerate(keys):
        shown = [key]
        if is_on and n + 1 < len(keys):
            following = keys[n + 1][0]
            shown += filled(drafts, key, following, range(key.frame + 1, following.frame))
        elif is_on and last > key.frame:
            end = key._replace(frame=last)
            shown += [*filled(drafts, key, end, range(key.frame + 1, last)), end]
        for each in shown:
            box = _upright(drafts, each.box, each.angle, track, place)
            draft.rows.append((each.frame, *(side / 100 for side in box), label, number, 1.0))
            draft.at.add(each.frame)
