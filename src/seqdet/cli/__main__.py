"""``python -m seqdet.cli``."""

import sys

from . import main

if __name__ == "__main__":
    if not sys.flags.safe_path:
        sys.path.pop(0)  # the current folder, whose files are data
    main()
