"""What a tensor file says of its frames, as attributes of its dataset.

They have the names of the vendor's tensor files
(https://docs.prophesee.ai/stable/data/file_formats/hdf5_tensor.html), which can be read as well, and some of ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..checks import InputError, check_size, is_size
from ..config import MOST_US, InputConfig, PictureInput, Shown
from ..config_files import from_dict
from ..events.tensors import VENDOR_NAMES
from ..files import read_json
from ..pictures.fitting import fit_scale

FORMAT_VERSION = 1
SHARED = ("max_incr_per_pixel",)
"""Parameters that the vendor's files have as attributes of their own."""
PICTURES = "pictures"
"""The attribute of frames of pictures: their colour. The times of these are a dataset of their own."""
AGAIN = "Delete it and make it again, or copy it again."
LATEST_US = 1 << 56
"""A time beyond this, 2,000 years, is damage."""


@dataclass(frozen=True)
class Description:
    """What a tensor file holds.

    input: what its frames show; of other tools, with their name of the representation where it is none of ours.
    start_us: frame n shows the events of ``input.window_us`` microseconds from start_us + n * ``input.window_us`` on;
    of pictures, the time of the first.
    source, source_digest: name and digest of the recording; empty if unknown.
    function_digest: of the source of a function outside of seqdet that made the frames; empty for others.
    times_us: when each picture was taken, rising; none of windows, which follow each other.
    size_hw: height and width of the pictures that frames were made of.
    """

    input: Shown
    start_us: int = 0
    source: str = ""
    source_digest: str = ""
    function_digest: str = ""
    times_us: tuple[int, ...] = ()
    size_hw: tuple[int, int] | None = None

    @property
    def sensor_hw(self) -> tuple[int, int]:
        """Height and width of the sensor or the picture, in whose pixels boxes are."""
        return self.size_hw or (self.input.frame_hw if isinstance(self.input, PictureInput) else self.input.sensor_hw)

    @property
    def period_us(self) -> int:
        """From one frame to the next, usually."""
        return self.input.period_us if isinstance(self.input, PictureInput) else self.input.window_us

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Pixels of the sensor or the picture across one of the frame."""
        height, width = self.sensor_hw
        if isinstance(self.input, PictureInput):
            return fit_scale((height, width), self.input.frame_hw)
        return width / self.input.frame_hw[1], height / self.input.frame_hw[0]

    def part(self, first: int, count: int) -> Description:
        """Of ``count`` frames from number ``first`` on."""
        if isinstance(self.input, PictureInput):
            times_us = self.times_us[first : first + count]
            return replace(self, start_us=times_us[0], times_us=times_us)
        return replace(self, start_us=self.edge_us(first))

    def edge_us(self, frame: int) -> int:
        """The time that parts frame number ``frame`` from those before: what it shows comes after, or just then."""
        if isinstance(self.input, PictureInput):
            return self.times_us[frame] - 1 if frame < len(self.times_us) else self.times_us[-1]
        return self.start_us + frame * self.input.window_us

    def ends_us(self, windows: int) -> np.ndarray:
        """When each of so many windows ends, or picture was taken, (N,) int64."""
        if isinstance(self.input, PictureInput):
            return np.array(self.times_us[:windows], np.int64)
        return self.start_us + self.input.window_us * np.arange(1, windows + 1)

    def is_followed_by(self, other: Description, frames: int) -> bool:
        """Whether another one is of the frames that come after ``frames`` of this."""
        if not isinstance(self.input, PictureInput):
            return other == self.part(frames, 0)
        plain = replace(self, start_us=0, times_us=())
        is_later = not self.times_us or other.start_us > self.times_us[-1]
        return frames == len(self.times_us) and is_later and replace(other, start_us=0, times_us=()) == plain

    def attributes(self, frame_shape: tuple[int, ...]) -> dict[str, Any]:
        """As attributes of a dataset."""
        shown = self.input
        height, width = self.sensor_hw
        known = {
            "delta_t": self.period_us,
            "event_input_height": height,
            "event_input_width": width,
            "shape": np.array(frame_shape),
            "seqdet_version": FORMAT_VERSION,
            "start_us": self.start_us,
            "source": _bytes(self.source),
            "source_digest": _bytes(self.source_digest),
        }
        if isinstance(shown, PictureInput):
            return known | {PICTURES: _bytes(shown.colour)}
        made_by = {"function_digest": _bytes(self.function_digest)} if self.function_digest else {}
        return (
            {name: shown.parameters[name] for name in SHARED if name in shown.parameters}
            | made_by
            | known
            | {
                "events_to_tensor": _bytes(shown.representation),
                "parameters": _bytes(json.dumps(shown.parameters, sort_keys=True)),
            }
        )


def description_of(data: h5py.Dataset, path: Path) -> Description:
    """What the attributes of a dataset say; those of the vendor's files suffice."""
    attributes: dict[str, Any] = dict(data.attrs)
    if "delta_t" not in attributes:
        raise InputError(f"{path} must say how long its windows are, in an attribute delta_t, and does not.")
    version = int(attributes.get("seqdet_version", 0))
    if version > FORMAT_VERSION:
        raise InputError(f"{path} must have format version {FORMAT_VERSION} at most, got {version}. Update seqdet.")
    height, width = map(int, data.shape[2:])
    sensor_hw = int(attributes.get("event_input_height", height)), int(attributes.get("event_input_width", width))
    start_us = int(attributes.get("start_us", 0))
    source = _text(attributes.get("source", ""))
    source_digest = _text(attributes.get("source_digest", ""))
    step_us = int(attributes["delta_t"])
    if PICTURES in attributes:
        colour = _text(attributes[PICTURES])
        shown = {"colour": colour, "frame_hw": [height, width], "period_us": step_us}
        check_size(sensor_hw, f"the size of the pictures of {path}")
        pictures = from_dict(PictureInput, shown, name=f"{path}: {PICTURES}")
        return Description(pictures, start_us, source, source_digest, size_hw=sensor_hw)
    is_time = 1 <= step_us <= MOST_US and abs(start_us) <= LATEST_US and step_us * len(data) <= LATEST_US
    if not (is_time and is_size(sensor_hw)):
        raise InputError(
            f"{path} must tell of plausible windows and a plausible sensor, got {len(data):,} windows of "
            f"{step_us} us from {start_us} us on, and {sensor_hw[0]} by {sensor_hw[1]} pixels."
        )
    name = _text(attributes.get("events_to_tensor", ""))
    if version:
        parameters = read_json(_text(attributes["parameters"]))
    else:
        parameters = {name: attributes[name].item() for name in SHARED if name in attributes}
    if not isinstance(parameters, dict):
        raise InputError(f"{path} must have a table of parameters, got {parameters!r}.")
    return Description(
        InputConfig(
            representation=name if version else VENDOR_NAMES.get(name, name),
            parameters=parameters,
            window_us=step_us,
            sensor_hw=sensor_hw,
            frame_hw=(height, width),
        ),
        start_us=start_us,
        source=source,
        source_digest=source_digest,
        function_digest=_text(attributes.get("function_digest", "")),
    )


def _bytes(text: str) -> np.bytes_:
    """For an attribute: HDF5 keeps other strings where they have no checksum."""
    return np.bytes_(text.encode())


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
