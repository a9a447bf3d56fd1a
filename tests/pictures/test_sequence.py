from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from seqdet.checks import InputError
from seqdet.events.array import Events
from seqdet.events.files import open_recording
from seqdet.events.sensor import Sensor
from seqdet.events.simulation import simulate
from seqdet.pictures.sequence import read_frames
from seqdet.pictures.simulated import write_simulated


def pictures(number: int, *, size_hw=(24, 32)) -> np.ndarray:
    """A bright square that goes to the right."""
    frames = np.full((number, *size_hw, 3), 30, np.uint8)
    for n in range(number):
        frames[n, 8:16, 2 * n : 2 * n + 8] = 220
    return frames


def write(path: Path, frames: np.ndarray, *, times_ms: list[int], title: str = "") -> Path:
    with av.open(path, "w") as container:
        container.metadata["title"] = title
        stream = container.add_stream("ffv1", rate=1000)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "bgr0"
        stream.codec_context.time_base = Fraction(1, 1000)
        for picture, time in zip(frames, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_images(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir()
    for n, picture in enumerate(frames):
        Image.fromarray(picture).save(folder / f"frame_{n}.png")
    return folder


def test_a_video_has_its_pictures_and_the_times_of_its_timestamps_from_the_first_on(tmp_path):
    frames, times = pictures(4), [70, 80, 113, 500]
    read = list(read_frames(write(tmp_path / "some.mkv", frames, times_ms=times)))
    assert [time for _, time in read] == [0, 10_000, 43_000, 430_000]
    assert (np.array([picture for picture, _ in read]) == frames).all()


def test_a_video_that_players_turn_is_turned(tmp_path):
    frames = pictures(3)
    with av.open(tmp_path / "a.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = (tmp_path / "a.mp4").read_bytes()
    matrix = content.index(b"tkhd") + 44  # ISO/IEC 14496-12: after the type of the box, 40 bytes of other fields
    turned = np.array([0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30], ">i4").tobytes()  # a quarter to the right
    (tmp_path / "a.mp4").write_bytes(content[:matrix] + turned + content[matrix + 36 :])
    found = [picture for picture, _ in read_frames(tmp_path / "a.mp4")]
    assert len(found) == 3
    for picture, frame in zip(found, frames, strict=True):
        assert picture.shape == (32, 24, 3)
        assert np.abs(picture.astype(int) - np.rot90(frame, -1)).mean() < 20


def test_fps_replaces_the_timestamps_of_a_video(tmp_path):
    path = write(tmp_path / "some.mkv", pictures(4), times_ms=[0, 40, 80, 120])
    assert [time for _, time in read_frames(path, fps=3000)] == [0, 333, 667, 1000]


def test_images_come_in_the_order_of_the_numbers_in_their_names(tmp_path):
    frames = pictures(12)
    folder = write_images(tmp_path / "images", frames)
    (folder / "notes.txt").write_text("no image")
    read = list(read_frames(folder, fps=1000))
    assert (np.array([picture for picture, _ in read]) == frames).all()
    assert [time for _, time in read] == list(range(0, 12_000, 1000))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_any_image_of_eight_bits_becomes_rgb(tmp_path, mode):
    Image.fromarray(pictures(1)[0]).convert(mode).save(tmp_path / "a.png")
    ((picture, _),) = read_frames(tmp_path, fps=1)
    assert picture.shape == (24, 32, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("name", ["events.raw", "events.dat", "events.npz"])
def test_a_video_becomes_a_recording_of_its_events(tmp_path, name):
    source, sensor = write(tmp_path / "some.mkv", pictures(6), times_ms=[0, 5, 10, 15, 20, 25]), Sensor()
    write_simulated(source, tmp_path / name, sensor=sensor, seed=4)
    expected = Events.concatenate(list(simulate(pictures(6), range(0, 26_000, 5000), sensor=sensor, seed=4)))
    with open_recording(tmp_path / name, strict=True) as recording:
        assert recording.size_hw == (24, 32)
        read = Events.concatenate(list(recording.chunks()))
    assert len(read) > 100
    assert all(np.array_equal(getattr(read, column), getattr(expected, column)) for column in "txyp")


def test_frames_of_a_video_and_of_images_give_the_same_events(tmp_path):
    video = write(tmp_path / "some.mkv", pictures(5), times_ms=[0, 10, 20, 30, 40])
    write_simulated(video, tmp_path / "video.raw")
    write_simulated(write_images(tmp_path / "images", pictures(5)), tmp_path / "images.raw", fps=100)
    assert (tmp_path / "video.raw").read_bytes() == (tmp_path / "images.raw").read_bytes()


def test_what_holds_no_frames_is_refused_in_one_sentence(tmp_path):
    empty, sound, noise, text = tmp_path / "empty", tmp_path / "sound.wav", tmp_path / "noise.mp4", tmp_path / "a.txt"
    empty.mkdir()
    noise.write_bytes(np.random.default_rng(0).bytes(10_000))
    text.write_text("nothing to see\n")
    with av.open(sound, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    for path, fps, message in (
        (tmp_path / "none.mp4", None, "there is no such file"),
        (empty, 30, "must hold images"),
        (write_images(tmp_path / "images", pictures(2)), None, "fps must be given"),
        (sound, None, "no pictures are found in it. Was it cut short"),
        (noise, None, "must be a video that FFmpeg reads"),
        (text, None, "must be a video|must hold frames|must say when"),
        (noise, 0, "fps must be above 0"),
    ):
        with pytest.raises(InputError, match=message):
            write_simulated(path, tmp_path / "out.raw", fps=fps)
    assert not (tmp_path / "out.raw").exists()


def test_images_that_are_damaged_or_deep_or_differ_in_size_are_refused(tmp_path):
    folder = write_images(tmp_path / "images", pictures(3))
    other = folder / "frame_1.png"
    Image.fromarray(pictures(1, size_hw=(24, 40))[0]).save(other)
    with pytest.raises(InputError, match="of one size"):
        write_simulated(folder, tmp_path / "out.raw", fps=30)
    Image.fromarray(np.zeros((24, 32), np.float32)).save(other.with_suffix(".tif"))
    other.unlink()
    with pytest.raises(InputError, match="whole numbers"):
        write_simulated(folder, tmp_path / "out.raw", fps=30)
    other.with_suffix(".tif").unlink()
    for content in (b"", b"no image", (folder / "frame_0.png").read_bytes()[:60]):
        other.write_bytes(content)
        with pytest.raises(InputError, match=r"frame_1\.png must be an image"):
            write_simulated(folder, tmp_path / "out.raw", fps=30)


def test_a_video_cut_anywhere_gives_its_first_frames_or_one_sentence(tmp_path):
    frames = pictures(6)
    whole = write(tmp_path / "some.mkv", frames, times_ms=[0, 10, 20, 30, 40, 50]).read_bytes()
    cut, counts = tmp_path / "cut.mkv", []
    for size in range(0, len(whole), len(whole) // 40):
        cut.write_bytes(whole[:size])
        number = 0
        with suppress(InputError):
            for _ in read_frames(cut):
                number += 1
        counts.append(number)
    assert counts[0] == 0
    assert max(counts) >= 4
    assert counts == sorted(counts)


def test_a_name_that_says_no_format_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="ending"):
        write_simulated(tmp_path / "none.mp4", tmp_path / "out.txt")


def test_an_image_that_would_start_another_program_is_refused(tmp_path):
    (tmp_path / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match="cannot identify image file"):
        list(read_frames(tmp_path, fps=10))


def test_a_title_in_an_old_encoding_does_not_matter(tmp_path):
    path = write(tmp_path / "a.mkv", pictures(3), times_ms=[0, 10, 20], title="caf\xe9")
    path.write_bytes(path.read_bytes().replace("caf\xe9".encode(), b"caf\xe9 "))
    assert [time for _, time in read_frames(path)] == [0, 10_000, 20_000]
