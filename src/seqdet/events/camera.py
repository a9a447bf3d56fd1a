"""The events of a camera at this machine, by the library neuromorphic_drivers (MIT), an extra."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from ..checks import InputError
from .accounts import Account
from .array import Events

POLL_S = 0.2
"""After so long without an event the camera gives a piece without events."""
MOST_CAMERAS = 100
"""Numbers below this count the cameras of the machine; others are of their makers."""


class EventCamera:
    """An event camera that sends; it is passed once.

    size_hw: height and width of the sensor in pixels.

    Args:
        name: number of the camera among those of the machine, from 0, or the serial number of its maker.

    Raises:
        InputError: if the library is not installed, there is no such camera, or it cannot be opened; while events are
            asked for, if it goes away.
    """

    def __init__(self, name: str) -> None:
        self._name = f"camera:{name}"
        try:
            drivers = import_module("neuromorphic_drivers")
        except ImportError as error:
            raise InputError(
                f"{self._name}, an event camera, needs the library neuromorphic-drivers ({error}). Install it: "
                "pip install 'seqdet[camera]'"
            ) from error
        self._device: Any = None
        try:
            self._device = drivers.open(serial=self._serial(drivers, name), iterator_timeout=POLL_S)
            properties = self._device.properties()
        except RuntimeError as error:
            self.close()
            raise InputError(f"{self._name} must be an event camera that can be opened: {error}.") from error
        self.size_hw = int(properties.height), int(properties.width)
        self._passed = 0
        self._overflows = 0

    @property
    def account(self) -> Account:
        """What became of the events that came so far."""
        lost = f"events were lost {self._overflows:,} times, as the computer was slower than the camera"
        return Account(self._passed, notes=(lost,) if self._overflows else ())

    def chunks(self) -> Iterator[Events]:
        """The events as they come, in pieces of any size, also of none where nothing happens."""
        try:
            for _, packet in self._device:
                rows = None if packet is None else packet.polarity_events
                if packet is not None and packet.polarity_events_overflow_indices is not None:
                    self._overflows += len(packet.polarity_events_overflow_indices)
                if rows is None:
                    yield Events.empty()
                    continue
                self._passed += len(rows)
                yield Events(rows["t"].astype(np.int64), rows["x"], rows["y"], rows["on"].astype(np.uint8))
        except RuntimeError as error:
            raise InputError(f"{self._name} must go on sending events, and went away: {error}.") from error

    def close(self) -> None:
        """Let the camera go."""
        if self._device is not None:
            self._device.close()

    def _serial(self, drivers: Any, name: str) -> str | None:
        """The serial number of the camera; None where it is the first of those that say none."""
        if not (name.isdecimal() and int(name) < MOST_CAMERAS):
            return name
        devices = drivers.list_devices()
        if int(name) >= len(devices):
            raise InputError(f"{self._name} must be one of the {len(devices)} event cameras at this machine.")
        device = devices[int(name)]
        if device.serial is None and device.error is not None:
            raise InputError(f"{self._name} must be an event camera that can be opened: {device.error}.")
        return device.serial
