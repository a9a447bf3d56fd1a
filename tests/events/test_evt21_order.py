import io

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.events.array import Events
from seqdet.events.evt import EvtPipe, open_evt
from seqdet.events.reading import ReadOptions

MAKER = b"%% camera_integrator_name %s\n"


def words(times=50, *, masks=(1,), order="little"):
    """A time of the sensor and an event at column and row n modulo 32, for each n."""
    halves = []
    for n in range(times):
        halves += [(8 << 28 | n, 0), (1 << 28 | n % 32 << 11 | n % 32, masks[n % len(masks)])]
    types, rest = np.array(halves, "<u4").T
    both = (rest, types) if order == "little" else (types, rest)
    return np.stack(both, axis=1).astype("<u4").tobytes()


def recording(content, *, order=None, maker=b"other"):
    stated = f";endianness={order}".encode() if order else b""
    return MAKER % maker + b"% format EVT21;height=48;width=64" + stated + b"\n% end\n" + content


def read(path, content):
    path.write_bytes(content)
    source = open_evt(path, ReadOptions(strict=True))
    return Events.concatenate(list(source.chunks())), source


@pytest.mark.parametrize("order", ["little", "legacy"])
@pytest.mark.parametrize("maker", [b"other", b"Prophesee"])
@pytest.mark.parametrize("masks", [(1,), (0x80000001, 0x80000003, 1)])
def test_where_the_header_is_silent_the_words_tell_their_order(tmp_path, order, maker, masks):
    content = recording(words(masks=masks, times=32, order=order), maker=maker)
    events, source = read(tmp_path / "a.raw", content)
    assert len(events) == sum(bin(masks[n % len(masks)]).count("1") for n in range(32))
    np.testing.assert_array_equal(np.unique(events.t), 64 * np.arange(32))
    assert source.notes == (
        f"the header does not say how the halves of a word lie: they are taken as {order}, as time advances only so",
    )


def test_an_order_that_is_stated_is_not_talked_about(tmp_path):
    _, source = read(tmp_path / "a.raw", recording(words(), order="little"))
    assert source.notes == ()


@pytest.mark.parametrize(("maker", "order"), [(b"other", "little"), (b"Prophesee", "legacy")])
def test_few_words_are_of_the_usual_order_of_their_maker(tmp_path, maker, order):
    events, source = read(tmp_path / "a.raw", recording(words(1, order=order), maker=maker))
    assert (events.t.tolist(), events.x.tolist()) == ([0], [0])
    assert f"taken as {order}, as too few words tell" in source.notes[0]


@pytest.mark.parametrize("maker", [b"other", b"Prophesee"])
@pytest.mark.parametrize("order", ["little", "legacy"])
def test_types_that_the_format_does_not_have_tell_the_order_of_few_words(tmp_path, maker, order):
    events, _ = read(tmp_path / "a.raw", recording(words(1, masks=(0x50000001,), order=order), maker=maker))
    assert events.x.tolist() == [0, 28, 30]


class Slow(io.RawIOBase):
    """A pipe that gives some bytes at a time."""

    def __init__(self, content, size):
        self._rest, self._size = content, size

    def read1(self, size=-1, /):
        piece, self._rest = self._rest[: self._size], self._rest[self._size :]
        return piece


@pytest.mark.parametrize("order", ["little", "legacy"])
@pytest.mark.parametrize("size", [7, 100, 10_000])
def test_a_pipe_waits_until_its_words_have_told_their_order(tmp_path, order, size):
    content = recording(words(order=order))
    wanted, _ = read(tmp_path / "a.raw", content)
    found = Events.concatenate(list(EvtPipe(Slow(content, size)).chunks()))
    for name in "txyp":
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_a_pipe_whose_words_change_their_order_is_refused():
    content = recording(words(10) + words(500, order="legacy"))
    with pytest.raises(InputError, match="must hold words in one order"):
        list(EvtPipe(Slow(content, 100)).chunks())
