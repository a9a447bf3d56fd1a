"""Events to frames: what a detector sees of each window of time.

A representation is a function ``(events, *, size_hw, start_us, duration_us, windows=1, to_hw=None, out=None, ...)``;
``Windows`` says what these are. It returns (T, C, H, W) for ``windows`` = T consecutive windows. A frame depends on
the events of its own window alone, so T windows at once equal T windows one at a time. Counts never wrap: they stop at
the largest value. All raise ``InputError`` for events outside the sensor and for an ``out`` that does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Unpack, get_args

import numpy as np

from ..allowing import find_allowed
from ..checks import InputError, check_choice
from . import kernels
from .array import Events
from .windows import Canvas, Windows, draw, positive, whole

Decay = Literal["none", "linear", "exponential"]

NEVER = int(np.iinfo(np.int64).min)
"""The time of the last event where there was none."""


def histogram(
    events: Events, *, max_incr_per_pixel: float = 5.0, clip: float = 1.0, **window: Unpack[Windows]
) -> np.ndarray:
    """How many events of each polarity every pixel had: (T, 2, H, W) float32; channel 0 darker, 1 brighter.

    Each event adds s / max_incr_per_pixel, up to ``clip``, where s is the pixels of the frame over those of the sensor.
    ``HISTO`` of https://docs.prophesee.ai/stable/guides/events_preprocessing.html.
    """
    return _increments(events, Canvas(2, np.float32, **window), max_incr_per_pixel, clip)


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
    grid, steps = canvas.grid(plane=channels - 1), canvas.steps(max_incr_per_pixel, is_signed=channels == 1)
    limit = np.float32(positive(clip, "clip"))
    for piece in canvas.pieces(events):
        draw(kernels.accumulate, piece.xyp, grid, steps, limit, piece.frame.reshape(-1))
    return canvas.out


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
    grid, steps = canvas.grid(plane=polarities - 1), canvas.steps(max_incr_per_pixel, is_signed=not split_polarity)
    limit = np.float32(positive(clip, "clip"))
    for piece in canvas.pieces(events):
        window_us = piece.start_us, canvas.duration_us
        draw(kernels.interpolate, piece.txyp, grid, steps, limit, *window_us, bins, piece.frame.reshape(-1))
    return canvas.out


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
    grid, tau_us = canvas.grid(plane=1), positive(canvas.duration_us if tau_us is None else tau_us, "tau_us")
    for piece in canvas.pieces(events, canvas.parts(bins)):
        cells = piece.frame[2 * piece.bin : 2 * piece.bin + 2].reshape(-1)
        if is_time:
            draw(kernels.latest, piece.txyp, grid, cells)
        else:
            now_us = piece.start_us + canvas.duration_us - 1
            draw(kernels.decay, piece.txyp, grid, now_us, tau_us, decay == "exponential", cells)
    return canvas.out


def stacked_histogram(events: Events, *, bins: int = 10, max_count: int = 255, **window: Unpack[Windows]) -> np.ndarray:
    """Events of each polarity in each of ``bins`` equal parts of the window: (T, 2 * bins, H, W) uint8.

    Channel p * bins + bin, counts stop at ``max_count``: the input of RVT (Gehrig and Scaramuzza,
    https://arxiv.org/abs/2212.05598), which stops at 10, and whose bins reach from the first to the last event of the
    window. Here they reach from its start to its end, so that they do not depend on single events.
    """
    canvas = Canvas(2 * whole(bins, "bins"), np.uint8, **window)
    grid, most = canvas.grid(plane=bins), whole(max_count, "max_count", most=255)
    for piece in canvas.pieces(events, canvas.parts(bins)):
        draw(kernels.count, piece.xyp, grid, most, piece.frame[piece.bin :].reshape(-1))
    return canvas.out


def mixed_density_stack(
    events: Events, *, bins: int = 10, max_count: int = 127, **window: Unpack[Windows]
) -> np.ndarray:
    """Brighter less darker events from the start of the window to later and later times: (T, bins, H, W) int8.

    Channel n ends 2**(bins - 1 - n) times sooner than the window, the last channel with it; sums are limited to
    [-max_count, max_count]. As in RVT (https://github.com/uzh-rpg/RVT), after Nam et al., CVPR 2022; the window is
    divided, not the time from its first to its last event.
    """
    canvas = Canvas(whole(bins, "bins", most=62), np.int8, **window)
    grid, most = canvas.grid(plane=0), whole(max_count, "max_count", most=127)
    sums, limits = np.empty(canvas.out[0, 0].size, np.int32), np.iinfo(np.int32)
    offsets_us = [0, *(-(-canvas.duration_us // 2**n) for n in range(bins - 1, 0, -1))]
    for piece in canvas.pieces(events, offsets_us):
        if piece.bin == 0:
            sums.fill(0)
        draw(kernels.balance, piece.xyp, grid, limits.min, limits.max, sums)
        kernels.narrow(sums, most, piece.frame[piece.bin].reshape(-1))
    return canvas.out


REPRESENTATIONS: dict[str, Callable[..., np.ndarray]] = {
    "histogram": histogram,
    "difference": difference,
    "histogram_quantized": histogram_quantized,
    "difference_quantized": difference_quantized,
    "event_cube": event_cube,
    "time_surface": time_surface,
    "multi_channel_time_surface": multi_channel_time_surface,
    "stacked_histogram": stacked_histogram,
    "mixed_density_stack": mixed_density_stack,
}
"""By name; ``find_representation`` knows functions of your own as well."""


def find_representation(name: str) -> Callable[..., np.ndarray]:
    """A function of ``REPRESENTATIONS``, or one of yours, ``package.module:function``, if ``seqdet.allow`` was told.

    Yours has the arguments of ``Windows`` and its own; what it returns for ``Events.empty()`` says which channels and
    dtype its frames have.

    Raises:
        InputError: if there is no such function, or it is not allowed.
    """
    if ":" in name:
        return find_allowed(name)
    check_choice(name, REPRESENTATIONS, "the representation")
    return REPRESENTATIONS[name]


def blank_frames(name: str, *, size_hw: tuple[int, int], **asked: Any) -> np.ndarray:
    """The frame (1, C, H, W) that a representation makes of a window without events, in a new array.

    It says which channels and which dtype there are; of a function of yours it shows first whether it keeps to what
    representations promise.

    Args:
        name: as of ``find_representation``.
        size_hw: as of ``Windows``.
        asked: the others of ``Windows``, but for ``windows`` and ``out``, and the function's own.

    Raises:
        InputError: if there is no such representation, it does not take these arguments, or, one of yours, it returns
            anything else than such a frame, or does not fill ``out``.
    """
    represent = find_representation(name)
    try:
        frames = represent(Events.empty(), size_hw=size_hw, **asked)
        if ":" not in name:
            return frames
        height, width = asked.get("to_hw") or size_hw
        wanted = f"an array of frames (1, C, {height}, {width})"
        if not isinstance(frames, np.ndarray):
            raise InputError(f"{name} must return {wanted}, got a {type(frames).__name__}.")
        if frames.ndim != 4 or (frames.shape[0], *frames.shape[2:]) != (1, height, width):
            raise InputError(f"{name} must return {wanted}, got {frames.shape}.")
        given = np.ones_like(frames)
        represent(Events.empty(), size_hw=size_hw, **asked, out=given)
    except TypeError as error:
        reason = str(error).partition("() ")[2] or error
        raise InputError(f"parameters must be arguments of {name}; it {reason}.") from error
    if not np.array_equal(given, frames):
        raise InputError(f"{name} must fill the array out, where it is given one, and left there what was before.")
    return frames
