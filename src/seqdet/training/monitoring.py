"""What a training shows on its way: how far it is and how long it takes, curves and pictures in TensorBoard."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams

from ..config import SHOWN_SCORE, RunConfig
from ..config_files import to_dict
from ..progress import Progress, duration
from ..structures import Boxes, Clip
from ..viz.images import painter
from ..viz.tiles import film_strip

log = logging.getLogger(__name__)
WARM_UP_STEPS = 3
"""The first ones, in which loaders start and kernels are chosen: they say nothing about the others."""
SURE_STEPS = 20
SURE_S = 10.0
"""As many steps and as long a time, both, are enough to say how long the rest takes..."""
PATIENCE_S = 30.0
"""... and so are fewer steps that took so long."""
WORTH_SAYING_S = 60.0
"""What takes less has ended before anyone has read how long it takes."""
FINAL_SCORE = "final/validation_AP"
"""The curve of one point by which the tab HParams compares runs: of the detector that is handed out."""
DEMO_FRAMES = 12
DEMO_MOMENTS = 6
"""A demo is of the first so many frames, shown at so many moments."""


class Pace:
    """How long steps and validations take.

    Args:
        steps: of the whole training.
        validate_steps: steps between validations; there is one at the end in any case.
        step: at which it begins.
    """

    def __init__(self, *, steps: int, validate_steps: int, step: int) -> None:
        self.steps = steps
        self.validate_steps = validate_steps
        self.step = step
        self._step_s = self._validation_s = 0.0
        self._measured = self._validations = 0
        self._warm_up = WARM_UP_STEPS

    def add_step(self, seconds: float) -> None:
        """One more step, and what belongs to it: its data, and the checkpoint behind it."""
        self.step += 1
        if self._warm_up:
            self._warm_up -= 1
            return
        self._measured += 1
        self._step_s += seconds

    def add_validation(self, seconds: float) -> None:
        """One more validation."""
        self._validations += 1
        self._validation_s += seconds

    @property
    def is_sure(self) -> bool:
        """Whether enough was seen to say how long the rest takes."""
        enough = self._measured >= SURE_STEPS and self._step_s >= SURE_S
        return enough or (self._measured > 0 and self._step_s >= PATIENCE_S)

    @property
    def seconds_per_step(self) -> float | None:
        """None before one is measured."""
        return self._step_s / self._measured if self._measured else None

    @property
    def validations_left(self) -> int:
        """How many are still to come."""
        is_extra = self.steps % self.validate_steps != 0  # the one at the end
        return self.steps // self.validate_steps - self.step // self.validate_steps + is_extra

    @property
    def left_s(self) -> float | None:
        """How long the rest takes; without validations, until there was one. None before a step is measured."""
        if (seconds := self.seconds_per_step) is None:
            return None
        validation_s = self._validation_s / self._validations if self._validations else 0.0
        return (self.steps - self.step) * seconds + self.validations_left * validation_s

    def sentence(self) -> str:
        """How long the rest takes, and why."""
        assert self.left_s is not None
        count = self.validations_left
        many = f"{count} validation{'s' if count > 1 else ''}"
        ahead = f"{many}, of {duration(self._validation_s / max(self._validations, 1))} each"
        if not self._validations:
            ahead = f"{many}, whose time is not in it"
        return (
            f"About {duration(self.left_s)} to go on this machine: {self.steps - self.step:,} steps at "
            f"{self.seconds_per_step:.2g} s, and {ahead}."
        )


class TrainingProgress(Callback):
    """Shows steps, loss, validation AP and frames a second; says once how long it will take.

    Args:
        frames_per_step: of all processes.
        validate_steps: steps between validations.
    """

    def __init__(self, *, frames_per_step: int, validate_steps: int) -> None:
        self.frames_per_step = frames_per_step
        self.validate_steps = validate_steps
        self._pace: Pace | None = None
        self._bars: list[Progress] = []
        self._since_s = self._validating_since_s = 0.0
        self._has_told = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        self._pace = Pace(steps=trainer.max_steps, validate_steps=self.validate_steps, step=step)
        self._bars.append(Progress("training", unit="step", total=trainer.max_steps, done=step, stays=True))
        self._since_s = monotonic()
        self._has_told = False

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._pace is None or self._pace.step == trainer.global_step:
            return  # in another process, or in the middle of a step
        now = monotonic()
        self._pace.add_step(now - self._since_s)
        self._since_s = now
        self._bars[0].update(facts=self._facts(trainer), left_s=self._pace.left_s)
        if self._pace.is_sure and not self._has_told:
            self._has_told = True
            if (self._pace.left_s or 0) >= WORTH_SAYING_S:
                log.info("%s", self._pace.sentence())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._validating_since_s = monotonic()
        clips = sum(count for count in trainer.num_val_batches if isinstance(count, int))
        self._bars.append(Progress("validating", unit="clip", total=clips))

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self._bars:
            self._bars[-1].update()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._bars.pop().close()
        self._since_s = monotonic()
        seconds = self._since_s - self._validating_since_s
        if self._pace is not None:
            self._pace.add_validation(seconds)
        score = float(trainer.callback_metrics["AP"])
        log.info("Validated after step %d: AP %.3f, in %s.", trainer.global_step, score, duration(seconds))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        """Leave the terminal to what is said next."""
        while self._bars:
            self._bars.pop().close()

    def _facts(self, trainer: Trainer) -> str:
        assert self._pace is not None
        metrics = trainer.callback_metrics
        facts = [f"{name} {float(metrics[name]):.3f}" for name in ("loss", "AP") if name in metrics]
        if seconds := self._pace.seconds_per_step:
            facts.append(f"{self.frames_per_step / seconds:.0f} frames/s")
        return ", ".join(facts)


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
        for part in hparams(dotted(to_dict(config)), {FINAL_SCORE: 0.0}):  # the name alone is written
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


def dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, float | str]:
    """Settings with dots in their names, as the command line spells them: lists with commas, true, nothing for None."""
    found: dict[str, float | str] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            found |= {} if value else {prefix + name: ""}
            found |= dotted(value, f"{prefix}{name}.")
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
    """

    def __init__(self, every: int, *, validate_every: int, steps_per_epoch: int) -> None:
        self.every = every
        self.validate_every = validate_every
        self.steps_per_epoch = steps_per_epoch
        self.shown: list[tuple[Clip, list[Boxes]]] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.shown = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        epoch = trainer.global_step // self.steps_per_epoch
        is_due = self.every and epoch % self.every < self.validate_every
        if is_due and sum(len(clip.frames) for clip, _ in self.shown) < DEMO_FRAMES:
            self.shown.append((outputs["clip"], [boxes.above(SHOWN_SCORE) for boxes in outputs["detections"]]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not self.shown:
            return
        paint = painter(pl_module.detector.input)
        classes = pl_module.detector.classes
        lanes = self.shown[0][0].frames.shape[1]
        rows = [
            film_strip(self.shown, lane=lane, classes=classes, frames=DEMO_MOMENTS, scale=2, paint=paint)
            for lane in range(lanes)
        ]
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("demo", np.concatenate(rows), trainer.global_step, dataformats="HWC")
