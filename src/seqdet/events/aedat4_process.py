"""Decode an AEDAT4 file by the package ``aedat``, as a process of its own: some damaged files make the package abort.

``python -P aedat4_process.py PATH`` writes to its standard output: a JSON line with the streams of the file, or with an
error; then for each packet of events or of triggers a JSON line and the rows; then the line END, or one with an error.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import numpy as np

EVENT = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1")])
TRIGGER = np.dtype([("t", "<i8"), ("source", "u1")])
END = b"{}\n"
MOST_BYTES = 1 << 32  # of memory, against a damaged file that asks for more


def write_packets(path: str) -> None:
    """Write what the file holds to the standard output."""
    import aedat

    with suppress(ImportError, OSError, ValueError):  # not everywhere
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    try:
        decoder = aedat.Decoder(path)
        _write({"streams": decoder.id_to_stream()})
        for packet in decoder:
            for kind, dtype in (("events", EVENT), ("triggers", TRIGGER)):
                if kind in packet:
                    rows = packet[kind].astype(dtype)
                    _write({"kind": kind, "stream": packet["stream_id"], "rows": len(rows)}, rows.tobytes())
    except (OSError, RuntimeError, ValueError) as error:
        _write({"error": str(error)})
    else:
        sys.stdout.buffer.write(END)
    sys.stdout.buffer.flush()


def _write(message: dict[str, Any], content: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n" + content)


if __name__ == "__main__":
    write_packets(sys.argv[1])
