"""One of the other processes of a training: ``python -m seqdet.training FOLDER PRECISION``, see ``processes``."""

import signal
import sys
from pathlib import Path

from ..checks import InputError, Stopped
from .fit import take_part
from .processes import ERROR, end_with_first

end_with_first()
signal.signal(signal.SIGINT, signal.SIG_IGN)  # all stop when the first one does
try:
    take_part(Path(sys.argv[1]), sys.argv[2])
except InputError as error:
    sys.exit(f"{ERROR}{' '.join(str(error).split())}")
except Stopped:
    pass
