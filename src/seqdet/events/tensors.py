"""Events to frames: the representations, what a detector sees of each window of time.

Each is a function ``(events, *, size_hw, start_us, window_us, windows=1, to_hw=None, out=None, ...)``;
``Windows`` says what these are. It returns (T, C, H, W) for ``windows`` = T consecutive windows. A frame depends on
the events of its own window alone, so T windows at once equal T windows one at a time. Counts never wrap: they stop at
the largest value. All raise ``InputError`` for events outside the sensor and for an ``out`` that does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, Unpack, get_args

import numpy as np

from ..allowing import find_allowed
from ..checks import InputError, check_choice
from ..config import InputConfig
from . import kernels
from .array import Events
from .canvas import Canvas, Channel, Representation, Windows, draw, positive, representation, whole

Decay = Literal["none", "linear", "exponential"]

NEVER = int(np.iinfo(np.int64).min)
"""The time of the last event where there was none."""


def _in_turn(count: int, parameters: Mapping[str, Any]) -> list[Channel]:
    """Darker and brighter events of each bin in turn; or, without ``split_polarity``, a signed channel for each."""
    if not parameters.get("split_polarity", True):
        return _signed(count, parameters)
    return [Channel(n % 2, n // 2) for n in range(count)]


def _one_after_the_other(count: int, parameters: Mapping[str, Any]) -> list[Channel]:
    """All bins of darker events, then all of brighter ones."""
    return [Channel(n // (count // 2), n % (count // 2)) for n in range(count)]


def _signed(count: int, parameters: Mapping[str, Any]) -> list[Channel]:
    """Brighter less darker events of each bin."""
    return [Channel(None, n) for n in range(count)]


def _of_last_events(count: int, parameters: Mapping[str, Any]) -> list[Channel]:
    """Backwards, the last event would be the first, which is not there."""
    return [Channel(n % 2, None) for n in range(count)]


def _of_growing_windows(count: int, parameters: Mapping[str, Any]) -> list[Channel]:
    """Signed; what came before a later and later time says nothing of what came after it."""
    return [Channel(None, None)] * count


@representation(channels=_in_turn, vendor_name="histo")
def histogram(
    events: Events, *, max_incr_per_pixel: float = 5.0, clip: float = 1.0, **window: Unpack[Windows]
) -> np.ndarray:
    """How many events of each polarity every pixel had: (T, 2, H, W) float32; channel 0 darker, 1 brighter.

    Each event adds s / max_incr_per_pixel, up to ``clip``, where s is the pixels of the frame over those of the sensor.
    ``HISTO`` of https://docs.prophesee.ai/stable/guides/events_preprocessing.html.
    """
    return _increments(events, Canvas(2, np.float32, **window), max_incr_per_pixel, clip)


@representation(channels=_signed, vendor_name="diff")
def difference(
    events: Events, *, max_incr_per_pixel: float = 5.0, clip: float = 1.0, **window: Unpack[Windows]
) -> np.ndarray:
    """Brighter less darker events of every pixel: (T, 1, H, W) float32.

    Each event adds or takes s / max_incr_per_pixel and stops at ``clip`` or -``clip``, where s is the pixels of the
    frame over those of the sensor. ``DIFF`` of https://docs.prophesee.ai/stable/guides/events_preprocessing.html.
    """
    return _increments(events, Canvas(1, np.float32, **window), max_incr_per_pixel, clip)


def _increments(events: Events, canvas: Canvas, max_incr_per_pixel: float, clip: float) -> np.ndarray:
    channels = canvas.out.shape[1]
    grid = canvas.grid(plane=channels - 1)
    steps = canvas.steps(max_incr_per_pixel, is_signed=channels == 1)
    limit = np.float32(positive(clip, "clip"))
    for piece in canvas.pieces(events):
        draw(kernels.accumulate, piece.xyp, grid, steps, limit, piece.frame.reshape(-1))
    return canvas.out


@representation(channels=_in_turn, vendor_name="histo_quantized")
def histogram_quantized(
    events: Events, *, negative_bit_length: int = 8, positive_bit_length: int = 8, **window: Unpack[Windows]
) -> np.ndarray:
    """Events of each polarity of every pixel, counted: (T, 2, H, W) uint8; channel 0 darker, 1 brighter.

    Counts stop at 2**bit_length - 1, as those that a sensor keeps on its chip (``HARDWARE_HISTO`` of the same page).
    """
    lengths = {"negative_bit_length": negative_bit_length, "positive_bit_length": positive_bit_length}
    limits = [2 ** whole(length, name, most=8) - 1 for name, length in lengths.items()]
    canvas = Canvas(2, np.uint8, **window)
    grid = canvas.grid(plane=1)
    for piece in canvas.pieces(events):
        draw(kernels.count, piece.xyp, grid, max(limits), piece.frame.reshape(-1))
        for counts, limit in zip(piece.frame, limits, strict=True):
            if limit < max(limits):
                np.minimum(counts, limit, out=counts)
    return canvas.out


@representation(channels=_signed, vendor_name="diff_quantized")
def difference_quantized(events: Events, *, bit_length: int = 8, **window: Unpack[Windows]) -> np.ndarray:
    """Brighter less darker events of every pixel, counted: (T, 1, H, W) int8.

    The count stops at -2**(bit_length - 1) and at 2**(bit_length - 1) - 1 and may turn back from there, as that which
    a sensor keeps on its chip (``HARDWARE_DIFF`` of the same page).
    """
    reach = 2 ** (whole(bit_length, "bit_length", most=8) - 1)
    canvas = Canvas(1, np.int8, **window)
    grid = canvas.grid(plane=0)
    for piece in canvas.pieces(events):
        draw(kernels.balance, piece.xyp, grid, -reach, reach - 1, piece.frame.reshape(-1))
    return canvas.out


@representation(channels=_in_turn, vendor_name="event_cube")
def event_cube(
    events: Events,
    *,
    bins: int = 5,
    split_polarity: bool = True,
    max_incr_per_pixel: float = 63.75,
    clip: float = 1.0,
    **window: Unpack[Windows],
) -> np.ndarray:
    """Events shared between the two time bins nearest to them: (T, bins * P, H, W) float32, channel bin * P + p.

    P is 2, or 1 without ``split_polarity``: then p is 0 and darker events count negatively. With r = (t - start) *
    bins / duration - 0.5 and l = floor(r), bin l gets 1 - (r - l) of an event and bin l + 1 gets r - l; what would go
    outside is lost. A whole event is s / max_incr_per_pixel, with s as in ``histogram``; sums stop at ``clip`` and
    -``clip``. ``EVENT_CUBE`` of the same page; after Zhu et al., https://arxiv.org/abs/1812.08156.
    """
    polarities = 2 if split_polarity else 1
    canvas = Canvas(whole(bins, "bins") * polarities, np.float32, **window)
    grid = canvas.grid(plane=polarities - 1)
    steps = canvas.steps(max_incr_per_pixel, is_signed=not split_polarity)
    limit = np.float32(positive(clip, "clip"))
    for piece in canvas.pieces(events):
        bounds = piece.start_us, canvas.window_us
        draw(kernels.interpolate, piece.txyp, grid, steps, limit, *bounds, bins, piece.frame.reshape(-1))
    return canvas.out


@representation(channels=_of_last_events, drawn="newest", vendor_name="timesurface")
def time_surface(
    events: Events, *, decay: Decay = "linear", tau_us: float | None = None, **window: Unpack[Windows]
) -> np.ndarray:
    """When each pixel had its last event of each polarity: (T, 2, H, W), channel 0 darker, 1 brighter.

    The last event is the last in the order of ``events``; its age counts to the last microsecond of the window. Decay
    ``linear`` gives max(0, 1 - age / tau_us) and ``exponential`` exp(-age / tau_us), float32, and 0 where there was no
    event; ``none`` gives the time itself, int64 microseconds, or ``NEVER``. ``tau_us`` is the duration of a window if
    None. After Lagorce et al., https://doi.org/10.1109/TPAMI.2016.2574707.
    """
    return multi_channel_time_surface(events, bins=1, decay=decay, tau_us=tau_us, **window)


@representation(channels=_of_last_events, drawn="newest", vendor_name="multi_channel_timesurface")
def multi_channel_time_surface(
    events: Events, *, bins: int = 5, decay: Decay = "linear", tau_us: float | None = None, **window: Unpack[Windows]
) -> np.ndarray:
    """A ``time_surface`` of each of the equal ``bins`` of the window: (T, bins * 2, H, W), channel bin * 2 + p.

    Ages count to the end of the whole window, so that a channel does not look younger for being earlier.
    """
    check_choice(decay, get_args(Decay), "decay")
    is_time = decay == "none"
    dtype, background = (np.int64, NEVER) if is_time else (np.float32, 0)
    canvas = Canvas(2 * whole(bins, "bins"), dtype, background, **window)
    grid = canvas.grid(plane=1)
    tau_us = positive(canvas.window_us if tau_us is None else tau_us, "tau_us")
    for piece in canvas.pieces(events, canvas.parts(bins)):
        cells = piece.frame[2 * piece.bin : 2 * piece.bin + 2].reshape(-1)
        if is_time:
            draw(kernels.latest, piece.txyp, grid, cells)
        else:
            now_us = piece.start_us + canvas.window_us - 1
            draw(kernels.decay, piece.txyp, grid, now_us, tau_us, decay == "exponential", cells)
    return canvas.out


@representation(channels=_one_after_the_other, is_of_rvt=True)
def stacked_histogram(events: Events, *, bins: int = 10, max_count: int = 255, **window: Unpack[Windows]) -> np.ndarray:
    """Events of each polarity in each of ``bins`` equal parts of the window: (T, 2 * bins, H, W) uint8.

    Channel p * bins + bin, counts stop at ``max_count``: the input of RVT (Gehrig and Scaramuzza,
    https://arxiv.org/abs/2212.05598), which stops at 10, and whose bins reach from the first to the last event of the
    window. Here they reach from its start to its end, so that they do not depend on single events.
    """
    canvas = Canvas(2 * whole(bins, "bins"), np.uint8, **window)
    grid = canvas.grid(plane=bins)
    most = whole(max_count, "max_count", most=255)
    for piece in canvas.pieces(events, canvas.parts(bins)):
        draw(kernels.count, piece.xyp, grid, most, piece.frame[piece.bin :].reshape(-1))
    return canvas.out


@representation(channels=_of_growing_windows, drawn="last", is_of_rvt=True)
def mixed_density_stack(
    events: Events, *, bins: int = 10, max_count: int = 127, **window: Unpack[Windows]
) -> np.ndarray:
    """Brighter less darker events from the start of the window to later and later times: (T, bins, H, W) int8.

    Channel n ends 2**(bins - 1 - n) times sooner than the window, the last channel with it; sums are limited to
    [-max_count, max_count]. As in RVT (https://github.com/uzh-rpg/RVT), after Nam et al., CVPR 2022; the window is
    divided, not the time from its first to its last event.
    """
    canvas = Canvas(whole(bins, "bins", most=62), np.int8, **window)
    grid = canvas.grid(plane=0)
    most = whole(max_count, "max_count", most=127)
    sums = np.empty(canvas.out[0, 0].size, np.int32)
    limits = np.iinfo(np.int32)
    offsets_us = [0, *(-(-canvas.window_us // 2**n) for n in range(bins - 1, 0, -1))]
    for piece in canvas.pieces(events, offsets_us):
        if piece.bin == 0:
            sums.fill(0)
        draw(kernels.balance, piece.xyp, grid, limits.min, limits.max, sums)
        kernels.narrow(sums, most, piece.frame[piece.bin].reshape(-1))
    return canvas.out


REPRESENTATIONS: dict[str, Representation[...]] = {
    each.name: each
    for each in (
        histogram,
        difference,
        histogram_quantized,
        difference_quantized,
        event_cube,
        time_surface,
        multi_channel_time_surface,
        stacked_histogram,
        mixed_density_stack,
    )
}
"""By name; ``find_representation`` knows functions of your own as well."""
VENDOR_NAMES = {each.vendor_name: each.name for each in REPRESENTATIONS.values() if each.vendor_name}
"""What the vendor's tools call representations, and what they are called here."""
RVT_NAMES = tuple(each.name for each in REPRESENTATIONS.values() if each.is_of_rvt)
"""The representations that RVT knows."""


def find_representation(name: str) -> Representation[...]:
    """One of ``REPRESENTATIONS``, or a function of yours, ``package.module:function``, if ``seqdet.allow`` was told.

    Yours has the arguments of ``Windows`` and its own; what it returns for ``Events.empty()`` says which channels and
    dtype its frames have, and ``@representation`` what these show.

    Raises:
        InputError: if there is no such function, or it is not allowed.
    """
    if ":" in name:
        found = find_allowed(name)
        return found.named(name) if isinstance(found, Representation) else Representation(found, name=name)
    check_choice(name, REPRESENTATIONS, "the representation")
    return REPRESENTATIONS[name]


def known_representation(name: str) -> Representation[...] | None:
    """The representation that a file names, if it is one of ours, as RVT writes it too, or of yours and allowed."""
    ours = REPRESENTATIONS.get(name.partition("_dt=")[0])
    if ours is not None or ":" not in name:
        return ours
    with suppress(InputError):
        return find_representation(name)
    return None


def channels_of(shown: InputConfig, count: int) -> tuple[Channel, ...] | None:
    """What each of the ``count`` channels of frames shows, or None if that is not known.

    Raises:
        InputError: if a function of yours states it of another number of channels.
    """
    known = known_representation(shown.representation)
    return None if known is None else known.channels(count, shown.parameters)


def make_frames(
    shown: InputConfig, events: Events, *, start_us: int, windows: int = 1, out: np.ndarray | None = None
) -> np.ndarray:
    """The frames (T, C, H, W) of consecutive windows.

    Args:
        shown: what they show.
        events: of these windows; others do not count.
        start_us: of the first window.
        windows: T.
        out: to fill, as of ``Windows``; a new array if None.

    Raises:
        InputError: if there is no such representation, or events do not fit it.
    """
    several = {"windows": windows} if windows != 1 else {}  # a function of yours need not know what is not asked of it
    given = {"out": out} if out is not None else {}
    return find_representation(shown.representation)(
        events,
        size_hw=shown.sensor_hw,
        to_hw=shown.frame_hw,
        start_us=start_us,
        window_us=shown.window_us,
        **several,
        **given,
        **shown.parameters,
    )


def blank_frame(shown: InputConfig) -> np.ndarray:
    """The frame (C, H, W) of a window without events, in a new array.

    It says which channels and which dtype there are; of a function of yours it shows first whether it keeps to what
    representations promise.

    Raises:
        InputError: if there is no such representation, it does not take these parameters, or, one of yours, it returns
            anything else than such a frame, or does not fill ``out``.
    """
    name = shown.representation
    empty = Events.empty()
    try:
        frames = make_frames(shown, empty, start_us=0)
        if ":" not in name:
            return frames[0]
        height, width = shown.frame_hw
        wanted = f"an array of frames (1, C, {height}, {width})"
        if not isinstance(frames, np.ndarray):
            raise InputError(f"{name} must return {wanted}, got a {type(frames).__name__}.")
        if frames.ndim != 4 or (frames.shape[0], *frames.shape[2:]) != (1, height, width):
            raise InputError(f"{name} must return {wanted}, got {frames.shape}.")
        given = np.ones_like(frames)
        make_frames(shown, empty, start_us=0, out=given)
    except TypeError as error:
        reason = str(error).partition("() ")[2] or error
        raise InputError(f"parameters must be arguments of {name}; it {reason}.") from error
    if not np.array_equal(given, frames):
        raise InputError(f"{name} must fill the array out, where it is given one, and left there what was before.")
    return frames[0]


def check_frame_type(dtype: np.dtype, representation: str) -> None:
    """Raise ``InputError`` unless a detector takes frames of that type, which a representation has."""
    if dtype in (np.uint8, np.int8) or dtype.kind == "f":
        return
    raise InputError(
        f"frames to learn from must be uint8, int8 or floating point, and those of {representation} are {dtype}. "
        "Choose stacked_histogram, or a time_surface with a linear or exponential decay."
    )
