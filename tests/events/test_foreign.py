import pickle
import sqlite3
import tarfile
from contextlib import nullcontext

import av
import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.events.files import open_recording
from seqdet.events.formats import FOREIGN
from seqdet.pictures.sequence import read_frames

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"
)


def write_database(path):
    with sqlite3.connect(path) as file:
        file.execute("create table topics (id integer)")
    file.close()


def write_tar(path):
    (path.parent / "inside.txt").write_text("0 1 2 1\n")
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "inside.txt", "inside.txt")


WRITERS = {
    "a.raw": (lambda path: path.write_bytes(POINTER), "is a pointer of Git LFS.*git lfs pull"),
    "a.h5": (lambda path: path.write_bytes(POINTER), "is a pointer of Git LFS"),
    "b.raw": (lambda path: path.write_bytes(b"/annex/objects/SHA256E-s3--a.raw\n"), "git annex get"),
    "page.npz": (lambda path: path.write_bytes(b"\n <!DOCTYPE html>\n<html><p>Sign in</p></html>"), "is a web page"),
    "page.txt": (lambda path: path.write_bytes(b"\xef\xbb\xbf<HTML><p>Sign in</p></html>"), "is a web page"),
    "a.bag": (lambda path: path.write_bytes(b"#ROSBAG V2.0\n" + bytes(100)), "is a bag of ROS 1.*rosbags"),
    "a.db3": (write_database, "is a database of SQLite, as a bag of ROS 2 is.*rosbags"),
    "a.mcap": (lambda path: path.write_bytes(b"\x89MCAP0\r\n" + bytes(100)), "is an MCAP file"),
    "a.mat": (lambda path: path.write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(200)), "loadmat"),
    "b.mat": (lambda path: path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(600)), "h5py for"),
    "a.es": (lambda path: path.write_bytes(b"Event Stream\x02\x00\x00\x01" + bytes(30)), "is an Event Stream"),
    "a.parquet": (lambda path: path.write_bytes(b"PAR1" + bytes(30) + b"PAR1"), "is a Parquet table"),
    "a.pkl": (lambda path: path.write_bytes(pickle.dumps({"t": [1]})), "is a pickle.*never opened"),
    "a.mp4": (lambda path: path.write_bytes(b"\x00\x00\x00\x20ftypisom" + bytes(40)), "is a video.*seqdet simulate"),
    "a.avi": (lambda path: path.write_bytes(b"RIFF\x00\x10\x00\x00AVI LIST" + bytes(40)), "is a video"),
    "a.png": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), "is a picture"),
    "a.pcap": (lambda path: path.write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(40)), "is a capture of network packets"),
    "a.7z": (lambda path: path.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(40)), "packed by 7-Zip. Unpack it"),
    "a.tar": (write_tar, "is a tar archive. Unpack it"),
    "a.dat": (lambda path: path.write_bytes(bytes(5000)), "begins with zeros alone"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_no_recording_is_called_by_its_name_with_the_way_out(tmp_path, name):
    write, told = WRITERS[name]
    write(tmp_path / name)
    with pytest.raises(InputError, match=told) as refusal:
        open_recording(tmp_path / name)
    assert str(refusal.value).startswith(f"{tmp_path / name} must be a recording, and ")
    assert "t x y p" not in str(refusal.value)


def test_bytes_that_are_no_text_are_not_quoted(tmp_path):
    for content in (b"\x80\x04\x95" + bytes(100), bytes(512) + b"\x89HDF\r\n", b"\xff\x00\n\x01"):
        (tmp_path / "a.bytes").write_bytes(content)
        with pytest.raises(InputError, match="got bytes that are no text first"):
            open_recording(tmp_path / "a.bytes")


def test_every_way_out_is_a_sentence():
    assert all(kind.way_out[0].isupper() and not kind.way_out.endswith(".") for kind in FOREIGN)


def test_a_bin_of_something_else_is_no_nmnist(tmp_path):
    (tmp_path / "a.bin").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError, match=r"must hold records as N-MNIST has them.*times do not rise"):
        open_recording(tmp_path / "a.bin")


@pytest.mark.parametrize(("share", "pictures"), [(0.0005, 0), (0.001, 0), (0.003, 0), (0.3, 5), (0.85, 40)])
def test_a_video_that_is_cut_short_says_so(tmp_path, caplog, share, pictures):
    """With its index in front it can be played up to where it ends."""
    path = tmp_path / "a.mp4"
    with av.open(path, "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(60):
            picture = np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert len(list(read_frames(path))) == 60
    assert not caplog.messages
    path.write_bytes(content[: max(int(len(content) * share), 8)])
    found = []
    with nullcontext() if share > 0.5 else pytest.raises(InputError, match=r"[Ww]as it cut short"):
        found.extend(read_frames(path))
    assert len(found) >= pictures
    told = f"{path}: left out {60 - len(found)} pictures that it claims and has not: was it cut short"
    assert [message.startswith(told) for message in caplog.messages] == ([True] if share > 0.5 else [])
