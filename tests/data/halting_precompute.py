"""Make tensors in two processes, up to a number of segments: ``halting_precompute.py RECORDINGS OUT SEGMENTS``."""

import sys
import time
from pathlib import Path

from seqdet.config import TensorConfig
from seqdet.data import precompute as work
from seqdet.data.precompute import make_segments
from seqdet.files import below

RECORDINGS, OUT, SEGMENTS = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])


def make_until_enough(batch, report):
    """As ``make_segments``, but once there are that many segments only a signal ends it."""

    def report_and_wait(count):
        report(count)
        while sum(path.match("0*.h5") for path in below(OUT)) >= SEGMENTS:
            report(0)
            time.sleep(0.01)

    return make_segments(batch, report_and_wait)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))  # where the environment leaves it out
    import halting_precompute  # other processes know modules, and no script

    work.make_segments = halting_precompute.make_until_enough
    work.precompute([RECORDINGS], work.PrecomputeConfig(OUT, TensorConfig(window_us=250)), workers=2)
