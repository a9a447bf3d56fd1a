"""``python -m seqdet.cli``: the same as ``python -m seqdet``."""

from runpy import run_module

if __name__ == "__main__":
    run_module("seqdet", run_name="__main__")
