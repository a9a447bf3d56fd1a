"""A detector on streams of events that have not ended. Without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ...checks import InputError
from ...config import InputConfig
from ...config_files import to_dict
from ...events.array import Events
from ...events.filters import NoiseFilter, chosen_events
from ...events.sieve import check_inside
from ...events.slicing import Window
from ...events.stream import WindowStream
from ...events.time_units import LATEST_US
from ..steps.step import Step
from .choice import chosen, event_rows, thresholds
from .config import StreamConfig
from .framing import Framing
from .view import View, ViewConfig


class Detections(NamedTuple):
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
        step: the detector; one for events.
        config: how to look.
        sensor_hw: height and width of the sensor in pixels; that of the training if None.

    Raises:
        InputError: if the detector takes no events, or frames of another kind or of a sensor of another size.
    """

    def __init__(
        self, step: Step, config: StreamConfig | None = None, *, sensor_hw: tuple[int, int] | None = None
    ) -> None:
        self.step, self.config = step, config or StreamConfig()
        if step.input is None:
            raise InputError(f"detector must be one for events, got one for pictures of {step.channels} channels.")
        self.sensor_hw = sensor_hw or _mounted(step.input, self.config.view)
        self._view = View(self.config.view, self.sensor_hw)
        self._framing = Framing(step, self._view.seen_hw, any_size=self.config.any_size)
        self._least = thresholds(step.classes, self.config.classes, self.config.score)
        self._new_windows(0)
        self._lanes: dict[int, _Lane] = {}
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Counter[str]:
        """How many events of all streams were left out because of their times, by reason."""
        return sum((lane.windows.dropped for lane in self._lanes.values() if lane.windows), self._dropped)

    def push(self, events: Events | np.ndarray, stream: int = 0) -> Iterator[Detections]:
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

    def advance(self, time_us: int, stream: int = 0) -> Iterator[Detections]:
        """Promise that no event before ``time_us`` comes any more; give what was found in windows closed by that.

        Before the first event of a stream there are no windows.
        """
        lane = self._lane(stream)
        return self._found(lane, stream, lane.windows.advance(time_us) if lane.windows else ())

    def flush(self, stream: int = 0) -> Iterator[Detections]:
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
        """All streams as they are, as numbers and arrays, for ``load_state_dict``, in whatever computes the step."""
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
        self._lanes, self._dropped = lanes, Counter(state["dropped"])

    def _looks(self) -> dict[str, Any]:
        filters = [asdict(each) for each in self.config.filters]
        frames, view = to_dict(self._framing.shown), to_dict(self.config.view)
        return {"frames": frames, "sensor_hw": list(self.sensor_hw), "view": view, "filters": filters}

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

    def _found(self, lane: _Lane, stream: int, windows: Iterable[Window]) -> Iterator[Detections]:
        for window in windows:
            lane.has_begun |= len(window.events) > 0
            if lane.has_begun:
                frames = self._framing.frames(window, self._view.seen(window.events))
                (found,), lane.memory = self.step(frames, lane.memory)
                found = chosen(found, self._least)
                found = found._replace(xyxy=self._view.to_sensor(found.xyxy * self._framing.scale))
                boxes = event_rows(found, window.end_us)
                yield Detections(stream, window.start_us, window.end_us, boxes, window.events)


def _mounted(shown: InputConfig, view: ViewConfig) -> tuple[int, int]:
    """The sensor of which the detector sees what it was trained on."""
    height, width = shown.sensor_hw
    return (width, height) if view.transpose else (height, width)


def _array(each: Any) -> np.ndarray:
    """A copy of an array, or of a tensor wherever it is."""
    return np.array(each.numpy(force=True) if hasattr(each, "numpy") else each)
