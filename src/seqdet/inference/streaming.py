"""A detector on streams of events that have not ended. Without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError, fit_fields
from ..config import InputConfig, ViewConfig
from ..config_files import suggestion, to_dict
from ..data.detections import Detections
from ..events.array import Events
from ..events.filters import FilterConfig, NoiseFilter, chosen_events, is_inside
from ..events.sieve import JITTER_US, check_inside
from ..events.slicing import Window, WindowStream
from ..events.tensors import blank_frame, find_representation
from ..events.time_units import LATEST_US
from .runners import Runner, events_of


class View:
    """Events as a detector sees them, and its boxes as the sensor has them.

    seen_hw: height and width of what it sees.

    Args:
        config: which view.
        sensor_hw: height and width of the sensor in pixels.
    """

    def __init__(self, config: ViewConfig, sensor_hw: tuple[int, int]) -> None:
        height, width = sensor_hw
        self.config = config
        self.seen_hw = (width, height) if config.transpose else (height, width)
        if config.roi and (config.roi[0] >= width or config.roi[1] >= height):
            raise InputError(f"roi must lie in the {width}x{height} pixels of the sensor, got {config.roi}.")

    def is_inside(self, events: Events) -> np.ndarray:
        """Which events are in the region of interest, (N,) bool."""
        if self.config.roi is None:
            return np.ones(len(events), np.bool_)
        return is_inside(events, self.config.roi)

    def seen(self, events: Events) -> Events:
        """The events at the places where the detector sees them."""
        x, y = (events.y, events.x) if self.config.transpose else (events.x, events.y)
        height, width = self.seen_hw
        x = np.uint16(width - 1) - x if self.config.flip_x else x
        y = np.uint16(height - 1) - y if self.config.flip_y else y
        return Events(events.t, x, y, events.p)

    def to_sensor(self, xyxy: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) in pixels that the detector sees as boxes in pixels of the sensor."""
        x1, y1, x2, y2 = xyxy.T
        height, width = self.seen_hw
        if self.config.flip_x:
            x1, x2 = width - x2, width - x1
        if self.config.flip_y:
            y1, y2 = height - y2, height - y1
        return np.stack([y1, x1, y2, x2] if self.config.transpose else [x1, y1, x2, y2], axis=1)


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How a detector looks at streams, and which of its detections are wanted."""

    step_us: int | None = None
    """From the start of a window to that of the next, at most the length of a window, which it is if not given. A
    detector has learnt to see each event once: shorter steps answer sooner and may answer worse."""
    count: int | None = None
    """Events of a window, instead of windows of the length that the detector was trained on."""
    lateness_us: int = JITTER_US
    """How far events may be behind others; windows are closed so much later."""
    filters: tuple[FilterConfig, ...] = ()
    """Which events are left out before everything else, one after the other."""
    view: ViewConfig = field(default_factory=ViewConfig)
    """What the detector sees of the sensor."""
    any_size: bool = False
    """Take a sensor of another size than in training; its frames are smaller than it by the same factor."""
    classes: tuple[str, ...] = ()
    """Classes that are wanted, each ``name`` or ``name:score``; all if none."""
    score: float = 0.0
    """Least score of a detection of a class that has none of its own."""

    def __post_init__(self) -> None:
        fit_fields(self)
        if self.step_us is not None and self.count is not None:
            raise InputError(f"step_us and count must not both be given, got {self.step_us} and {self.count}.")

    def windows(self, length_us: int, start_us: int = 0) -> WindowStream:
        """Those of one stream, for a detector that was trained on windows of this length; the first begins here.

        Raises:
            InputError: if steps are longer than windows.
        """
        if self.count is not None:
            return WindowStream(count=self.count, lateness_us=self.lateness_us)
        return WindowStream(window_us=length_us, step_us=self.step_us, start_us=start_us, lateness_us=self.lateness_us)


def thresholds(classes: Sequence[str], wanted: Sequence[str] = (), score: float = 0.0) -> np.ndarray:
    """The least score of each class, (N,) float64; infinity for those that are not wanted.

    Args:
        classes: names of the classes of a detector.
        wanted: ``name``, or ``name:score`` for a class with a score of its own; all classes if empty.
        score: of the classes that have none of their own.

    Raises:
        InputError: if there is no such class, it is named twice, or a score is not in [0, 1].
    """
    least = np.full(len(classes), np.inf if wanted else _share(score))
    for entry in wanted:
        name, colon, own = (entry, "", "") if entry in classes else entry.rpartition(":")
        name, own = (name, own) if colon else (entry, str(score))
        if name not in classes:
            known = ", ".join(classes)
            raise InputError(f"classes must be among {known}; got {name!r}.{suggestion(name, list(classes))}")
        if least[list(classes).index(name)] != np.inf:
            raise InputError(f"every class must be named once, got {name} twice.")
        least[list(classes).index(name)] = _share(own)
    return least


def least_score(wanted: Sequence[str], score: float) -> float:
    """The least of the scores that ``thresholds`` takes: what a detector has to give."""
    least = score
    for entry in wanted:
        with suppress(ValueError):  # thresholds says what is wrong with it
            least = min(least, float(entry.rpartition(":")[2])) if ":" in entry else least
    return least


def _share(value: float | str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = np.nan
    if not 0 <= share <= 1:
        raise InputError(f"a score must be a number from 0 to 1, got {value}.")
    return share


def chosen(found: Detections, least: np.ndarray) -> Detections:
    """Those whose score is at least that of their class."""
    kept = found.scores >= least[found.labels]
    return Detections(found.xyxy[kept], found.labels[kept], found.scores[kept])


class Framing:
    """Makes one frame after the other, in one buffer.

    shown: what the frames show. scale: (4,) pixels that the detector sees across one of a frame, for x1, y1, x2, y2.

    Args:
        runner: the detector, one for events.
        seen_hw: height and width of what it sees, in pixels of the sensor.
        any_size: take another size than in training; frames are then smaller than that by the same factor.

    Raises:
        InputError: if the size is not that of the training, or the frames are not those that the detector takes.
    """

    def __init__(self, runner: Runner, seen_hw: tuple[int, int], *, any_size: bool = False) -> None:
        self.shown = events_of(runner)
        trained_hw, frame_hw = self.shown.sensor_hw, self.shown.frame_hw
        if seen_hw != trained_hw:
            factors = zip(seen_hw, frame_hw, trained_hw, strict=True)
            height, width = (max(1, round(seen * frame / trained)) for seen, frame, trained in factors)
            frame_hw = height, width
        if runner.size_hw not in (None, frame_hw):
            raise InputError(
                f"the detector must see {_size(trained_hw)} pixels, for which it was exported, got {_size(seen_hw)}. "
                f"Export it again, with --size-hw {frame_hw[0]},{frame_hw[1]}."
            )
        if seen_hw != trained_hw and not any_size:
            raise InputError(
                f"the detector must see {_size(trained_hw)} pixels, as in training, got {_size(seen_hw)}. To try it on "
                "another sensor, give any_size; it works best where objects have about the same size in pixels."
            )
        self._represent = find_representation(self.shown.representation)
        self._layout: dict[str, Any] = {"size_hw": seen_hw, "to_hw": frame_hw, **self.shown.parameters}
        self._buffer = blank_frame(replace(self.shown, sensor_hw=seen_hw, frame_hw=frame_hw))[None]
        made = self._buffer.shape[1], self._buffer.dtype
        if made != (runner.channels, runner.dtype):
            raise InputError(
                f"{self.shown.representation} must make the frames that the detector takes, {runner.channels} channels "
                f"of {runner.dtype}, got {made[0]} of {made[1]}."
            )
        self.scale = np.tile([seen_hw[1] / frame_hw[1], seen_hw[0] / frame_hw[0]], 2)

    def frames(self, window: Window, events: Events) -> np.ndarray:
        """The frame (1, C, H, W) of a window; ``events`` are its events where the detector sees them."""
        window_us = window.end_us - window.start_us
        return self._represent(events, start_us=window.start_us, window_us=window_us, out=self._buffer, **self._layout)


def _size(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"


class WindowDetections(NamedTuple):
    """What was found in a window of a stream.

    boxes: (N,) ``EVENT_BBOX``, best first, pixels of the sensor, t = end_us. events: those of the window that passed
    the filters, by time, as the sensor sent them.
    """

    stream: int
    start_us: int
    end_us: int
    boxes: np.ndarray
    events: Events


@dataclass
class _Lane:
    """What is known of one stream. windows: None before its first event; they begin at start_us."""

    filters: list[NoiseFilter]
    windows: WindowStream | None = None
    start_us: int = 0
    has_begun: bool = False
    memory: tuple[Any, ...] | None = None


class StreamingDetector:
    """Finds boxes in any number of streams of one kind of sensor; each has its own memory and its own time.

    The windows of a stream begin at multiples of their length, or of ``step_us``, the first with the first event, and
    follow each other without gaps, as those of tensor files do: the boxes are those that the detector finds in these.
    By ``count``, a window is as long as its events take. Events that filters or the region leave out close windows as
    others do. Streams go through the detector one after the other, window by window.

    What ``push``, ``advance`` and ``flush`` give is an iterator, and a window goes through the detector when it is
    asked for: a silence of an hour takes no memory. Windows that were not asked for come first the next time.

    Args:
        runner: the detector; one for events.
        config: how to look.
        sensor_hw: height and width of the sensor in pixels; that of the training if None.
        on_window: is called with every window before the detector sees it.

    Raises:
        InputError: if the detector takes no events, or frames of another kind or of a sensor of another size.
    """

    def __init__(
        self,
        runner: Runner,
        config: StreamConfig | None = None,
        *,
        sensor_hw: tuple[int, int] | None = None,
        on_window: Callable[[Window], None] | None = None,
    ) -> None:
        self.runner = runner
        self.config = config or StreamConfig()
        self._on_window = on_window
        self.sensor_hw = sensor_hw or _mounted(events_of(runner), self.config.view)
        self._view = View(self.config.view, self.sensor_hw)
        self._framing = Framing(runner, self._view.seen_hw, any_size=self.config.any_size)
        self._least = thresholds(runner.classes, self.config.classes, self.config.score)
        self._new_windows(0)
        self._lanes: dict[int, _Lane] = {}
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Counter[str]:
        """How many events of all streams were left out because of their times, by reason."""
        return sum((lane.windows.dropped for lane in self._lanes.values() if lane.windows), self._dropped)

    def play(self, pieces: Iterable[Events | np.ndarray], stream: int = 0) -> Iterator[WindowDetections]:
        """Give what is found in all windows of a stream, from ``push`` of its pieces to ``flush``."""
        for events in pieces:
            yield from self.push(events, stream)
        yield from self.flush(stream)

    def push(self, events: Events | np.ndarray, stream: int = 0) -> Iterator[WindowDetections]:
        """Take the events, which are copied; give what was found in the windows that are closed now.

        Args:
            events: the next of this stream, any number; an array with the fields t, x, y and p will do.
            stream: which one; a new number is a new stream.

        Raises:
            InputError: if they are no events, or one is outside of the sensor; then none was taken.
        """
        events = Events.of(events)
        check_inside(events, self.sensor_hw)
        lane = self._lane(stream)
        wanted = self._wanted(lane, events)
        if lane.windows is None:
            begin = np.flatnonzero(wanted & (events.t >= -LATEST_US) & (events.t <= LATEST_US))[:1].tolist()
            if not begin:
                return iter(())
            events, wanted = events[begin[0] :], wanted[begin[0] :]
            lane.start_us = self._first_start(int(events.t[0]))
            lane.windows = self._new_windows(lane.start_us)
        return self._found(lane, stream, lane.windows.push(events, wanted))

    def advance(self, time_us: int, stream: int = 0) -> Iterator[WindowDetections]:
        """Promise that no event before ``time_us`` comes any more; give what was found in windows closed by that.

        Before the first event of a stream there are no windows.
        """
        lane = self._lane(stream)
        return self._found(lane, stream, lane.windows.advance(time_us) if lane.windows else ())

    def flush(self, stream: int = 0) -> Iterator[WindowDetections]:
        """End a stream: give what was found in the windows left, also in one that the stream ended in.

        A window by time is as long as all others, and nothing happens in the rest of it; so it is in tensor files. The
        stream is as after ``reset`` at once; windows that are not asked for are lost then.
        """
        lane = self._lanes.pop(stream, None)
        if lane is None or lane.windows is None:
            return iter(())
        self._dropped += lane.windows.dropped
        return self._found(lane, stream, lane.windows.close())

    def reset(self, stream: int = 0) -> None:
        """Forget a stream, its events, its time and what the detector remembers of it."""
        lane = self._lanes.pop(stream, None)
        if lane is not None and lane.windows is not None:
            self._dropped += lane.windows.dropped

    def state_dict(self) -> dict[str, Any]:
        """All streams as they are, as numbers and arrays, for ``load_state_dict``, in whatever computes the runner."""
        streams = {}
        for number, lane in self._lanes.items():
            streams[number] = {
                "filters": [each.state_dict() for each in lane.filters],
                "windows": lane.windows and lane.windows.state_dict(),
                "start_us": lane.start_us,
                "has_begun": lane.has_begun,
                "memory": None if lane.memory is None else [_array(each) for each in lane.memory],
            }
        return {"streams": streams, "dropped": dict(self._dropped), "looks": self._looks()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; streams that are not in it are forgotten. Scores and classes may be others.

        Raises:
            InputError: if it is not that of a detector with the same frames, sensor, view, filters and windows.
        """
        if not {"streams", "dropped", "looks"} <= state.keys():
            raise InputError(f"state must be what state_dict gave, got {', '.join(map(str, state)) or 'nothing'}.")
        for name, mine in self._looks().items():
            if state["looks"].get(name) != mine:
                raise InputError(f"state must be of a detector with {name} {mine}, got {state['looks'].get(name)}.")
        lanes = {}
        for number, saved in state["streams"].items():
            lane = _Lane(self._new_filters(), None, saved["start_us"], saved["has_begun"])
            for each, remembered in zip(lane.filters, saved["filters"], strict=True):
                each.load_state_dict(remembered)
            if saved["windows"] is not None:
                lane.windows = self._new_windows(lane.start_us)
                lane.windows.load_state_dict(saved["windows"])
            lane.memory = None if saved["memory"] is None else tuple(each.copy() for each in saved["memory"])
            lanes[number] = lane
        self._lanes = lanes
        self._dropped = Counter(state["dropped"])

    def _looks(self) -> dict[str, Any]:
        filters = [asdict(each) for each in self.config.filters]
        return {
            "frames": to_dict(self._framing.shown),
            "sensor_hw": list(self.sensor_hw),
            "view": to_dict(self.config.view),
            "filters": filters,
        }

    def _lane(self, stream: int) -> _Lane:
        if stream not in self._lanes:
            self._lanes[stream] = _Lane(self._new_filters())
        return self._lanes[stream]

    def _wanted(self, lane: _Lane, events: Events) -> np.ndarray:
        """Which events pass the filters and lie in the region, (N,) bool."""
        looks = [each.passes for each in lane.filters] + [self._view.is_inside] * (self.config.view.roi is not None)
        wanted = passed = np.ones(len(events), np.bool_)
        for n, look in enumerate(looks):
            events = chosen_events(events, passed) if n else events
            passed = look(events)
            wanted[wanted] = passed
        return wanted

    def _first_start(self, time_us: int) -> int:
        """Of the windows that begin at multiples of the step, the first that ends after what may come before a time."""
        length_us = self._framing.shown.window_us
        step_us = self.config.step_us or length_us
        return (time_us - self.config.lateness_us - length_us) // step_us * step_us + step_us

    def _new_filters(self) -> list[NoiseFilter]:
        return [NoiseFilter(each, self.sensor_hw) for each in self.config.filters]

    def _new_windows(self, start_us: int) -> WindowStream:
        return self.config.windows(self._framing.shown.window_us, start_us)

    def _found(self, lane: _Lane, stream: int, windows: Iterable[Window]) -> Iterator[WindowDetections]:
        for window in windows:
            lane.has_begun |= len(window.events) > 0
            if lane.has_begun:
                if self._on_window:
                    self._on_window(window)
                frames = self._framing.frames(window, self._view.seen(window.events))
                (found,), lane.memory = self.runner(frames, lane.memory)
                found = chosen(found, self._least)
                found = found._replace(xyxy=self._view.to_sensor(found.xyxy * self._framing.scale))
                boxes = found.rows(window.end_us)
                yield WindowDetections(stream, window.start_us, window.end_us, boxes, window.events)


def _mounted(shown: InputConfig, view: ViewConfig) -> tuple[int, int]:
    """The sensor of which the detector sees what it was trained on."""
    height, width = shown.sensor_hw
    return (width, height) if view.transpose else (height, width)


def _array(each: Any) -> np.ndarray:
    """A copy of an array, or of a tensor wherever it is."""
    return np.array(each.numpy(force=True) if hasattr(each, "numpy") else each)
