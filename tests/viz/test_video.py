import av
import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.viz.video import write_video


def coloured(count, height=40, width=60):
    for i in range(count):
        image = np.zeros((height, width, 3), np.uint8)
        image[: height // 2] = (255, 180, 15)
        image[height // 2 :] = (0, 150, 20 * i)
        yield image


@pytest.mark.parametrize(("size", "padded"), [((40, 60), (40, 60)), ((41, 59), (42, 60))])
def test_a_video_reads_back_with_its_size_rate_format_and_colours(tmp_path, size, padded):
    path = tmp_path / "clip.mp4"
    write_video(path, coloured(7, *size), fps=20)
    with av.open(path) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 20
        assert {frame.colorspace for frame in frames} == {1}
        assert stream.codec_context.color_primaries == stream.codec_context.color_trc == 1
    assert len(frames) == 7
    for frame, image in zip(frames, coloured(7, *size), strict=True):
        shown = frame.to_ndarray(format="rgb24", src_colorspace="ITU709").astype(int)
        assert shown.shape == (*padded, 3)
        assert np.abs(shown[: size[0], : size[1]] - image).mean() < 4
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_the_index_stands_before_the_pictures(tmp_path):
    write_video(tmp_path / "clip.mp4", coloured(3), fps=12.5)
    content = (tmp_path / "clip.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_pictures_are_encoded_as_they_come(tmp_path):
    taken = []
    size_when_taken = []

    def watched():
        for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (200, 64, 64, 3), np.uint8)):
            taken.append(i)
            size_when_taken.extend(file.stat().st_size for file in tmp_path.iterdir())
            yield image

    write_video(tmp_path / "clip.mp4", watched(), fps=20)
    assert len(taken) == 200
    assert max(size_when_taken) > 100_000


def test_a_failure_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")

    def failing():
        yield from coloured(3)
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        write_video(path, failing(), fps=20)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("images", "fps", "words"),
    [
        ([], 20, "images must be at least one"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)], 20, r"image must have shape \(H=8, W=8, 3\)"),
        ([np.zeros((8, 8), np.uint8)], 20, r"image must have shape"),
        ([np.zeros((8, 8, 3), np.uint8)], 0, "fps must be above 0, got 0"),
    ],
)
def test_what_is_no_video_is_refused_in_one_sentence_and_writes_nothing(tmp_path, images, fps, words):
    with pytest.raises(InputError, match=words):
        write_video(tmp_path / "clip.mp4", images, fps=fps)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"missing/clip.mp4 cannot be written: No such file or directory\."):
        write_video(tmp_path / "missing" / "clip.mp4", coloured(2), fps=20)
