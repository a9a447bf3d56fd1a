"""Recordings and folders of images under another name: hard links, or copies where these cannot be."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..files import replacing, replacing_folder
from ..pictures.images import images_in
from .work import Source


def is_same(source: Source, target: Path) -> bool:
    """Whether what is at ``target`` is one file with it, or of the same bytes; of a folder, all of its images."""
    images = _images(source)
    if not images:
        return target.is_file() and _are_same(source.path, target)
    if not target.is_dir() or [each.name for each in images_in(target)] != [each.name for each in images]:
        return False
    return all(_are_same(each, target / each.name) for each in images)


def link(source: Source, target: Path) -> None:
    """The same file under another name, or a folder of such; a copy where that cannot be.

    A folder appears with all of its images at once.

    Raises:
        InputError: if it cannot be written.
    """
    images = _images(source)
    if not images:
        with replacing(target) as temporary:
            _link_file(source.path, temporary)
        return
    with replacing_folder(target) as temporary:
        for each in images:
            _link_file(each, temporary / each.name)


def _images(source: Source) -> Sequence[Path]:
    return source.sequence.images if source.sequence is not None else ()


def _are_same(source: Path, target: Path) -> bool:
    return source.samefile(target) or filecmp.cmp(source, target, shallow=False)


def _link_file(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
