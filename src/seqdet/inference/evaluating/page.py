"""The page about an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...config_files import to_yaml
from ...runs import RunFolder
from ...viz.charts import Chart
from ...viz.images import Paint
from ...viz.pages import Report
from .curves import read_curves
from .held_out import HeldOut
from .pictures import strips
from .scoring import Scored
from .summary import HELD_OUT, left_out_lines, still_lines
from .worst import false_alarms, misses


def page(scored: Scored, data: HeldOut, metrics: dict[str, Any], run: RunFolder, *, paint: Paint) -> Report:
    """Scores, curves, errors and pictures of a run.

    Args:
        scored: what was found.
        data: in which frames.
        metrics: what goes to ``metrics.json``.
        run: the folder with the curves of the training.
        paint: how frames are shown.
    """
    curves, config = read_curves(run.logs), data.config
    losses = {name.removeprefix("loss/"): curve for name, curve in curves.items() if name.startswith("loss/")}
    validation = {
        name.removeprefix("validation/"): curve for name, curve in curves.items() if name.startswith("validation/")
    }
    charts = [Chart("Loss", "step", losses, is_log=True, is_noisy=True)]
    if "lr" in curves:
        charts.append(Chart("Learning rate", "step", {"learning rate": curves["lr"]}))
    charts.append(Chart("Validation", "step", validation, y_limits=(0, 1)))
    by_protocol = metrics.get("by_protocol", {})
    folder, scores = config.data.dataset.folder, scored.scores
    return Report(
        title="Moving digits" if folder is None else folder.name,
        summary=" ".join(
            f"{line[0].upper()}{line[1:]}."
            for line in (
                f"a recurrent detector, scored on {scores.frames} {HELD_OUT[metrics['split']]}",
                *still_lines(metrics),
                *left_out_lines(metrics),
            )
        ),
        scores=metrics,
        notes={
            "Scores": "Plain COCO over the labelled windows, in pixels of the frames" + _tag(metrics) + ".",
            "What the objects do": f"In pixels of the sensor{_tag(by_protocol or metrics)}.",
        },
        protocol="\n".join(by_protocol.get("lines", [])),
        training_frames=metrics["training_frames"],
        breakdowns=metrics["breakdowns"],
        precision={name: np.array(of_class.curve50) for name, of_class in scores.per_class.items()},
        precision_by_iou={"0.50": np.array(scores.curve50), "0.50 to 0.95": np.array(scores.curve)},
        reliability=metrics["reliability"],
        errors=metrics["errors"],
        misses=misses(scored, data, paint),
        false_alarms=false_alarms(scored, data, paint),
        training=charts,
        pictures=strips(scored.shown, config, paint, data.titles),
        config=to_yaml(config),
        versions=metrics["versions"],
        seconds={"training": metrics["training_seconds"], "evaluation": metrics["evaluation_seconds"]},
    )


def _tag(facts: dict[str, Any]) -> str:
    """Protocol and digest, where there are some."""
    return f", {facts['protocol']} {facts['digest']}" if facts.get("protocol") else ""
