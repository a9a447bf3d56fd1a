"""``python -m seqdet``: the command ``seqdet``."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        sys.path.pop(0)  # the current folder, whose files are data
    from .cli import main

    main()
