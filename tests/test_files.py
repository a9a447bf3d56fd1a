from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from seqdet import files
from seqdet.checks import InputError
from seqdet.files import ABANDONED_S, MACHINE, as_on_disk, is_free, replacing, replacing_folder, write_bytes, write_text


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    return path


def only(path) -> bool:
    return list(path.parent.iterdir()) == [path]


def test_what_is_written_takes_the_place_of_the_old_file_when_the_block_ends(path):
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == path.parent
    assert path.read_bytes() == b"new"
    assert only(path)


def test_text_is_written_in_utf8_and_bytes_as_they_are(path):
    write_text(path, "0 µs ≤ t")
    assert path.read_bytes() == "0 µs ≤ t".encode()
    write_bytes(path, memoryview(b"\x00\xff"))
    assert path.read_bytes() == b"\x00\xff"
    assert only(path)


def test_after_a_power_cut_there_is_the_old_file_or_the_new_one(path, monkeypatch):
    """What waits for the disk, and in which order."""
    path.write_text("old")
    order, sync, move = [], os.fsync, Path.replace

    def synced(descriptor):
        is_folder = os.path.samestat(os.fstat(descriptor), path.parent.stat())
        order.append(("sync", is_folder or os.pread(descriptor, 9, 0).decode()))
        sync(descriptor)

    def moved(self, target):
        order.append(("name", self.read_text()))
        return move(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert order == [("sync", "new"), ("name", "new"), ("sync", True)]


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), KeyboardInterrupt()], ids=repr)
def test_a_failure_in_the_block_passes_through_and_leaves_the_old_file_alone(path, failure):
    def half(place):
        place.write_bytes(b"half")
        raise failure

    with pytest.raises(type(failure)), replacing(path) as temporary:
        half(temporary)
    assert path.read_bytes() == b"old"
    assert only(path)


def test_an_error_about_another_file_passes_through(path):
    with pytest.raises(FileNotFoundError, match="missing"), replacing(path) as temporary:
        temporary.write_bytes((path.parent / "missing").read_bytes())
    assert path.read_bytes() == b"old"
    assert only(path)


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file_alone(path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"^\S+weights\.bin cannot be written: No space left on device\.$"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert only(path)


def test_a_file_that_may_not_grow_further_is_one_sentence_and_leaves_the_old_one_alone(path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be written: File too large\."):
            write_bytes(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert only(path)


def test_a_place_that_cannot_be_written_is_one_sentence(path):
    folder = path.parent
    for place, words in (
        (folder / "missing" / "x", r"missing/x cannot be written: No such file or directory\."),
        (path / "x", r"weights\.bin/x cannot be written: Not a directory\."),
        (folder, r"cannot be written: Is a directory\."),
    ):
        with pytest.raises(InputError, match=words):
            write_bytes(place, b"new")
    assert only(path)


def test_the_present_folder_is_no_file(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    with pytest.raises(InputError, match=r"^\. cannot be written: "):
        write_text(path.relative_to(path.parent).parent, "new")
    assert only(path)


def test_a_link_is_replaced_and_what_it_points_to_stays(path):
    """A folder of others may have links to any file of the user."""
    link = path.with_name("metrics.json")
    link.symlink_to(path)
    write_bytes(link, b"new")
    assert (path.read_bytes(), link.read_bytes(), link.is_symlink()) == (b"old", b"new", False)


def test_a_link_under_the_temporary_name_is_not_followed(path):
    (path.parent / f".{MACHINE}-{os.getpid()}.new").symlink_to(path)
    write_bytes(path.with_name("new"), b"new")
    assert path.read_bytes() == b"old"
    assert not path.with_name("new").is_symlink()


def test_a_device_and_a_pipe_are_no_place_for_a_file(path):
    os.mkfifo(path.with_name("pipe"))
    for place in (Path("/dev/null"), path.with_name("pipe")):
        with pytest.raises(InputError, match="must be a file, and is a device or a pipe"):
            write_bytes(place, b"new")
        assert place.exists()
        assert not place.is_file()


def test_a_link_to_a_folder_is_no_place_for_a_file_either(path):
    (path.parent / "folder").mkdir()
    link = path.with_name("link")
    link.symlink_to(path.parent / "folder")
    with pytest.raises(InputError, match="Is a directory"):
        write_bytes(link, b"new")
    assert link.is_symlink()


def test_what_killed_processes_were_writing_goes_with_the_next_file(path):
    folder = path.parent
    writer = f"import os; print(os.getpid()); open(f'{folder}/.{MACHINE}-{{os.getpid()}}.weights.bin', 'w').close()"
    subprocess.run([sys.executable, "-c", writer], check=True, stdout=subprocess.PIPE)
    old = folder / ".00000000-1.of_another_machine"
    old.touch()
    os.utime(old, (0, old.stat().st_mtime - ABANDONED_S - 9))
    kept = [f".{MACHINE}-{os.getppid()}.being_written", ".00000000-1.on_another_machine", ".hidden"]
    for name in kept:
        (folder / name).touch()
    assert len(list(folder.iterdir())) == 3 + len(kept)
    files._swept.clear()
    write_bytes(path, b"new")
    assert {each.name for each in folder.iterdir()} == {path.name, *kept}


def test_a_folder_appears_whole_or_not_at_all_and_what_a_killed_process_left_of_one_goes(tmp_path):
    with (
        pytest.raises(InputError, match=r"images cannot be written: No such file .*none\.png"),
        replacing_folder(tmp_path / "images"),
    ):
        (tmp_path / "none.png").read_bytes()
    assert list(tmp_path.iterdir()) == []
    left = tmp_path / ".00000000-1.images"
    left.mkdir()
    (left / "1.png").touch()
    os.utime(left, (0, left.stat().st_mtime - ABANDONED_S - 9))
    files._swept.clear()
    with replacing_folder(tmp_path / "images") as temporary:
        (temporary / "1.png").touch()
    assert [each.relative_to(tmp_path).as_posix() for each in tmp_path.rglob("*")] == ["images", "images/1.png"]
    with (
        pytest.raises(InputError, match="images cannot be written"),
        replacing_folder(tmp_path / "images") as temporary,
    ):
        (temporary / "2.png").touch()
    assert [each.name for each in (tmp_path / "images").iterdir()] == ["1.png"]


def test_a_folder_is_free_if_there_is_nothing_but_what_was_never_finished(path):
    folder = path.parent
    assert not is_free(folder)
    assert not is_free(path)
    assert is_free(folder / "missing")
    path.rename(folder / f".{MACHINE}-1.config.yaml")
    assert is_free(folder)


@pytest.mark.parametrize(("there", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_name_that_is_composed_another_way_is_found(tmp_path, monkeypatch, there, asked):
    spelt = [unicodedata.normalize(form, "straße_größe_é") for form in (there, asked)]
    (tmp_path / spelt[0]).mkdir()
    (tmp_path / spelt[0] / f"{spelt[0]}.raw").touch()
    wanted = tmp_path / spelt[1] / f"{spelt[1]}.raw"
    assert as_on_disk(wanted).samefile(tmp_path / spelt[0] / f"{spelt[0]}.raw")
    assert as_on_disk(wanted.parent / "plain").parent.is_dir()
    monkeypatch.chdir(tmp_path)
    assert as_on_disk(Path(spelt[1]) / f"{spelt[1]}.raw").is_file()
    for path in (tmp_path / "none" / spelt[1], tmp_path / "gone", Path(), Path("..")):
        assert as_on_disk(path) == path
