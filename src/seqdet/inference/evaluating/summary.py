"""The main numbers of an evaluation as a few lines of text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...evaluation.scoring import FIGURES, figure
from ...events.accounts import Account, total
from ...runs import RunFolder

HELD_OUT = {
    "test": "held-out frames",
    "validation": "frames that chose the best weights",
    "train": "frames of the kind that was trained on",
}
"""What is scored, by split."""


def summary(metrics: dict[str, Any], run: Path | str) -> list[str]:
    """The main numbers of ``evaluate`` and where its files are."""
    folder = RunFolder(Path(run))
    numbers = "  ".join(f"{name} {figure(metrics[name])}" for name in FIGURES)
    protocol = f"  [{metrics['protocol']} {metrics['digest']}]" if metrics.get("protocol") else ""
    return [
        f"{metrics['frames']} {HELD_OUT[metrics['split']]}: {numbers}{protocol}",
        *still_lines(metrics),
        *left_out_lines(metrics),
        *metrics.get("by_protocol", {}).get("lines", []),
        f"trained on {metrics['training_frames']} frames in {metrics['training_seconds']:.0f} s "
        f"({metrics['training_frames_per_second']:.0f} frames/s, {metrics['precision']})",
        *(f"{path}" for path in (folder.report, folder.video, folder.metrics, folder.detector)),
    ]


def left_out_lines(metrics: dict[str, Any]) -> list[str]:
    """What could not be read of the recordings, in all."""
    accounts = [Account.of(facts) for facts in metrics.get("left_out", {}).values()]
    lost = total(accounts)
    return [f"left out of {len(accounts)} recordings: {', '.join(lost.reasons())}"] if lost.dropped else []


def still_lines(metrics: dict[str, Any]) -> list[str]:
    """What the objects score that have stood still, where that is known."""
    return [
        f"{title}: AP {figure(metrics[name]['AP'])}  AP50 {figure(metrics[name]['AP50'])} "
        f"({metrics[name]['truth_boxes']} boxes)"
        for name, title in (
            ("still", "still for 0.3 s or more"),
            ("still_without_memory", "the same, forgetting after every frame"),
        )
        if metrics.get(name)
    ]
