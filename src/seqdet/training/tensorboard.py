"""What TensorBoard shows of a training, and what becomes of one when that cannot be written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams

from ..config import SHOWN_SCORE, RunConfig
from ..config_files import to_dict
from ..structures import Boxes, Clip
from ..viz.images import painter
from ..viz.tiles import film_strip

log = logging.getLogger(__name__)
FINAL_SCORE = "final/validation_AP"
"""The curve of one point by which the tab HParams compares runs: of the detector that is handed out."""


class Curves(TensorBoardLogger):
    """Curves that raise ``OSError`` if they cannot be written; of the last points one line tells."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        try:
            super().log_metrics(metrics, step)
        except ValueError as error:  # in which Lightning wraps whatever there was
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise

    @rank_zero_only
    def log_configuration(self, config: RunConfig) -> None:
        """Show the settings in the tab HParams, beside the final score once there is one."""
        for part in hparams(flat(to_dict(config)), {FINAL_SCORE: 0.0}):  # the name alone is written
            self.experiment._get_file_writer().add_summary(part)

    def log_final_score(self, score: float, step: int) -> None:
        """Show the score of the finished run in the tab HParams."""
        self.log_metrics({FINAL_SCORE: score}, step)
        self.finalize("success")

    def save(self) -> None:
        """Without a file of settings: ``config.yaml`` has them, and a run of others could have a link there."""
        self.experiment.flush()

    def finalize(self, status: str) -> None:
        try:
            super().finalize(status)
        except OSError as error:
            if status == "success":  # otherwise the training ends in this or another error, which is told
                log.warning("%s cannot be written to the end: %s.", self.log_dir, error.strerror)


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, float | str]:
    """Settings with dots in their names, as the command line spells them: lists with commas, true, nothing for None."""
    found: dict[str, float | str] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            found[prefix + name] = str(value).lower()
        elif isinstance(value, list):
            found[prefix + name] = ",".join(map(str, value))
        else:
            found[prefix + name] = "" if value is None else value
    return found


@contextmanager
def quiet_writer() -> Iterator[None]:
    """Within the block the thread that writes curves ends without a traceback: the next point raises its error."""

    def hear(end: threading.ExceptHookArgs) -> None:
        if not (isinstance(end.exc_value, OSError) and type(end.thread).__module__.startswith("tensorboard.")):
            before(end)

    before = threading.excepthook
    threading.excepthook = hear
    try:
        yield
    finally:
        threading.excepthook = before


class DemoClips(Callback):
    """Shows the start of the validation clips, with truth and detections, as a film strip, a row a lane.

    Args:
        every: epochs between two strips; 0 for none.
        validate_every: epochs between two validations; a strip that is due waits for the next.
        steps_per_epoch: optimiser steps.
        frames: the first so many frames are shown...
        moments: ... at so many moments.
    """

    def __init__(
        self, every: int, *, validate_every: int, steps_per_epoch: int, frames: int = 12, moments: int = 6
    ) -> None:
        self.every = every
        self.validate_every = validate_every
        self.steps_per_epoch = steps_per_epoch
        self.frames = frames
        self.moments = moments
        self.shown: list[tuple[Clip, list[Boxes]]] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.shown = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        epoch = trainer.global_step // self.steps_per_epoch
        is_due = self.every and epoch % self.every < self.validate_every
        if is_due and sum(len(clip.frames) for clip, _ in self.shown) < self.frames:
            self.shown.append((outputs["clip"], [boxes.above(SHOWN_SCORE) for boxes in outputs["detections"]]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not self.shown:
            return
        paint = painter(pl_module.detector.input)
        classes = pl_module.detector.config.classes
        lanes = self.shown[0][0].frames.shape[1]
        rows = [
            film_strip(self.shown, lane=lane, classes=classes, frames=self.moments, scale=2, paint=paint)
            for lane in range(lanes)
        ]
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("demo", np.concatenate(rows), trainer.global_step, dataformats="HWC")
