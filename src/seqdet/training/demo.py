"""A clip of the validation data with truth and detections, in TensorBoard."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from ..viz.tiles import film_strip


class DemoClips(Callback):
    """Shows the first validation clip as a film strip, a row a lane, after every n-th validation.

    Args:
        every: validations between two clips; 0 for none.
        frames: moments of the clip that are shown.
    """

    def __init__(self, every: int, *, frames: int = 6) -> None:
        self.every, self.frames = every, frames
        self.validations = 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.validations += 1

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx or not self.every or (self.validations - 1) % self.every:
            return
        clip, detections = outputs["clip"], outputs["detections"]
        rows = [
            film_strip(
                clip, detections, lane=lane, classes=pl_module.detector.config.classes, frames=self.frames, scale=2
            )
            for lane in range(clip.frames.shape[1])
        ]
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("demo", np.concatenate(rows), trainer.global_step, dataformats="HWC")
