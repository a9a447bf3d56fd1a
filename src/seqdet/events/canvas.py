"""What a representation is: a function from windows of events to frames, and what the channels of these show.

Here is what all of them share; ``tensors`` has those of seqdet. One of yours is such a function too, and
``@representation(channels=...)`` states about it what is known about ours.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, NotRequired, ParamSpec, TypeAlias, TypedDict, get_args

import numpy as np
from numpy.typing import DTypeLike

from ..checks import InputError, check_at_least, check_choice
from . import kernels
from .array import Events
from .sieve import JITTER_US


class Windows(TypedDict):
    """What every representation takes beside its events.

    size_hw: height and width of the sensor in pixels.
    start_us, window_us: window n is [start_us + n * window_us, start_us + (n + 1) * window_us), half open.
        Events outside all windows do not count.
    windows: how many there are, T; 1 if not given.
    to_hw: height H and width W of the frames, at most the sensor's; the sensor's if not given. An event goes to
        column x * W // width of the sensor and to row y * H // height, a shift where the quotient is a power of two.
    out: (T, C, H, W) of the dtype that the function returns, each frame contiguous: cleared, filled and returned.
        A new array if not given.
    """

    size_hw: tuple[int, int]
    start_us: int
    window_us: int
    windows: NotRequired[int]
    to_hw: NotRequired[tuple[int, int] | None]
    out: NotRequired[np.ndarray | None]


Polarity: TypeAlias = int | Literal["any"] | None


class Channel(NamedTuple):
    """What a channel shows.

    polarity: 0 for darker events, 1 for brighter ones, "any" for all alike, None for brighter less darker ones.
    bin: number of the part of the window; None is none that could be played backwards.
    """

    polarity: Polarity
    bin: int | None


Channels: TypeAlias = Sequence[tuple[Polarity, int | None]]
"""A polarity and a time bin for each channel, as in ``Channel``."""
Drawing = Literal["sum", "newest", "last"]
"""How a frame becomes a picture: its channels added up, the newest of each pixel, or the last channel alone."""
Arguments = ParamSpec("Arguments")


class Representation(Generic[Arguments]):
    """A function that makes frames of events, called as the function is, and what is known about its frames.

    Attributes:
        name: by which configurations and files know it.
        drawn: how a frame becomes a picture.
        vendor_name: what the vendor's tools call it; empty if they do not have it.
        is_of_rvt: whether RVT knows it by the same name.
    """

    def __init__(
        self,
        function: Callable[Arguments, np.ndarray],
        channels: Channels | Callable[[int, Mapping[str, Any]], Channels] | None = None,
        *,
        name: str = "",
        drawn: Drawing = "sum",
        vendor_name: str = "",
        is_of_rvt: bool = False,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._channels = channels
        self.name = name or function.__name__
        self.drawn: Drawing = drawn
        self.vendor_name = vendor_name
        self.is_of_rvt = is_of_rvt

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> np.ndarray:
        return self._function(*args, **kwargs)

    def named(self, name: str) -> Representation[Arguments]:
        """The same under another name."""
        return Representation(self._function, self._channels, name=name, drawn=self.drawn)

    def channels(self, count: int, parameters: Mapping[str, Any]) -> tuple[Channel, ...] | None:
        """What each channel of a frame shows, or None if nothing is stated.

        Args:
            count: channels of a frame.
            parameters: of the function, where they are not the usual ones.

        Raises:
            InputError: if another number of channels is stated.
        """
        if self._channels is None:
            return None
        stated = self._channels(count, parameters) if callable(self._channels) else self._channels
        if len(stated) != count:
            raise InputError(f"{self.name} must state what each of its {count} channels shows, got {len(stated)}.")
        return tuple(Channel(*each) for each in stated)


def representation(
    *,
    channels: Channels | Callable[[int, Mapping[str, Any]], Channels] | None = None,
    drawn: Drawing = "sum",
    vendor_name: str = "",
    is_of_rvt: bool = False,
) -> Callable[[Callable[Arguments, np.ndarray]], Representation[Arguments]]:
    """State what is known about the frames that a function makes; used as a decorator.

    By it, training knows how to drop a polarity or to play frames backwards, and pictures know what to show.

    Args:
        channels: for each channel its polarity and its bin, as in ``Channel``; or a function that gives these for the
            number of channels and the parameters.
        drawn: how a frame becomes a picture, see ``Drawing``.
        vendor_name: what the vendor's tools call it.
        is_of_rvt: whether RVT knows it by the same name.

    Raises:
        InputError: if a polarity, a bin or ``drawn`` is none of these.
    """
    check_choice(drawn, get_args(Drawing), "drawn")
    for polarity, part in () if channels is None or callable(channels) else channels:
        if polarity not in (0, 1, "any", None) or not (part is None or (isinstance(part, int) and part >= 0)):
            raise InputError(
                f"channels must be pairs of a polarity, 0, 1, 'any' or None, and of a bin, from 0 on or None, got "
                f"{(polarity, part)}."
            )

    def stated(function: Callable[Arguments, np.ndarray]) -> Representation[Arguments]:
        return Representation(function, channels, drawn=drawn, vendor_name=vendor_name, is_of_rvt=is_of_rvt)

    return stated


class Piece(NamedTuple):
    """The events of one bin of one window.

    frame: (C, H, W), of the window, cleared before its first bin. start_us: of the window. txyp, xyp: columns.
    """

    frame: np.ndarray
    bin: int
    start_us: int
    txyp: list[np.ndarray]

    @property
    def xyp(self) -> list[np.ndarray]:
        return self.txyp[1:]


class Canvas:
    """The frames of some windows; ``Windows`` has the arguments.

    out: (T, C, H, W), ``background`` where nothing is drawn.
    """

    def __init__(
        self,
        channels: int,
        dtype: DTypeLike,
        background: int = 0,
        *,
        size_hw: tuple[int, int],
        start_us: int,
        window_us: int,
        windows: int = 1,
        to_hw: tuple[int, int] | None = None,
        out: np.ndarray | None = None,
    ) -> None:
        self.start_us = int(start_us)
        self.window_us = int(window_us)
        self.background = background
        check_at_least(window_us, 1, "window_us")
        check_at_least(windows, 1, "windows")
        self.size_hw = int(size_hw[0]), int(size_hw[1])  # numbers of numpy would overflow below
        self.to_hw = self.size_hw if to_hw is None else (int(to_hw[0]), int(to_hw[1]))
        for small, large in zip(self.to_hw, self.size_hw, strict=True):
            if not 1 <= small <= large <= 65536:
                sizes = f"{self.to_hw} of {self.size_hw}"
                raise InputError(f"to_hw must be from 1 to size_hw, and that at most 65536 each, got {sizes}.")
        shape = (windows, channels, *self.to_hw)
        dtype = np.dtype(dtype)
        self.out = np.empty(shape, dtype) if out is None else out
        if self.out.shape != shape or self.out.dtype != dtype or not self.out[0].flags.carray:
            found = f"{self.out.dtype} {self.out.shape}"
            raise InputError(f"out must be a writeable array {shape} of {dtype} with contiguous frames, got {found}.")

    def grid(self, *, plane: int) -> kernels.Grid:
        """Cells of a frame, with ``plane`` channels from the darker to the brighter events."""
        height, width = self.to_hw
        down, across = (-(-(small << 32) // large) for small, large in zip(self.to_hw, self.size_hw, strict=True))
        return kernels.Grid(*self.size_hw, *np.array([down, across, width, plane * height * width], np.uint64))

    def steps(self, max_incr_per_pixel: float, *, is_signed: bool) -> np.ndarray:
        """What a darker and a brighter event add, less in smaller frames: (2,) float32."""
        scales = (small / large for small, large in zip(self.to_hw, self.size_hw, strict=True))
        step = math.prod(scales) / positive(max_incr_per_pixel, "max_incr_per_pixel")
        return np.array([-step if is_signed else step, step], np.float32)

    def parts(self, bins: int) -> list[int]:
        """The first microsecond of each of the ``bins`` equal parts of a window, counted from its start."""
        return [-(-n * self.window_us // bins) for n in range(bins)]

    def pieces(self, events: Events, offsets_us: list[int] | None = None) -> Iterator[Piece]:
        """The events of each bin of each window; its bins begin ``offsets_us`` after it does. One bin if not given."""
        starts = [self.start_us + n * self.window_us for n in range(len(self.out))]
        offsets = offsets_us or [0]
        edges = np.array([start + offset for start in starts for offset in offsets] + [starts[-1] + self.window_us])
        columns = [np.ascontiguousarray(column) for column in (events.t, events.x, events.y, events.p)]
        firsts, is_clean = kernels.cut(columns[0], edges, JITTER_US)
        for i in range(len(edges) - 1):
            n, bin_ = divmod(i, len(offsets))
            if bin_ == 0:
                self.out[n].fill(self.background)
            if is_clean[i] and is_clean[i + 1]:
                chosen = slice(firsts[i], firsts[i + 1])
            else:
                begin, stop = np.searchsorted(columns[0], [edges[i] - JITTER_US, edges[i + 1] + JITTER_US])
                near = columns[0][begin:stop]
                chosen = begin + np.flatnonzero((near >= edges[i]) & (near < edges[i + 1]))
            yield Piece(self.out[n], bin_, starts[n], [column[chosen] for column in columns])


def draw(kernel: Callable[..., bool], columns: list[np.ndarray], grid: kernels.Grid, *rest: object) -> None:
    """Call a kernel.

    Raises:
        InputError: if an event is outside the sensor.
    """
    if not kernel(*columns, grid, *rest):
        x, y, p = (column.max() for column in columns[-3:])
        raise InputError(
            f"events must have x below {grid.width}, y below {grid.height} and p of 0 or 1, "
            f"got up to x={x}, y={y}, p={p}. Were height and width swapped?"
        )


def positive(value: float, name: str) -> float:
    """The value.

    Raises:
        InputError: unless it is a number above 0.
    """
    if not 0 < value < math.inf:
        raise InputError(f"{name} must be a number above 0, got {value}.")
    return float(value)


def whole(value: int, name: str, *, most: int = 1000) -> int:
    """The value.

    Raises:
        InputError: unless it lies in 1 to ``most``.
    """
    if not 1 <= value <= most:
        raise InputError(f"{name} must be a whole number from 1 to {most}, got {value}.")
    return value
