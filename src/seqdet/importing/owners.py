"""Which recording, and which picture of it, a file or an entry of labels is about: by the names of both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from ..data.labels import LABEL_SUFFIX, recording_name
from .files import bare_stem, last_number
from .sequences import PictureSequence, is_generic


class Owner(NamedTuple):
    """The recording that a file of labels belongs to, and the last number in the rest of its name.

    is_whole: the file has just its name, and so is about all of it. picture: which of its images it names.
    """

    recording: str
    number: int | None
    is_whole: bool
    picture: int | None = None


class Owners:
    """The recordings that labels may be about, each with a key under which its labels are kept.

    Args:
        names: what labels may call them, to their keys.
        images: the sequences of images among them, by their keys.
    """

    def __init__(self, names: Mapping[str, str], images: Mapping[str, PictureSequence] | None = None) -> None:
        self._names = {name.removesuffix("_td"): key for name, key in names.items()} | dict(names)
        self._images = images or {}
        self._places = defaultdict[str, list[tuple[str, int]]](list)
        for key, sequence in self._images.items():
            for n, path in enumerate(sequence.images):
                for stem in {path.stem, bare_stem(path.stem)}:
                    self._places[stem].append((key, n))

    def first(self, paths: Sequence[PurePath], *, or_only: bool = True) -> Owner | None:
        """The recording of the first of several files that has one, or else the only recording.

        It has one by its name, that of a folder it is in, or how its name begins.

        Args:
            paths: of the files.
            or_only: whether the only recording will do.
        """
        if (found := next((owner for path in paths if (owner := self._match(path))), None)) or not or_only:
            return found
        only = set(self._names.values())
        return Owner(only.pop(), last_number(bare_stem(paths[0].stem)), False) if len(only) == 1 else None

    def of_frame(
        self, name: PurePath, *, before: Sequence[PurePath] = (), after: Sequence[PurePath] = ()
    ) -> Owner | None:
        """The recording of an image by its name, and which picture or number it has there.

        Args:
            name: of the image, perhaps in folders.
            before: what decides before it, such as the name of a video.
            after: what decides after it, such as the file that names it.
        """
        if found := self._named_image(name, [*before, *after]):
            return found
        own = self._match(name)
        number = own.number if own else last_number(bare_stem(name.stem))
        if found := self.first(before, or_only=False):
            return Owner(found.recording, number, False)
        if own:
            return own
        found = self.first([*after, name])
        return found and Owner(found.recording, number, False)

    def _named_image(self, name: PurePath, others: Sequence[PurePath]) -> Owner | None:
        """The image that has that name; of several, that whose folders say the same, or whose sequence others name."""
        places = self._places.get(name.stem) or self._places.get(bare_stem(name.stem))
        if not places:
            return None
        if len(places) > 1:
            shared = [_shared_folders(name, self._images[key].images[n]) for key, n in places]
            most = max(shared)
            if most and shared.count(most) == 1:
                places = [places[shared.index(most)]]
            elif owner := self.first([name, *others], or_only=False):
                places = [(key, n) for key, n in places if key == owner.recording]
            if len(places) != 1:
                return None
        key, n = places[0]
        if len(self._images) > 1 and not self._images[key].is_sure and self._is_elsewhere(name, key, n):
            return None
        return Owner(key, None, False, n)

    def _is_elsewhere(self, name: PurePath, key: str, n: int) -> bool:
        """Whether folders say that an image whose name is but a number is of another sequence."""
        folders = [part for part in name.parts[1:-1] if not is_generic(part)]
        return bool(folders) and folders[-1] not in (*self._images[key].images[n].parts, self._images[key].name)

    def _match(self, path: PurePath) -> Owner | None:
        stem = path.name.removesuffix(LABEL_SUFFIX) if path.name.endswith(LABEL_SUFFIX) else path.stem
        stem = bare_stem(stem.removesuffix("_bbox"))
        if key := self._names.get(stem):
            return Owner(key, None, True)
        last = last_number(stem)
        for folder in reversed(path.parts[:-1]):
            if key := self._names.get(recording_name(Path(folder))) or self._names.get(folder):
                return Owner(key, last, False)
        begins = [n for n in self._names if stem.startswith(n) and not stem[len(n)].isalnum()]
        if begins:
            longest = max(begins, key=len)
            return Owner(self._names[longest], last_number(stem[len(longest) :]), False)
        return None


def _shared_folders(name: PurePath, image: Path) -> int:
    """How many folders two files have in common, from the innermost on; those that say nothing do not count."""
    ours, theirs = ([part for part in reversed(path.parts[:-1]) if not is_generic(part)] for path in (name, image))
    shared = 0
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            break
        shared += 1
    return shared
