"""Read a recording by another library, in an environment that has it but not seqdet.

``python readers_of_others.py LIBRARY RECORDING TARGET``: writes t, x, y and p, of 0 and 1, to the npz ``TARGET``.
"""

import sys
from collections.abc import Callable
from importlib import import_module

import numpy as np

Columns = dict[str, np.ndarray]


def by_evt3(path: str) -> Columns:
    events = import_module("evt3").decode_file(path)
    return {"t": events.timestamp, "x": events.x, "y": events.y, "p": events.polarity}


def by_eventcv(path: str) -> Columns:
    events = import_module("eventcv").load(path)
    return dict(zip(events.columns, events.numpy().T, strict=True))


def by_evlib(path: str) -> Columns:
    events = import_module("evlib").load_events(path, sort=False).collect()
    columns = {
        "t": events["t"].dt.total_microseconds(),
        "x": events["x"],
        "y": events["y"],
        "p": events["polarity"] > 0,
    }
    return {name: column.to_numpy() for name, column in columns.items()}


READERS: dict[str, Callable[[str], Columns]] = {"evt3": by_evt3, "eventcv": by_eventcv, "evlib": by_evlib}

if __name__ == "__main__":
    library, recording, target = sys.argv[1:]
    found = READERS[library](recording)
    np.savez(target, t=found["t"], x=found["x"], y=found["y"], p=found["p"])
