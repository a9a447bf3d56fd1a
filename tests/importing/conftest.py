"""What several tests of imports share."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from seqdet.data.labels import label_path, read_labelled_us, read_labels
from seqdet.events.array import columns
from seqdet.events.tables import write_npz
from seqdet.pictures.sequence import open_pictures


@pytest.fixture
def folder(tmp_path):
    """An empty folder of labels, beside recordings of a second and 100x50 pixels, drive and night."""
    for name in ("drive", "night"):
        t = np.arange(0, 1_000_000, 1000)
        write_npz(tmp_path / f"{name}.npz", [columns(t=t, x=t % 100, y=t % 49, p=t % 2)], size_hw=(50, 100))
    (tmp_path / "labels").mkdir()
    return tmp_path / "labels"


SQUARE = 8
"""Side of the bright square that is in every picture, and how far it moves from one to the next."""


def shown(count, size_hw):
    """Pictures (N, H, W, 3) uint8 with a bright square, in the next place of a grid in each."""
    pictures = np.full((count, *size_hw, 3), 20, np.uint8)
    for n in range(count):
        x, y = square(n, size_hw)
        pictures[n, y : y + SQUARE, x : x + SQUARE] = 230
    return pictures


def square(n, size_hw):
    """Where the square of picture n is."""
    across = size_hw[1] // SQUARE
    return n % across * SQUARE, n // across % (size_hw[0] // SQUARE) * SQUARE


class Film:
    """Writes videos and images whose objects are known, and looks them up again."""

    size_hw = (48, 64)
    side = SQUARE

    def box(self, n):
        """x, y, w, h of the object of picture n."""
        return (*square(n, self.size_hw), SQUARE, SQUARE)

    def video(self, path, times_ms):
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(path, "w", format="matroska") as container:
            stream = container.add_stream("ffv1", rate=1000)
            stream.height, stream.width, stream.pix_fmt = *self.size_hw, "bgr0"
            stream.codec_context.time_base = Fraction(1, 1000)
            for picture, time in zip(shown(len(times_ms), self.size_hw), times_ms, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = time, Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    def images(self, folder, names):
        """Write images of such names; that of place n has the object of picture n."""
        for n, name in enumerate(names):
            self.image(folder / name, n)
        return folder

    def image(self, path, n, *, size_hw=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shown(n + 1, size_hw or self.size_hw)[n]).save(path, quality=95)
        return path

    def objects(self, path):
        """Of every labelled picture of a sequence in a dataset: its number, and the boxes at its time.

        That each box lies around the object that the picture shows is asserted.
        """
        label_file = label_path(path)
        boxes = read_labels(label_file)
        pictures = open_pictures(path)
        times = pictures.times_us.tolist()
        found = {}
        for time in read_labelled_us(label_file, boxes).tolist():
            n = times.index(time)
            here = boxes[boxes["t"] == time]
            found[n] = len(here)
            (picture,) = pictures.read(n, n + 1)
            ys, xs = np.nonzero(picture[..., 0] > 128)
            for x, y, w, h in here[["x", "y", "w", "h"]].tolist():
                there = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
                np.testing.assert_allclose((x, y, x + w, y + h), there, atol=0.01)
        pictures.close()
        return found


@pytest.fixture
def film():
    return Film()
