"""Find what a training left behind."""

from __future__ import annotations

import re
from pathlib import Path

from ....checks import check_choice


def search_latest_checkpoint(root_dir: Path | str, mode: str = "time") -> str | None:
    """The path of the latest ``**/checkpoints/*.ckpt`` below ``root_dir``; None if there is none.

    Args:
        root_dir: folder of one or more trainings.
        mode: "time" for the one written last, "index" for the highest number behind an equals sign in its name.
    """
    check_choice(mode, ["time", "index"], "mode")
    found = list(Path(root_dir).glob("**/checkpoints/*.ckpt"))
    latest = max(found, key=_index if mode == "index" else lambda path: path.stat().st_mtime_ns, default=None)
    return None if latest is None else str(latest)


def _index(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"=(\d+)", path.stem)[::-1])
