"""Pictures with their labels as people download them: which labels are of which pictures, and of which split."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..checks import InputError
from ..config_files import read_yaml
from ..data.labels import CLASSES_FILE
from ..files import below
from .files import read_text
from .options import SUFFIXES, ImportOptions
from .sequences import PictureSequence, find_sequences, is_named_as_pictures
from .splits import as_split

YAMLS = ("data.yaml", "dataset.yaml")
LISTED = {"train": "train", "val": "val", "valid": "val", "test": "test"}
"""What a file of Ultralytics calls a split, and what we do."""
YEAR = re.compile(r"[-_]?\d{4}$")
LABEL_FOLDERS = ("labels", "annotations", "Annotations")
PICTURE_FOLDERS = ("images", "videos", "JPEGImages")


class Part(NamedTuple):
    """Pictures and labels that are about these and no others.

    labels: their file or folder. sequences: the pictures. top: a folder that may name their classes. split: of which
    they all are, if that is known. is_looked_at: images without labels have no object, as in YOLO.
    """

    labels: Path
    sequences: list[PictureSequence]
    top: Path
    split: str | None = None
    is_looked_at: bool = False


class Place(NamedTuple):
    """Where the labels and the pictures of one split, or of all, are."""

    labels: Path
    pictures: Path
    split: str | None = None


def find_parts(source: str, labels: Path, pictures: Path, options: ImportOptions, told: Counter[str]) -> list[Part]:
    """The parts of what was downloaded, or of two folders.

    The splits of a folder with ``data.yaml`` are as that says. Else each of the folders train, valid and test is a
    part, with the folder of that name among the labels, or the file that has the name of the split in its own.

    Args:
        source: the format of the labels.
        labels: their file or folder.
        pictures: a file or a folder, which may be that of the labels.
        options: how images are understood.
        told: what was understood in one way of several is added.

    Raises:
        InputError: if there are no pictures, or they cannot be read.
    """
    folder = labels if labels.is_dir() else labels.parent
    if source == "yolo" and _is_one(labels, pictures) and (listed := _ultralytics(folder, options, told)):
        return listed
    parts = list[Part]()
    for place in _places(source, labels, pictures):
        sequences = find_sequences(place.pictures, told, stills=options.stills)
        is_looked_at = source == "yolo" and _is_one(labels, pictures)
        if sequences:
            parts.append(Part(place.labels, sequences, folder, place.split, is_looked_at))
    if not parts:
        raise InputError(f"{pictures} must hold videos or images, got none.")
    return parts


def _is_one(labels: Path, pictures: Path) -> bool:
    return labels.is_dir() and labels.resolve() == pictures.resolve()


def _places(source: str, labels: Path, pictures: Path) -> list[Place]:
    if _is_one(labels, pictures):
        inner_labels = next((labels / name for name in LABEL_FOLDERS if (labels / name).is_dir()), None)
        inner = next((pictures / name for name in PICTURE_FOLDERS if (pictures / name).is_dir()), None)
        if inner_labels is not None and inner is not None:
            return _places(source, inner_labels, inner)
        if inner_labels is not None and _split_folders(pictures):  # annotations/instances_train.json beside train/
            return _places(source, inner_labels, pictures)
    folders = _split_folders(pictures)
    theirs = _split_folders(labels)
    if folders and folders.keys() == folders.keys() & theirs.keys():
        return [Place(theirs[split], folder, split) for split, folder in folders.items()]
    files = [path for path in below(labels) if path.suffix in SUFFIXES[source] and path.name != CLASSES_FILE]
    named = {split: _named_as(files, split, folder) for split, folder in folders.items()}
    if any(named.values()):
        return [Place(path, folders[split], split) for split, path in named.items() if path is not None]
    return [Place(labels, pictures)]


def _split_folders(folder: Path) -> dict[str, Path]:
    """The folders right in a folder that are named as splits, by these; a year may follow, as in ``train2017``."""
    inner = [each for each in sorted(folder.iterdir()) if each.is_dir()] if folder.is_dir() else []
    for name_of in (lambda each: each.name, lambda each: YEAR.sub("", each.name)):
        named = [(split, each) for each in inner if (split := as_split(name_of(each))) is not None]
        found = dict(named)
        if len(found) < len(named):
            names = ", ".join(each.name for _, each in named)
            raise InputError(f"{folder} must have one folder for each split, got {names}. Import them one by one.")
        if found:
            return found
    return {}


def _named_as(files: list[Path], split: str, folder: Path) -> Path | None:
    """The file of a split: its name ends as that of the folder, or the split, or is in a folder of the split."""
    names = [folder.name, split]
    ours = [each for each in files if any(each.stem.endswith(name) for name in names)]
    first = [each for each in ours if each.stem.startswith("instances") or each.stem in names]
    return next(iter([*first, *ours]), None)


def _ultralytics(folder: Path, options: ImportOptions, told: Counter[str]) -> list[Part]:
    """The parts that a file of Ultralytics says; none if there is no such file, or it says none.

    The folder of labels is that of images with the last ``images`` in its path replaced by ``labels``, where there is
    one. Source: https://docs.ultralytics.com/datasets/detect/
    """
    path = next((folder / name for name in YAMLS if (folder / name).is_file()), None)
    facts = _yaml(path) if path is not None else {}
    parts = list[Part]()
    listed = list[PictureSequence]()
    for key, split in LISTED.items():
        entries = facts.get(key) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            images = _on_disk(folder, str(facts.get("path") or ""), str(entry))
            if images is None:
                told[f"folders of {path} that are not there"] += 1
            elif images.is_dir():
                found = find_sequences(images, told, stills=options.stills)
                parts += [Part(_labels_of(images), found, folder, split, is_looked_at=True)] if found else []
            else:
                found = find_sequences(folder, told, stills=options.stills, only=_listed(images, folder))
                listed += [replace(each, split=split) for each in found]
    return parts + ([Part(folder, listed, folder, is_looked_at=True)] if listed else [])


def _yaml(path: Path) -> dict[str, Any]:
    try:
        facts = read_yaml(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} must be sound YAML: {error}.") from error
    return facts if isinstance(facts, dict) else {}


def _on_disk(folder: Path, root: str, entry: str) -> Path | None:
    """The folder or list that an entry means: below ``path``, or the file; ``../train`` is often ``train``."""
    plain = entry
    while plain.startswith("../"):
        plain = plain.removeprefix("../")
    places = [folder / root / entry, folder / Path(root).name / entry, folder / entry, folder / plain]
    return next((each for each in places if each.exists()), None)


def _listed(path: Path, folder: Path) -> set[Path]:
    """The pictures that a text lists, one a line."""
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    places = [(path.parent / line, folder / line, folder.parent / line) for line in lines]
    found = {each for each in (next((p for p in some if p.is_file()), None) for some in places) if each is not None}
    return {
        Path(folder, *each.resolve().relative_to(folder.resolve()).parts)
        for each in found
        if each.resolve().is_relative_to(folder.resolve()) and is_named_as_pictures(each)
    }


def _labels_of(images: Path) -> Path:
    """Where the labels of a folder of images are."""
    parts = list(images.parts)
    for n in reversed(range(len(parts))):
        if parts[n] == "images":
            place = Path(*parts[:n], "labels", *parts[n + 1 :])
            return place if place.is_dir() else images
    return images
