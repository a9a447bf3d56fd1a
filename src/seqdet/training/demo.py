"""A clip of the validation data with truth and detections, in TensorBoard."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from ..structures import Boxes, Clip
from ..viz.tiles import film_strip


class DemoClips(Callback):
    """Shows the start of the validation clips as a film strip, a row a lane, after every n-th validation.

    Args:
        every: validations between two strips; 0 for none.
        frames: the first so many frames are shown...
        moments: ... at so many moments.
    """

    def __init__(self, every: int, *, frames: int = 12, moments: int = 6) -> None:
        self.every, self.frames, self.moments = every, frames, moments
        self.validations = 0
        self.shown: list[tuple[Clip, list[Boxes]]] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.validations += 1
        self.shown = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        is_due = self.every and (self.validations - 1) % self.every == 0
        if is_due and sum(len(clip.frames) for clip, _ in self.shown) < self.frames:
            self.shown.append((outputs["clip"], outputs["detections"]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not self.shown:
            return
        classes, lanes = pl_module.detector.config.classes, self.shown[0][0].frames.shape[1]
        rows = [
            film_strip(self.shown, lane=lane, classes=classes, frames=self.moments, scale=2) for lane in range(lanes)
        ]
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("demo", np.concatenate(rows), trainer.global_step, dataformats="HWC")
