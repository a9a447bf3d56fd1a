"""A clip of the validation data with truth and detections, in TensorBoard."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from ..structures import Boxes, Clip
from ..viz.images import painter
from ..viz.tiles import film_strip


class DemoClips(Callback):
    """Shows the start of the validation clips as a film strip, a row a lane.

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
        self.every, self.validate_every, self.steps_per_epoch = every, validate_every, steps_per_epoch
        self.frames, self.moments = frames, moments
        self.shown: list[tuple[Clip, list[Boxes]]] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.shown = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        epoch = trainer.global_step // self.steps_per_epoch
        is_due = self.every and epoch % self.every < self.validate_every
        if is_due and sum(len(clip.frames) for clip, _ in self.shown) < self.frames:
            self.shown.append((outputs["clip"], outputs["detections"]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not self.shown:
            return
        paint = painter(pl_module.detector.input)
        classes, lanes = pl_module.detector.config.classes, self.shown[0][0].frames.shape[1]
        rows = [
            film_strip(self.shown, lane=lane, classes=classes, frames=self.moments, scale=2, paint=paint)
            for lane in range(lanes)
        ]
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("demo", np.concatenate(rows), trainer.global_step, dataformats="HWC")
