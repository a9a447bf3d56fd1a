"""Picture n of a video is picture n, however it is reached."""

from __future__ import annotations

import av
import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.pictures.sequence import look_through_pictures, read_frames
from seqdet.pictures.video import Video, video_index

from .films import number_of, numbered, write_film

COUNT = 70
FILMS = {
    "h264": ("a.mp4", "libx264", {"g": "12", "bf": "3"}),
    "open groups": ("a.mkv", "libx264", {"g": "10", "bf": "3", "x264-params": "open-gop=1:b-pyramid=normal"}),
    "one key": ("a.mp4", "libx264", {"g": "500", "keyint_min": "500", "sc_threshold": "0"}),
    "mpeg4": ("a.avi", "mpeg4", {"g": "9"}),
    "mpeg4 both ways": ("a.mp4", "mpeg4", {"g": "9", "bf": "2"}),
    "mpeg2": ("a.mpg", "mpeg2video", {"g": "12", "bf": "2"}),
    "jpegs": ("a.avi", "mjpeg", {}),
    "vp9": ("a.webm", "libvpx-vp9", {"g": "20", "deadline": "realtime"}),
}


@pytest.fixture(params=FILMS.values(), ids=FILMS)
def film(request, tmp_path):
    name, codec, options = request.param
    try:
        return write_film(tmp_path / name, COUNT, codec=codec, options=options)
    except av.error.FFmpegError:
        pytest.skip(f"this FFmpeg does not write {codec}")


def test_any_picture_is_the_one_that_playing_from_the_start_shows(film):
    shown = [number_of(picture) for picture, _ in read_frames(film)]
    assert shown == list(range(COUNT))
    random = np.random.default_rng(0)
    video = Video(film)
    assert len(video) == COUNT
    for first in [0, COUNT - 1, 11, 12, 13, *random.integers(0, COUNT, 12).tolist()]:
        stop = min(first + int(random.integers(1, 9)), COUNT)
        assert [number_of(picture) for picture in video.read(first, stop)] == list(range(first, stop))
    assert not video.account.dropped
    video.close()


def test_times_are_those_of_the_pictures_also_where_they_are_not_even(tmp_path):
    times_ms = np.cumsum([40, 10, 7, 100, 3, 33] * 5)
    film = write_film(tmp_path / "a.mkv", 30, codec="ffv1", times_ms=times_ms.tolist())
    assert video_index(film).times_us.tolist() == ((times_ms - times_ms[0]) * 1000).tolist()
    assert [time for _, time in read_frames(film)] == ((times_ms - times_ms[0]) * 1000).tolist()


def test_pictures_that_cannot_be_decoded_are_the_one_before_and_the_others_keep_their_numbers(tmp_path):
    film = write_film(tmp_path / "a.avi", COUNT, codec="mjpeg")
    with av.open(str(film)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    content = film.read_bytes()
    for n in (30, 31):
        assert content.count(packets[n]) == 1
        content = content.replace(packets[n], bytes(len(packets[n])))
    film.write_bytes(content)
    account, _ = look_through_pictures(film)
    assert (account.events, sum(account.dropped.values())) == (COUNT - 2, 2)
    shown = [number_of(picture) for picture, _ in read_frames(film)]
    assert shown == [*range(30), 29, 29, *range(32, COUNT)]
    video = Video(film)
    for first in (40, 31, 30, 29, 32):
        assert [number_of(picture) for picture in video.read(first, first + 5)] == shown[first : first + 5]
    video.close()


def test_a_first_picture_that_cannot_be_decoded_is_the_one_after(tmp_path, monkeypatch):
    film = write_film(tmp_path / "a.mp4", 9)
    decoded = Video._picture
    monkeypatch.setattr(Video, "_picture", lambda video, n: decoded(video, n) if n not in (0, 1, 5) else None)
    video = Video(film)
    assert [number_of(picture) for picture in video.read(0, 9)] == [2, 2, 2, 3, 4, 4, 6, 7, 8]
    assert [number_of(picture) for picture in video.read(5, 7)] == [4, 6]
    assert [number_of(picture) for picture in video.read(8, 9)] == [8]
    with pytest.raises(InputError, match="must have pictures 0 to 2, and none can be decoded"):
        list(video.read(0, 2))
    video.close()


def test_a_video_whose_pictures_change_their_size_says_which(tmp_path):
    large = write_film(tmp_path / "large.ts", 10, codec="mpeg2video", size_hw=(32, 96))
    small = write_film(tmp_path / "small.ts", 10, codec="mpeg2video", size_hw=(64, 96))
    film = tmp_path / "a.mpg"
    with av.open(str(film), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 96, "yuv420p"
        offset = 0
        for part in (large, small):
            with av.open(str(part)) as source:
                packets = [packet for packet in source.demux(video=0) if packet.size]
                for packet in packets:
                    packet.stream = stream
                    packet.pts += offset
                    packet.dts += offset
                    container.mux(packet)
                offset += 40 * 90 * len(packets)
    with pytest.raises(InputError, match=r"must have pictures of one size, 96x32, and has one of 96x64, number 10"):
        look_through_pictures(film)


def test_a_number_beyond_the_end_is_refused(tmp_path):
    video = Video(write_film(tmp_path / "a.mp4", 5))
    with pytest.raises(InputError, match="pictures must be within 0 to 5"):
        list(video.read(3, 6))


def test_numbers_are_read_back():
    assert [number_of(numbered(n)) for n in range(256)] == list(range(256))
