"""Event cameras, by a module with the names and types of the library, which needs a camera."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.events.array import Events
from seqdet.events.camera import EventCamera
from seqdet.inference.inputs import PredictConfig
from seqdet.inference.live import LiveSource
from seqdet.inference.prediction import predict_recordings

from ..inference.fakes import SENSOR_HW, HullRunner
from ..inference.test_streaming import some_events

ROW = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])


@dataclass
class Listed:
    """As ``ListedDevice``."""

    name: str
    connection: str
    address: str
    serial: str | None
    error: str | None


class Drivers:
    """As the module: one camera that sends packets, and then goes away."""

    def __init__(self, packets) -> None:
        self.packets = packets
        self.opened = []
        self.is_closed = False
        self.devices = [Listed("Prophesee EVK4", "USB", "", serial, None) for serial in ("00050423", "00050424")]

    def list_devices(self):
        return self.devices

    def open(
        self,
        configuration=None,
        iterator_timeout=None,
        raw=False,
        serial=None,
        address=None,
        ring_configuration=None,
        iterator_maximum_raw_packets=64,
    ):
        self.opened.append((serial, iterator_timeout))
        if serial not in (None, "00050423", "00050424"):
            raise RuntimeError("device not found")
        return self

    def properties(self):
        return SimpleNamespace(width=SENSOR_HW[1], height=SENSOR_HW[0])

    def close(self) -> None:
        self.is_closed = True

    def __iter__(self):
        for packet in self.packets:
            yield SimpleNamespace(system_time=0.0, ring=None), packet
        raise RuntimeError("LIBUSB_ERROR_NO_DEVICE")


def packet(events: Events | None, overflows: list[int] | None = None):
    """As ``Evt3Packet``: nothing where there are no events."""
    rows = None
    if events is not None:
        rows = np.zeros(len(events), ROW)
        for name, column in zip(("t", "x", "y", "on"), (events.t, events.x, events.y, events.p), strict=True):
            rows[name] = column
    indices = None if overflows is None else np.array(overflows)
    return SimpleNamespace(polarity_events=rows, polarity_events_overflow_indices=indices, trigger_events=None)


@pytest.fixture
def drivers(monkeypatch):
    """A camera that sends some events in three packets, with nothing in between, and loses some before the last."""
    events = some_events()
    parts = [packet(events[:20]), None, packet(None), packet(events[20:50]), packet(events[50:], [0])]
    made = Drivers(parts)
    monkeypatch.setitem(sys.modules, "neuromorphic_drivers", made)
    return made


def test_the_fake_is_as_the_library():
    drivers = pytest.importorskip("neuromorphic_drivers")
    assert list(inspect.signature(drivers.open).parameters) == list(inspect.signature(Drivers([]).open).parameters)
    assert list(drivers.ListedDevice.__dataclass_fields__) == list(Listed.__dataclass_fields__)
    for name in ("polarity_events", "polarity_events_overflow_indices", "trigger_events"):
        assert name in drivers.packet.Evt3Packet.__annotations__
    assert set(vars(Drivers)) & {"open", "properties", "close"} <= {"open", *dir(drivers.device.Device)}


def test_a_camera_gives_its_events_and_its_end(drivers):
    camera = EventCamera("1")
    assert camera.size_hw == SENSOR_HW
    (opened,) = drivers.opened
    assert opened[0] == "00050424"
    assert opened[1] > 0
    found = []
    with pytest.raises(InputError, match="camera:1 must go on sending events, and went away: LIBUSB_ERROR_NO_DEVICE"):
        found.extend(camera.chunks())
    assert [len(each) for each in found] == [20, 0, 0, 30, len(some_events()) - 50]
    whole = Events.concatenate(found)
    for name in "txyp":
        mine, wanted = getattr(whole, name), getattr(some_events(), name)
        assert mine.tolist() == wanted.tolist()
        assert mine.dtype == wanted.dtype
    assert camera.account.events == len(whole)
    assert camera.account.notes == ("events were lost 1 times, as the computer was slower than the camera",)
    camera.close()
    assert drivers.is_closed


def test_a_detector_looks_at_a_camera_as_at_a_recording(drivers, tmp_path, caplog):
    with pytest.raises(InputError, match="camera:0 must go on sending events, and went away"):
        predict_recordings(HullRunner(), LiveSource("camera:0"), tmp_path, PredictConfig())
    boxes = np.load(tmp_path / "detections" / "camera_0_bbox.npy")
    assert drivers.is_closed
    assert len(boxes) > 0
    assert boxes["t"].max() <= some_events().t.max() + 1000


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("2", "camera:2 must be one of the 2 event cameras at this machine"),
        ("00050499", "camera:00050499 must be an event camera that can be opened: device not found"),
    ],
)
def test_a_camera_that_is_not_there_is_one_sentence(drivers, name, words):
    with pytest.raises(InputError, match=words):
        EventCamera(name)


def test_a_camera_that_may_not_be_opened_is_one_sentence(drivers):
    drivers.devices[0].serial = None
    drivers.devices[0].error = "access denied"
    with pytest.raises(InputError, match="camera:0 must be an event camera that can be opened: access denied"):
        EventCamera("0")


def test_without_the_library_a_camera_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "neuromorphic_drivers", None)
    words = (
        r"camera:0, an event camera, needs the library neuromorphic-drivers \(.*\)\. Install it: pip install 'seqdet\["
    )
    with pytest.raises(InputError, match=words):
        EventCamera("0")
