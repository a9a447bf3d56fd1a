"""Videos and images in a folder as sequences of pictures: which images belong together, by their names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from ..checks import InputError
from ..files import below
from ..pictures.images import IMAGE_SUFFIXES, image_size, natural
from ..pictures.video import VIDEO_SUFFIXES
from ..progress import progress
from .files import bare_stem
from .splits import split_in

GENERIC_FOLDERS = frozenset(
    [
        *("0", "annotations", "data", "det", "frames", "gt", "image", "images", "img", "img1", "imgs", "jpegimages"),
        *("labels", "obj_train_data", "obj_valid_data", "pictures", "raw", "rgb"),
    ]
)
"""Names of folders, in small letters, that say nothing about the images in them."""
GENERIC_PREFIXES = frozenset(("", "frame", "img", "image", "im", "picture", "pic", "photo", "rgb", "f", "i"))
"""What tools write before the number of a picture, and so says nothing about which ones belong together."""
SPLIT_NAME = re.compile(r"(train|val|valid|validation|test)(ing)?[-_]?(\d{4})?", re.IGNORECASE)
NUMBERED = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)
"""A name: what is before its last number, that number, and what is after it."""
NEAR_STEP = 0.05
MOST_EVEN = 0.5
"""Numbers count pictures if more of their steps than that are so near to the median."""
FEW = 4
CLOSE = 100
STANDING = "images stand alone, each a sequence of one picture"
SIZES = "images of different sizes, numbered alike: each is a sequence of one picture"
COPIES = "images of the same name and number, as copies that were changed: each is a sequence of one picture"
GROUPED = "images belong together by their names or folders: {} sequences; with --stills each stands alone"


@dataclass(frozen=True)
class PictureSequence:
    """Pictures that belong together.

    path: the video, or the folder or file of the images. name: of the sequence. split: what its folder says. images: in
    the order of their numbers; none of a video. numbers: in the names of the images; of one that stands alone none.
    aliases: what else labels may call it. is_sure: the names of its images say more than their number.
    """

    path: Path
    name: str
    split: str | None = None
    images: tuple[Path, ...] = ()
    numbers: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()
    is_sure: bool = False

    @property
    def is_video(self) -> bool:
        return not self.images

    @property
    def shown(self) -> str:
        """Its name, as people read it."""
        return self.path.name if self.is_video else self.name


def find_sequences(
    root: Path, told: Counter[str], *, stills: bool = False, only: Collection[Path] | None = None
) -> list[PictureSequence]:
    """The videos and images of a file or folder, sorted by path; hidden ones are none.

    Images of one folder whose names differ in their last number alone are a sequence in the order of these, unless they
    differ in size; if neither the rest of their names nor their folder says anything (``images/000012.jpg``), only if
    their numbers are evenly spaced. All others are sequences of one picture.

    Args:
        root: to look through.
        told: what was understood in one way of several is added.
        stills: every image stands alone.
        only: the images and videos that count, if not all do.

    Raises:
        InputError: if an image cannot be read.
    """
    if root.is_file():
        images = () if is_video(root) else (root,)
        return [PictureSequence(root, root.stem, images=images, is_sure=True)] if is_named_as_pictures(root) else []
    paths = [path for path in below(root) if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    paths = [path for path in paths if only is None or path in only]
    found = [PictureSequence(path, path.stem, split_in(path, root)) for path in paths if is_video(path)]
    folders = defaultdict[Path, list[Path]](list)
    for path in paths:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            folders[path.parent].append(path)
    for folder, images in folders.items():
        found += _in_folder(folder, root, images, told, stills=stills)
    together = [len(each.images) for each in found if len(each.images) > 1]
    told[GROUPED.format(f"{len(together):,}")] += sum(together)
    return sorted(_named_apart(found, root), key=lambda each: (each.path, each.name))


def is_named_as_pictures(path: Path) -> bool:
    """Whether a file is named as a video or an image, and not hidden."""
    return path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES and not path.name.startswith(".")


def is_video(path: Path) -> bool:
    """Whether a file is named as a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _in_folder(
    folder: Path, root: Path, images: Sequence[Path], told: Counter[str], *, stills: bool
) -> list[PictureSequence]:
    """The sequences of images of one folder."""
    groups = defaultdict[tuple[str, str, str], list[tuple[int, Path]]](list)
    alone = list[Path]()
    for path in images:
        parts = None if stills else NUMBERED.fullmatch(bare_stem(path.stem))
        if parts is None:
            alone.append(path)
            continue
        groups[parts[1], parts[3], path.suffix.lower()].append((int(parts[2][-18:]), path))
    split = split_in(folder / "x", root)
    title = _folder_title(folder, root)
    found = list[PictureSequence]()
    for (before, after, _), numbered in groups.items():
        prefix = (before.rstrip("_-. ") + after).strip("_-. ")
        is_specific = prefix.lower() not in GENERIC_PREFIXES
        paths = [path for _, path in numbered]
        if not _belong(numbered, told, is_told_by_name=is_specific or title is not None):
            alone += paths
            continue
        ordered = sorted(numbered, key=lambda each: natural(each[1]))
        is_only = folder != root and len(groups) == 1 and not alone
        name = prefix if is_specific and not (title and is_only) else title or folder.resolve().name
        aliases = tuple(each for each in (prefix if is_specific else "", title or "") if each not in ("", name))
        found.append(
            PictureSequence(
                folder,
                name,
                split,
                tuple(path for _, path in ordered),
                tuple(number for number, _ in ordered),
                aliases,
                is_specific,
            )
        )
    told[STANDING] += len(alone)
    return found + [PictureSequence(folder, bare_stem(path.stem), split, (path,), is_sure=True) for path in alone]


def _belong(numbered: Sequence[tuple[int, Path]], told: Counter[str], *, is_told_by_name: bool) -> bool:
    """Whether images whose names differ in their number alone are one sequence."""
    if len(numbered) < 2:
        return False
    numbers = [number for number, _ in numbered]
    if len(set(numbers)) < len(numbers):
        told[COPIES] += len(numbers)
        return False
    if not is_told_by_name and not _is_even(numbers):
        return False
    if len({image_size(path) for _, path in progress(numbered, "looking at images", unit="image")}) > 1:
        told[SIZES] += len(numbers)
        return False
    return True


def _is_even(numbers: Sequence[int]) -> bool:
    """Whether numbers count, and are not names: most of their steps are alike; a few numbers have to be close, too."""
    steps = np.diff(np.sort(np.array(numbers, np.int64)))
    step = np.median(steps)
    if len(numbers) < FEW and step > CLOSE:
        return False
    return bool((np.abs(steps / step - 1) <= NEAR_STEP).mean() > MOST_EVEN)


def _folder_title(folder: Path, root: Path) -> str | None:
    """The name of the innermost folder that says which images are in it, from the one that was named on.

    None if there is none, or they are right in the folder of a split.
    """
    for part in reversed((root.resolve().name, *folder.relative_to(root).parts)):
        if SPLIT_NAME.fullmatch(part):
            return None
        if not is_generic(part):
            return part
    return None


def is_generic(folder: str) -> bool:
    """Whether the name of a folder says nothing about what is in it."""
    return folder.lower() in GENERIC_FOLDERS or bool(SPLIT_NAME.fullmatch(folder))


def _named_apart(found: list[PictureSequence], root: Path) -> list[PictureSequence]:
    """The sequences, of which images that stand alone are called by all of their name, or by folder, where they must.

    Raises:
        InputError: if two of a split have the same name.
    """
    for name_of in (_whole_name, lambda each: _name_in(each, root)):
        count = Counter((each.split, each.name) for each in found)
        found = [
            each
            if count[each.split, each.name] == 1 or len(each.images) != 1
            else PictureSequence(each.path, name_of(each), each.split, each.images, is_sure=True)
            for each in found
        ]
    owners: dict[tuple[str | None, str], PictureSequence] = {}
    for each in found:
        other = owners.setdefault((each.split, each.name), each)
        if other is not each:
            raise InputError(
                f"videos and sequences of images must have different names, and {other.path} and {each.path} both have "
                f"{each.name}. Rename one, or put them into train, val and test."
            )
    return found


def _whole_name(sequence: PictureSequence) -> str:
    return sequence.images[0].stem


def _name_in(sequence: PictureSequence, root: Path) -> str:
    image = sequence.images[0]
    return "_".join(PurePath(image.relative_to(root)).with_suffix("").parts)
