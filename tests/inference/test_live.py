"""Pictures as they come: of servers on this machine, of pipes, and of a camera that FFmpeg makes up."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from seqdet.checks import InputError, Stopped
from seqdet.inference import live
from seqdet.inference.inputs import PredictConfig
from seqdet.inference.live import LivePictures, LiveSource, as_source, camera_device
from seqdet.inference.prediction import predict_recordings

from .fakes import HullRunner

COUNT = 150
"""Pictures of the streams, longer than FFmpeg looks before it begins."""
STDIN = Path("-")
CONFIG = PredictConfig()
Sending = Callable[[io.BufferedIOBase], None]


def moving_square(count: int = COUNT) -> np.ndarray:
    images = np.zeros((count, 48, 64, 3), np.uint8)
    for n, image in enumerate(images):
        image[8:24, n % 48 : n % 48 + 16] = 255
    return images


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> bytes:
    """MPEG-TS of 25 pictures a second, which does not say how long it is."""
    return encoded(tmp_path_factory.mktemp("live") / "stream.ts")


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> bytes:
    """MP4, which says it in its beginning."""
    return encoded(tmp_path_factory.mktemp("live") / "film.mp4", movflags="+faststart")


def encoded(path: Path, **options: str) -> bytes:
    with av.open(path, "w", options=options) as container:
        video = container.add_stream("libx264", rate=25, options={"tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for image in moving_square():
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode())
    return path.read_bytes()


@contextmanager
def served(send: Sending, kind: str = "video/mp2t", length: int | None = None) -> Iterator[LiveSource]:
    """An address at which something is sent to whoever asks for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            name, value = ("Connection", "close") if length is None else ("Content-Length", str(length))
            self.send_header(name, value)
            self.end_headers()
            try:
                send(self.wfile)
            except OSError:  # the reader has gone
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield LiveSource(f"http://127.0.0.1:{server.server_port}/live")
        server.shutdown()
        thread.join()


class Watching(HullRunner):
    """Finds the square, and calls something at its first picture."""

    def __init__(self, at_first: Callable[[], object] = lambda: None) -> None:
        super().__init__(None, 3)
        self.at_first = at_first

    def __call__(self, frames, state=None):
        if state is None:
            self.at_first()
        return super().__call__((frames > 127).astype(np.uint8), state)


def looked_at(text: str) -> tuple[int, int]:
    """How many pictures were looked at, and passed over, as the log says it."""
    (found,) = re.findall(r": (\d+) pictures(?:, (\d+) passed over as newer ones were there)?, \d+ detections", text)
    return int(found[0]), int(found[1] or 0)


def boxes_in(out: Path) -> np.ndarray:
    (path,) = (out / "detections").glob("*.npy")
    return np.load(path)


def test_the_newest_picture_is_taken_and_the_others_are_counted(stream):
    is_first_seen = threading.Event()

    def send(file: io.BufferedIOBase) -> None:
        file.write(stream[: len(stream) // 2])
        is_first_seen.wait(5)
        file.write(stream[len(stream) // 2 :])

    with served(send) as source:
        pictures = LivePictures(source, lambda: False)
        frames = pictures.frames()
        first, _ = next(frames)
        is_first_seen.set()
        pictures._thread.join()  # a slow detector: all has come meanwhile
        last, last_us = next(frames)
        with pytest.raises(InputError, match=r"must go on sending pictures, and went away after 5\.96 s: it broke off"):
            next(frames)
    assert first.shape == last.shape == (48, 64, 3)
    assert last_us == 149 * 40_000
    assert pictures.passed_over == COUNT - 2
    assert np.abs(last.astype(int) - moving_square()[-1]).mean() < 2


def test_a_server_that_ends_leaves_whole_results_and_says_so(stream, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with served(lambda file: file.write(stream)) as source:
        words = f"{source} must go on sending pictures, and went away after 5.96 s: it broke off. What came before was"
        with pytest.raises(InputError, match=re.escape(words)):
            predict_recordings(Watching(), source, tmp_path, replace(CONFIG, track=True, video=True))
    seen, passed_over = looked_at(caplog.text)
    assert seen + passed_over == COUNT
    boxes = boxes_in(tmp_path)
    assert len(boxes) == seen
    place = f"127.0.0.1_{source.word.rpartition(':')[2].replace('/', '_')}"
    with av.open(tmp_path / "videos" / f"{place}.mp4") as video:
        assert len(list(video.decode(video=0))) > 0
    for t, x in zip(boxes["t"].tolist(), boxes["x"].tolist(), strict=True):
        assert x == pytest.approx(t // 40_000 % 48, abs=1.1)


def test_a_connection_that_breaks_in_the_middle_is_said(stream, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    half = stream[: len(stream) // 2]
    words = r"must go on sending pictures, and went away after \d\.\d\d s: it broke off"
    with served(lambda file: file.write(half), length=len(stream)) as source, pytest.raises(InputError, match=words):
        predict_recordings(Watching(), source, tmp_path, CONFIG)
    assert 0 < looked_at(caplog.text)[0] == len(boxes_in(tmp_path))


def test_a_server_that_stops_sending_ends_the_work(stream, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    released = threading.Event()

    def send(file: io.BufferedIOBase) -> None:
        file.write(stream)
        released.wait()

    monkeypatch.setattr(live, "CLOSING_S", 0.01)
    runner = Watching(lambda: monkeypatch.setattr(live, "SILENCE_S", 0.05))  # from then on no patience
    with served(send) as source:
        with pytest.raises(InputError, match=r"and went away after \d\.\d\d s: nothing came for 0\.05 s\. What came"):
            predict_recordings(runner, source, tmp_path, CONFIG)
        released.set()
    assert len(boxes_in(tmp_path)) == looked_at(caplog.text)[0]


def test_a_server_that_sends_nothing_ends_the_work(tmp_path, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(live, "SILENCE_S", 0.05)
    with served(lambda file: released.wait() and None) as source:
        with pytest.raises(InputError, match=r"must be a source of pictures, and none came: nothing came for 0\.05 s"):
            predict_recordings(Watching(), source, tmp_path, CONFIG)
        released.set()


def test_pictures_of_a_format_without_times_have_those_of_the_clock(tmp_path, monkeypatch):
    """JPEG files one after the other, as cameras in a network send them."""

    def send(file: io.BufferedIOBase) -> None:
        for image in moving_square(40):
            jpeg = io.BytesIO()
            Image.fromarray(image).save(jpeg, "JPEG")
            file.write(b"--next\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg.getvalue() + b"\r\n")

    now_us = iter(range(10**12, 10**12 + 10**9, 7_000))
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: 0.0, monotonic_ns=lambda: next(now_us) * 1000))
    kind = "multipart/x-mixed-replace; boundary=next"
    with served(send, kind) as source, pytest.raises(InputError, match="went away"):
        predict_recordings(Watching(), source, tmp_path, CONFIG)
    times_us = boxes_in(tmp_path)["t"]
    assert len(times_us) > 0
    assert (times_us % 7_000 == 0).all()
    assert times_us.max() <= 39 * 7_000


def test_a_film_on_a_server_is_a_file(film, tmp_path, caplog):
    """Its length is known, and every picture is looked at."""
    caplog.set_level(logging.INFO)
    words = r"went away after 5\.96 s: it ended"
    at = served(lambda file: file.write(film), "video/mp4", len(film))
    with at as source, pytest.raises(InputError, match=words):
        predict_recordings(Watching(), source, tmp_path, CONFIG)
    assert looked_at(caplog.text) == (COUNT, 0)
    assert boxes_in(tmp_path)["t"].tolist() == [n * 40_000 for n in range(COUNT)]


@contextmanager
def piped(content: bytes, monkeypatch, tmp_path) -> Iterator[None]:
    """Another process that writes into the standard input."""
    (tmp_path / "content").write_bytes(content)
    code = "import pathlib, sys; sys.stdout.buffer.write(pathlib.Path(sys.argv[1]).read_bytes())"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "content"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=process.stdout, isatty=lambda: False))
        yield


def test_a_video_comes_by_a_pipe(stream, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    with piped(stream, monkeypatch, tmp_path):
        predict_recordings(Watching(), STDIN, tmp_path / "out", CONFIG)
    seen, passed_over = looked_at(caplog.text)
    assert seen + passed_over == COUNT
    assert boxes_in(tmp_path / "out")["t"].max() == 149 * 40_000
    assert (tmp_path / "out" / "detections" / "stdin_bbox.npy").is_file()


def test_a_file_by_a_pipe_or_as_the_standard_input_is_no_live_source(stream, film, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    with piped(film, monkeypatch, tmp_path):
        predict_recordings(Watching(), STDIN, tmp_path / "out", CONFIG)
    assert looked_at(caplog.text) == (COUNT, 0)
    caplog.clear()
    (tmp_path / "a.ts").write_bytes(stream)
    with (tmp_path / "a.ts").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file, isatty=lambda: False))
        predict_recordings(Watching(), STDIN, tmp_path / "again", CONFIG)
    assert looked_at(caplog.text) == (COUNT, 0)
    assert boxes_in(tmp_path / "again").tolist() == boxes_in(tmp_path / "out").tolist()


@pytest.mark.parametrize("content", [b"", b"no video " * 9999])
def test_a_pipe_of_something_else_is_one_sentence(content, tmp_path, monkeypatch):
    with (
        piped(content, monkeypatch, tmp_path),
        pytest.raises(InputError, match="stdin must be a source of pictures, and"),
    ):
        predict_recordings(Watching(), STDIN, tmp_path / "out", CONFIG)


def test_ctrl_c_ends_a_camera_with_whole_files(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "camera_device", lambda *_: ("testsrc=size=64x48:rate=25", "lavfi", {}))
    runner = Watching(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped, match=r"Stopped at \d+\.\d\d s of camera_0\. What was found until then is in"):
        predict_recordings(runner, LiveSource("camera:0"), tmp_path, CONFIG)
    assert len(boxes_in(tmp_path)) == 1


def test_a_camera_that_has_nothing_yet_is_asked_again(film, tmp_path, monkeypatch, caplog):
    """As avfoundation of macOS does."""
    caplog.set_level(logging.INFO)
    (tmp_path / "film.mp4").write_bytes(film)
    monkeypatch.setattr(live, "camera_device", lambda *_: (str(tmp_path / "film.mp4"), None, {}))
    opened = av.open

    class Hesitant:
        """A container that has nothing at first, and after ten pictures."""

        def __init__(self, *args, **options) -> None:
            self._container = opened(*args, **options)
            self._packets = None

        def __getattr__(self, name):
            return getattr(self._container, name)

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None:
            self._container.close()

        def demux(self, stream):
            if self._packets is None:
                self._packets = self._container.demux(stream)
                raise BlockingIOError(35, "Resource temporarily unavailable")
            for n, packet in enumerate(self._packets):
                yield packet
                if n == 10:
                    raise BlockingIOError(35, "Resource temporarily unavailable")

    monkeypatch.setattr(live.av, "open", Hesitant)
    with pytest.raises(
        InputError, match=r"camera:0 must go on sending pictures, and went away after 5\.96 s: it ended"
    ):
        predict_recordings(Watching(), LiveSource("camera:0"), tmp_path / "out", CONFIG)
    assert looked_at(caplog.text) == (COUNT, 0)


def test_waiting_for_a_picture_ends_when_it_is_asked_to():
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
        asked = iter([False, False])
        pictures = LivePictures(STDIN, lambda: next(asked, True))
        assert list(pictures.frames()) == []
        pictures.close()
        assert not pictures._thread.is_alive()
    os.close(write)


def test_a_stream_comes_by_udp(stream, tmp_path, monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    is_seen = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not is_seen.is_set():
                for begin in range(0, len(stream), 1316):
                    sender.sendto(stream[begin : begin + 1316], ("127.0.0.1", port))
                    is_seen.wait(0.0005)

    def at_first() -> None:
        is_seen.set()
        monkeypatch.setattr(live, "SILENCE_S", 0.05)

    monkeypatch.setattr(live, "CLOSING_S", 0.01)
    sending = threading.Thread(target=send)
    sending.start()
    try:
        with pytest.raises(InputError, match=rf"udp://127\.0\.0\.1:{port} must go on sending .*: nothing came for"):
            predict_recordings(Watching(at_first), LiveSource(f"udp://127.0.0.1:{port}"), tmp_path, CONFIG)
    finally:
        is_seen.set()
        sending.join()
    assert len(boxes_in(tmp_path)) > 0


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_nobody_there_is_one_sentence_without_the_password(scheme, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = LiveSource(f"{scheme}://me:secret@127.0.0.1:{port}/live?key=secret")
    with pytest.raises(InputError) as error:
        predict_recordings(Watching(), source, tmp_path, CONFIG)
    words = f"{scheme}://127.0.0.1:{port}/live must be a source of pictures, and none came: Connection refused."
    assert str(error.value) == words
    assert "secret" not in " ".join(str(path) for path in tmp_path.rglob("*"))


def test_a_camera_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="camera:250 must be a source of pictures, and none came: "):
        predict_recordings(Watching(), LiveSource("camera:250"), tmp_path, CONFIG)
    with pytest.raises(InputError, match="a camera must be named by its number, as in camera:0"):
        predict_recordings(Watching(), LiveSource("camera:"), tmp_path, CONFIG)


def test_a_live_source_is_told_by_how_its_word_begins():
    for word, place in {
        "camera:0": "camera_0",
        "camera:/dev/video2": "camera_dev_video2",
        "rtsp://me:secret@cam.local:554/a/b.sdp?key=1": "cam.local_554_a_b.sdp",
        "udp://@239.0.0.1:1234": "239.0.0.1_1234",
        "https://../..": "live",
        f"http://cam/{'x' * 999}": f"cam_{'x' * 96}",
    }.items():
        source = as_source(word)
        assert isinstance(source, LiveSource)
        assert source.place == Path(place)
    for word in ("./camera:0", "film.mp4", "-", "rtsp:a", "http://", "ftp://a/b", "C:/film.mp4"):
        assert as_source(word) == Path(word)


@pytest.mark.parametrize(
    ("name", "platform", "device"),
    [
        ("0", "linux", ("/dev/video0", "v4l2", {})),
        ("/dev/v4l/by-id/cam", "linux", ("/dev/v4l/by-id/cam", "v4l2", {})),
        ("1", "darwin", ("1", "avfoundation", {"framerate": "30"})),
        ("Integrated Camera", "win32", ("video=Integrated Camera", "dshow", {})),
    ],
)
def test_a_camera_is_opened_as_its_system_names_it(name, platform, device):
    assert camera_device(name, platform) == device


def test_a_camera_has_a_name_on_windows():
    with pytest.raises(InputError, match="a camera must be named by its name here, as in camera:Integrated Camera"):
        camera_device("0", "win32")


def test_times_never_go_back():
    def taken(pts):
        return SimpleNamespace(pts=pts, time_base=Fraction(1, 1000))

    times = live._Times(has_times=True)
    assert [times.of(taken(pts)) for pts in (5000, 5040, None, 5080, 100, 140)] == [
        0,
        40_000,
        40_000,
        *[80_000] * 2,
        120_000,
    ]
    clock = live._Times(has_times=True)
    of_clock = [clock.of(taken(pts)) for pts in (None, 40, None)]
    assert of_clock == sorted(of_clock)


@pytest.mark.parametrize(
    ("runner", "sources", "config", "words"),
    [
        (HullRunner(None, 3), ["camera:0", "a.mp4"], CONFIG, "camera:0 must be named alone, and others are named"),
        (HullRunner(None, 3), ["camera:0"], PredictConfig(fps=9), "fps is for images and videos, and what comes live"),
        (HullRunner(None, 3), ["camera:0"], PredictConfig(size_hw=(9, 9)), "are for events: leave them out"),
        (
            HullRunner(None, 2),
            ["camera:0"],
            CONFIG,
            "must say that its frames show events to see camera:0, and does not",
        ),
        (HullRunner(), ["rtsp://a/b"], CONFIG, "rtsp://a/b must be a camera:, for a detector for events"),
    ],
)
def test_what_does_not_fit_a_live_source_is_said_in_one_sentence(runner, sources, config, words, tmp_path):
    with pytest.raises(InputError, match=words):
        predict_recordings(runner, [as_source(each) for each in sources], tmp_path / "out", config)
    assert not (tmp_path / "out").exists()
