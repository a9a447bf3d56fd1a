import gzip
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.data.dataset import find_recordings
from seqdet.data.labels import labels_beside, recording_name
from seqdet.events import files, words
from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording
from seqdet.events.formats import ENCODINGS

SIZE_HW = (48, 64)


def make_events(count=300):
    random = np.random.default_rng(3)
    return columns(
        t=np.cumsum(random.integers(0, 50, count)),
        x=random.integers(0, 64, count),
        y=random.integers(0, 48, count),
        p=random.integers(0, 2, count),
    )


def matrix(events):
    return np.stack([getattr(events, name).astype(np.int64) for name in "txyp"], axis=1)


def write(path):
    """Events as the ending of the name says."""
    events, kind = make_events(), {"raw": "evt3", "dat": "dat", "hdf5": "hdf5", "npz": "npz"}.get(path.suffix[1:])
    if kind:
        ENCODINGS[kind].write(path, [events], size_hw=SIZE_HW)
    elif path.suffix == ".npy":
        np.save(path, matrix(events))
    else:
        np.savetxt(path, matrix(events), fmt="%d", delimiter="," if path.suffix == ".csv" else " ")
    return path


def pack(path, how, name=None, **others):
    target = path.with_name(f"{path.name}.{how}")
    if how == "gz":
        target.write_bytes(gzip.compress(path.read_bytes()))
    else:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, name or path.name)
            for other, content in others.items():
                archive.writestr(other, content)
    path.unlink()
    return target


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("name", ["a.raw", "a.dat", "a.hdf5", "a.npz", "a.npy", "a.csv", "a.txt"])
@pytest.mark.parametrize("how", ["gz", "zip"])
def test_a_packed_recording_is_read_as_if_it_were_not(tmp_path, temporary, name, how):
    path = pack(write(tmp_path / name), how)
    with open_recording(path, size_hw=SIZE_HW, strict=True) as recording:
        found = Events.concatenate(list(recording.chunks()))
        assert recording.path == path
        assert (recording.size_hw, recording.span_us()) == (SIZE_HW, (found.t[0], found.t[-1]))
        assert len(recording.read(0, 1000)) == (found.t < 1000).sum()
    np.testing.assert_array_equal(matrix(found), matrix(make_events()))
    assert list(temporary.iterdir()) == []


def test_a_zip_may_have_notes_and_what_macos_adds_beside_its_recording(tmp_path):
    others = {"__MACOSX/._a.raw": b"x", ".DS_Store": b"x", "notes.md": b"sunny"}
    path = pack(write(tmp_path / "a.raw"), "zip", "folder/../a.raw", **others)
    with open_recording(path) as recording:
        assert sum(map(len, recording.chunks())) == 300


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"b.raw": b"x"}, r"must have one recording in it .*, and has a\.raw, b\.raw\. Unpack it"),
        ({"b.npz": b"x", "README.txt": b"x"}, r"has a\.raw, b\.npz, README\.txt"),
    ],
)
def test_a_zip_of_several_recordings_is_refused_with_their_names(tmp_path, temporary, others, told):
    with pytest.raises(InputError, match=told):
        open_recording(pack(write(tmp_path / "a.raw"), "zip", **others))
    assert list(temporary.iterdir()) == []


def test_a_zip_may_have_a_file_without_a_name_and_none_of_its_damage_is_a_traceback(tmp_path):
    path = pack(write(tmp_path / "a.raw"), "zip", **{"no.md": b"x"})
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"no.md", bytes(5)))
    with open_recording(path) as recording:
        assert sum(map(len, recording.chunks())) == 300
    at = sound.index(b"a.raw")
    misnamed = sound[: at - 23] + b"\x08" + sound[at - 22 : at] + b"\x9a" + sound[at + 1 :]
    for content in (
        misnamed,
        *(sound.replace(b"\x00\x00\x08\x00", bytes([0, 0, method, 0])) for method in (9, 14, 99)),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.raw\.zip must be a whole file of its packing"):
            open_recording(path)


@pytest.mark.parametrize("name", ["a.raw", "events.txt"])
def test_texts_that_are_no_events_may_lie_beside_the_recording_in_a_zip(tmp_path, temporary, name):
    others = {"README.txt": b"sunny\n", "images.txt": b"1 a.png\n", "z/times.csv": b"t\n1\n2\n"}
    with open_recording(pack(write(tmp_path / name), "zip", **others), size_hw=SIZE_HW) as recording:
        assert sum(map(len, recording.chunks())) == 300
    with pytest.raises(InputError, match=r"has .*, events2\.txt"):
        open_recording(pack(write(tmp_path / "a.txt"), "zip", **{"events2.txt": (tmp_path / "a.txt").read_bytes()}))
    assert list(temporary.iterdir()) == []


def test_zips_without_a_recording_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("model/data.pkl", b"")
    with pytest.raises(InputError, match="it is a file of PyTorch, which may run any code"):
        open_recording(tmp_path / "a.pt")
    for name in ([], ["folder/"]):
        with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
            for each in name:
                archive.writestr(each, b"")
        with pytest.raises(InputError, match=r"must have one recording in it .* and has nothing"):
            open_recording(tmp_path / "empty.zip")


@pytest.mark.parametrize("how", ["gz", "zip"])
def test_what_unpacks_without_end_is_stopped(tmp_path, temporary, monkeypatch, how):
    monkeypatch.setattr(files, "ALWAYS_BYTES", 1 << 20)
    (tmp_path / "a.raw").write_bytes(bytes(20 << 20))
    path = pack(tmp_path / "a.raw", how)
    with pytest.raises(InputError, match="must unpack to at most 200 times its size"):
        open_recording(path)
    assert list(temporary.iterdir()) == []


def test_a_full_disk_is_said_before_it_is_full(tmp_path, temporary, monkeypatch):
    path = pack(write(tmp_path / "a.raw"), "gz")
    monkeypatch.setattr(files, "SPARE_BYTES", 1 << 60)
    with pytest.raises(InputError, match=r"must have room to unpack .*a\.raw\.gz, and is full"):
        open_recording(path)
    assert list(temporary.iterdir()) == []


def test_messages_name_the_packed_file(tmp_path, temporary):
    (tmp_path / "a.txt").write_text("5 1 2 1\n5 1\n" + "6 1 2 1\n" * 30)
    path = pack(tmp_path / "a.txt", "gz")
    with open_recording(path, strict=True) as recording, pytest.raises(InputError, match="read strictly") as refusal:
        list(recording.chunks())
    assert str(refusal.value).startswith(f"{path} must be without fault")
    (tmp_path / "b.txt").write_text("nothing\n")
    path = pack(tmp_path / "b.txt", "gz")
    with pytest.raises(InputError, match="must hold lines of numbers") as refusal:
        open_recording(path)
    assert str(refusal.value).startswith(f"{path} must")
    assert list(temporary.iterdir()) == []


def test_a_recording_that_vanishes_leaves_no_index(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQDET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(words, "SAVED_BYTES", 1)
    path = pack(write(tmp_path / "a.raw"), "gz")
    with open_recording(path) as recording:
        assert recording.span_us() is not None
    assert not (tmp_path / "cache").exists()
    with gzip.open(path) as file:
        (tmp_path / "b.raw").write_bytes(file.read())
    with open_recording(tmp_path / "b.raw") as recording:
        assert recording.span_us() is not None
    assert words.index_file(tmp_path / "b.raw").is_file()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(how=st.sampled_from(["gz", "zip"]), data=st.data())
def test_changed_bytes_give_events_or_one_sentence(tmp_path, temporary, how, data):
    path = pack(write(tmp_path / "a.txt"), how)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with suppress(InputError), open_recording(path) as recording:
        list(recording.chunks())
    assert list(temporary.iterdir()) == []


def test_folders_have_packed_recordings_and_labels_beside_them(tmp_path):
    for name in ("a.raw.gz", "b.csv.zip", "c.gz", "labels.zip", "d.npz"):
        (tmp_path / name).touch()
    (tmp_path / "a_bbox.npy").touch()
    found = find_recordings([tmp_path])
    assert [(each.path.name, each.place) for each in found] == [
        ("a.raw.gz", Path("a")),
        ("b.csv.zip", Path("b")),
        ("d.npz", Path("d")),
    ]
    assert labels_beside(found[0].path) == tmp_path / "a_bbox.npy"
    assert [recording_name(Path(name)) for name in ("a_td.dat.h5", "x.zip", "x.1.raw")] == ["a_td", "x", "x.1"]
