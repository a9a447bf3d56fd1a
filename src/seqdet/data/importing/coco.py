"""COCO, with the extensions for videos."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from ...checks import InputError
from ...events.time_units import SPELT, is_time_name, unit_in_name
from ..labels import CLASSES_FILE
from .drafts import Drafts, Owner, When
from .reading import is_number, parsed_json, real, times_us, whole
from .shapes import Box, corners, hull, mask_box

MICROSECONDS = "t"
"""What images call their time without a unit, as label files do."""
SCORES = ("score", "confidence", "class_confidence")
NUMBERS = ("frame_id", "frame_index", "frame_number", "frame", "mot_frame_id")


def read_coco(drafts: Drafts) -> None:
    """JSON of images, annotations and categories, as of https://cocodataset.org/#format-data.

    An image belongs to the recording of its video (``video_id`` of ``videos``, which has a ``name`` or ``file_name``)
    or else of its ``file_name``, or of the file itself. Its time is its ``timestamp_us``, or another that says its
    unit, such as ``time_ms``; its number one of ``NUMBERS``, or else the last number in its name. Images without
    annotations are frames without objects; crowds are ignored. Polygons and masks without a bbox become their upright
    boxes.
    """
    files = {path: parsed_json(path) for path in drafts.files(".json") if path.name != CLASSES_FILE}
    for path, found in files.items():
        try:
            _read(drafts, path, found)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} must be a COCO file, and lacks or mistakes {error}.") from error


def _read(drafts: Drafts, path: Path, found: dict[str, Any]) -> None:
    categories = sorted(found.get("categories", []), key=lambda each: each["id"])
    classes = {each["id"]: drafts.named(str(each["name"]), path) for each in categories}
    videos = {each["id"]: each for each in found.get("videos", [])}
    images: dict[Any, tuple[str, int]] = {}
    for image in found["images"]:
        video = videos.get(image.get("video_id"), {})
        if (owner := _owner(drafts, path, image, video)) is None:
            drafts.leave_unpaired(f"{path}: {image.get('file_name', image['id'])}")
            continue
        at, when = _when(drafts, image, owner, path)
        size = [whole(image.get(side) or video.get(side) or 0, str(path)) for side in ("height", "width")]
        draft = drafts.draft(owner.recording, path, when, (size[0], size[1]) if min(size) > 0 else None)
        draft.rate = real(video["fps"], str(path)) if video.get("fps") else draft.rate
        draft.at.add(at)
        images[image["id"]] = owner.recording, at
    known = {image["id"] for image in found["images"]}
    for each in found.get("annotations", []):
        place = f"annotation {each.get('id')} of {path}"
        if each["image_id"] not in known or each["category_id"] not in classes:
            raise InputError(f"{place} must be of an image and a category that are in the file, and is not.")
        if each["image_id"] not in images:
            continue
        recording, at = images[each["image_id"]]
        box = _box(drafts, each, place)
        extra = each.get("attributes") or {}
        track = next((n[key] for n in (each, extra) for key in ("track_id", "instance_id") if key in n), 0)
        stated = next((each[key] for key in SCORES if is_number(str(each.get(key)))), 1)
        score = 0.0 if each.get("iscrowd") or each.get("ignore") else real(stated, place)
        draft = drafts.recordings[recording]
        draft.rows.append((at, *box, classes[each["category_id"]], drafts.identity(draft, track, place), score))


def _box(drafts: Drafts, annotation: dict[str, Any], place: str) -> Box:
    """The box of an annotation; of its polygons, where it has none itself."""
    if bbox := annotation.get("bbox"):
        if len(bbox) != 4:
            raise InputError(f"{place} must have a bbox of x, y, width, height.")
        x, y, w, h = (real(value, place) for value in bbox)
        return x, y, w, h
    polygons = annotation.get("segmentation")
    if isinstance(polygons, dict):
        drafts.told["masks that became their upright boxes"] += 1
        return mask_box(polygons, place)
    if not isinstance(polygons, list) or not polygons:
        raise InputError(f"{place} must have a bbox, or polygons or a mask as its segmentation, and has none of them.")
    drafts.told["polygons that became their upright boxes"] += 1
    return hull(point for polygon in polygons for point in corners(polygon, place))


def _owner(drafts: Drafts, path: Path, image: dict[str, Any], video: dict[str, Any]) -> Owner | None:
    """The recording of an image, and the number in its name."""
    name = PurePosixPath(str(image.get("file_name", "")).replace("\\", "/"))
    title = PurePosixPath(str(video.get("name") or video.get("file_name") or "").replace("\\", "/"))
    before = [title, PurePosixPath(title.name) / "x"] if title.name else []
    return drafts.owner_of_frame(name, before=[*before, PurePosixPath(path.stem) / "x"], after=[drafts.near(path)])


def _when(drafts: Drafts, image: dict[str, Any], owner: Owner, path: Path) -> tuple[int, When]:
    times = [name for name in image if is_time_name(name) and image[name] is not None]
    if stated := next((name for name in times if unit_in_name(name)), None):
        times_of, unit = times_us([image[stated]], path, stated)
        if unit.unit != "us":
            drafts.told[f"images whose time is in {SPELT[unit.unit]}, as {stated} says"] += 1
        return int(times_of[0]), "us"
    if MICROSECONDS in times:
        return whole(image[MICROSECONDS], str(path)), "us"
    if times:
        drafts.told[
            f"images whose {times[0]} is not used, as it says no unit: name it {times[0]}_us, _ms, _s or _ns"
        ] += 1
    if name := next((name for name in NUMBERS if name in image), None):
        return whole(image[name], str(path)), "frame"
    if owner.is_whole:
        return 0, "end"
    if owner.number is None:
        raise InputError(f"images of {path} must have a timestamp_us, a frame_id or a number in their file_name.")
    return owner.number, "number"
