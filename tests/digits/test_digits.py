from __future__ import annotations

import gzip
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.digits import videos
from seqdet.digits.videos import PACKAGED, SPLITS, load_digits, read_originals

REPOSITORY = Path(__file__).parents[2]
ORIGINALS = REPOSITORY.parent / "shared" / "data" / "mnist"
needs_originals = pytest.mark.skipif(not ORIGINALS.is_dir(), reason=f"the original MNIST files are not at {ORIGINALS}")


def write_idx(path: Path, array: np.ndarray) -> None:
    content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()
    path.write_bytes(gzip.compress(content, compresslevel=1) if path.suffix == ".gz" else content)


@pytest.fixture(scope="module")
def full_folder(tmp_path_factory):
    """Four files like the original ones: every digit holds its own number, modulo 251, in its first pixel."""
    folder = tmp_path_factory.mktemp("mnist")
    for original, count, suffix in (("train", 60_000, ""), ("t10k", 10_000, ".gz")):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, 0] = np.arange(count) % 251
        write_idx(folder / f"{original}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{original}-labels-idx1-ubyte{suffix}", (np.arange(count) % 10).astype(np.uint8))
    return folder


@pytest.mark.parametrize(("split", "per_class"), [("train", 900), ("validation", 100), ("test", 200)])
def test_every_class_has_equally_many_packaged_digits(split, per_class):
    images, labels = load_digits(split)
    assert images.shape == (10 * per_class, 28, 28)
    assert images.dtype == labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [per_class] * 10
    assert images.max(axis=(1, 2)).min() > 200


def test_no_digit_is_in_two_splits():
    seen = [{image.tobytes() for image in load_digits(split).images} for split in SPLITS]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 12_000


def test_the_packaged_file_is_small_and_has_its_licence_note_beside_it():
    assert PACKAGED.stat().st_size <= 3e6
    note = (PACKAGED.parent / "README.md").read_text()
    assert "LeCun" in note
    assert "ShareAlike 3.0" in note


def test_loaded_digits_cannot_be_changed_for_the_next_caller():
    with pytest.raises(ValueError, match="read-only"):
        load_digits("test").images[0] = 0


@needs_originals
@pytest.mark.parametrize(("split", "original"), [("train", "train"), ("validation", "train"), ("test", "t10k")])
def test_packaged_digits_are_originals_of_their_own_set_with_their_own_labels(split, original):
    known = {image.tobytes(): label for image, label in zip(*read_originals(ORIGINALS, original), strict=True)}
    assert all(known[image.tobytes()] == label for image, label in zip(*load_digits(split), strict=True))


@needs_originals
def test_the_packing_script_writes_the_packaged_arrays_again(tmp_path, monkeypatch, capsys):
    written = tmp_path / "again.npz"
    monkeypatch.setattr(sys, "argv", ["pack_digits.py", str(ORIGINALS), "--out", str(written)])
    runpy.run_path(str(REPOSITORY / "scripts" / "pack_digits.py"))["main"]()
    assert [path.name for path in tmp_path.iterdir()] == ["again.npz"]
    with np.load(written) as again, np.load(PACKAGED) as packaged:
        assert set(again) == set(packaged)
        for name in packaged:
            np.testing.assert_array_equal(again[name], packaged[name])


def test_a_folder_gives_its_first_55000_digits_its_last_5000_and_its_test_set(full_folder):
    for split, numbers in (("train", (0, 55_000)), ("validation", (55_000, 60_000)), ("test", (0, 10_000))):
        images, labels = load_digits(split, full_folder)
        np.testing.assert_array_equal(images[:, 0, 0], np.arange(*numbers) % 251)
        np.testing.assert_array_equal(labels, np.arange(*numbers) % 10)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz must be one of the four .* does not exist"):
        load_digits("train", tmp_path)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_another_magic_number(content: bytes) -> bytes:
    return gzip.compress(bytes([0, 0, 13, 3]) + gzip.decompress(content)[4:], compresslevel=1)


def not_compressed(content: bytes) -> bytes:
    return gzip.decompress(content)


def cut_inside(content: bytes) -> bytes:
    return gzip.compress(gzip.decompress(content)[:-1], compresslevel=1)


def without_content(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut, with_another_magic_number, not_compressed, cut_inside, without_content])
def test_a_damaged_file_is_named(full_folder, tmp_path, damage):
    for path in full_folder.glob("t10k*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    victim = tmp_path / "t10k-images-idx3-ubyte.gz"
    victim.write_bytes(damage(victim.read_bytes()))
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz must be an IDX file .* damaged"):
        load_digits("test", tmp_path)


def test_digits_without_a_label_each_are_refused(full_folder, tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes((full_folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.zeros(9_999, np.uint8))
    with pytest.raises(InputError, match="must hold MNIST's 10000 digits of 28 x 28 pixels as t10k"):
        load_digits("test", tmp_path)


@pytest.mark.parametrize("damage", [cut, without_content, lambda content: None])
def test_a_damaged_packaged_file_is_named(tmp_path, monkeypatch, damage):
    broken = tmp_path / "mnist_subset.npz"
    if (content := damage(PACKAGED.read_bytes())) is not None:
        broken.write_bytes(content)
    monkeypatch.setattr(videos, "PACKAGED", broken)
    with pytest.raises(InputError, match=r"mnist_subset\.npz must hold the packaged digits; .* install seqdet again"):
        load_digits.__wrapped__("train")


def test_an_unknown_split_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="split must be one of test, train, validation; got 'val'"):
        load_digits("val")
