"""The ``seqdet`` command. A function is a command, its signature the options, its docstring the help.

Bodies import what they need, so that ``--help`` never waits for torch.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from jsonargparse import auto_cli, set_parsing_settings

from .checks import InputError, Stopped
from .config import DataConfig, ModelConfig, RunConfig, TrainConfig

log = logging.getLogger("seqdet")


def train(
    data: DataConfig = DataConfig(),
    model: ModelConfig = ModelConfig(),
    train: TrainConfig = TrainConfig(),
    out: Path = Path("runs/last"),
    resume: Path | None = None,
) -> None:
    """Train a detector; weights, configuration and TensorBoard logs go to one folder.

    Args:
        data: the clips.
        model: the detector.
        train: the optimisation.
        out: new folder of the run.
        resume: folder of a run to go on with, as it is configured there; other options are refused.
    """
    from .models.zoo import build_detector
    from .training import fit

    if resume is None:
        folder = fit.fit(build_detector(model, seed=train.seed), data, train, out)
    elif RunConfig(data, model, train) != RunConfig():
        raise InputError("--resume must be the only option: a run goes on with the configuration in its folder.")
    else:
        folder = fit.resume(resume)
    log.info("Trained. Next: seqdet evaluate %s", folder)


def evaluate_run(run: Path) -> None:
    """Score a trained run on held-out clips; write metrics.json, demo.mp4 and report.html to its folder.

    Args:
        run: folder written by ``seqdet train``.
    """
    from .inference.evaluate import evaluate, summary

    log.info(summary(evaluate(run), run))


COMMANDS = {"train": train, "evaluate": evaluate_run}


def main(args: list[str] | None = None) -> None:
    """Entry point; ``args`` defaults to the command line."""
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    try:
        auto_cli(COMMANDS, args=args, prog="seqdet", as_positional=True, allow_abbrev=False)
    except InputError as error:
        sys.exit(f"seqdet: error: {error}")
    except Stopped as message:
        log.info("%s", message)
        sys.exit(130)


if __name__ == "__main__":
    main()
