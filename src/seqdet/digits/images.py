"""Handwritten digits to make videos of: a packaged subset of MNIST, or the whole of it from its four original files."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..checks import InputError, check_choice
from ..data.dataset import SPLITS, Split

PACKAGED = Path(__file__).parent / "packaged" / "mnist_subset.npz"
FORMAT_VERSION = 1
_DAMAGE = (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile)


class Digits(NamedTuple):
    """Images (N, 28, 28) uint8, 0 for paper and 255 for ink, and labels (N,) uint8 from 0 to 9. Both are read-only."""

    images: np.ndarray
    labels: np.ndarray


@cache
def load_digits(split: Split, folder: Path | None = None) -> Digits:
    """The digits of one split; no digit is in two splits.

    Validation digits come from the original training set, so choosing a checkpoint with them tells nothing about the
    test digits.

    Args:
        split: of the packaged subset 9,000, 1,000 and 2,000 digits, equally many of each class; with ``folder`` the
            first 55,000 and the last 5,000 of the original training set, and the 10,000 of the original test set.
        folder: holds the four files of the original distribution, compressed or not; the packaged subset if None.

    Raises:
        InputError: if a file is missing or damaged.
    """
    check_choice(split, SPLITS, "split")
    original: Literal["train", "t10k"] = "t10k" if split == "test" else "train"
    digits = _read_packaged(original) if folder is None else read_originals(folder, original)
    held_back = len(digits.labels) - (1_000 if folder is None else 5_000)
    part = {"train": slice(held_back), "validation": slice(held_back, None), "test": slice(None)}[split]
    digits = Digits(*(array[part] for array in digits))
    for array in digits:
        array.flags.writeable = False
    return digits


def read_originals(folder: Path, original: Literal["train", "t10k"]) -> Digits:
    """The original training or test set, in its own order, from files such as ``train-images-idx3-ubyte.gz``.

    Raises:
        InputError: if a file is missing or damaged.
    """
    images = _read_idx(folder / f"{original}-images-idx3-ubyte", dimensions=3)
    labels = _read_idx(folder / f"{original}-labels-idx1-ubyte", dimensions=1)
    count = 60_000 if original == "train" else 10_000
    if images.shape != (count, 28, 28) or labels.shape != (count,) or labels.max() > 9:
        raise InputError(
            f"{folder} must hold MNIST's {count} digits of 28 x 28 pixels as {original}-*-ubyte, got others."
        )
    return Digits(images, labels)


def _read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """The uint8 array of an IDX file, ``path`` itself or ``path`` with ``.gz`` added.

    Source: the format note at http://yann.lecun.com/exdb/mnist.
    """
    compressed = path.with_name(f"{path.name}.gz")
    found = next((candidate for candidate in (compressed, path) if candidate.is_file()), None)
    if found is None:
        raise InputError(f"{compressed} must be one of the four original MNIST files; it does not exist.")
    try:
        content = gzip.decompress(found.read_bytes()) if found == compressed else found.read_bytes()
        shape = np.frombuffer(content, ">i4", dimensions, offset=4)
        if content[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError("wrong magic number")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except _DAMAGE as error:
        raise InputError(f"{found} must be an IDX file of bytes in {dimensions} dimensions; it is damaged.") from error


def _read_packaged(original: Literal["train", "t10k"]) -> Digits:
    try:
        with PACKAGED.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if arrays["format_version"] != FORMAT_VERSION:
                raise ValueError("another format version")
            return Digits(arrays[f"{original}_images"], arrays[f"{original}_labels"])
    except _DAMAGE as error:
        raise InputError(f"{PACKAGED} must hold the packaged digits; it is damaged, install seqdet again.") from error
