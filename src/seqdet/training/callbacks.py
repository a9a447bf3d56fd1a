"""Checkpoints: when they are written, and how."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..checks import Stopped
from ..files import write_bytes
from ..models.weights import save_detector
from ..runs import RunFolder, training_facts
from ..structures import Clip


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are whole or absent, and that are read without unpickling."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(Path(path), buffer.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return torch.load(path, map_location="cpu", weights_only=True)


class Checkpoints(Callback):
    """Keeps ``last.ckpt`` to resume from, ``best.safetensors`` by validation AP, and weights every few steps.

    Args:
        run: where they go.
        facts: about the run, written into every checkpoint.
        every_steps: steps between two versions of ``last.ckpt``; the first is written before the first step. Where a
            validation is due the checkpoint waits for it, so that none is left out when training goes on from there.
        validate_steps: steps between validations.
        keep_steps: steps between weights that stay; 0 for none.
        is_stopped: asked after every step; a checkpoint is written before training stops for it.
    """

    def __init__(
        self,
        run: RunFolder,
        facts: dict[str, Any],
        *,
        every_steps: int,
        validate_steps: int,
        keep_steps: int,
        is_stopped: Callable[[], bool],
    ) -> None:
        self.run, self.facts, self.is_stopped = run, facts, is_stopped
        self.every_steps, self.validate_steps, self.keep_steps = every_steps, validate_steps, keep_steps
        self.best_score: float | None = None
        self.validated_step, self.frames = -1, 0
        self.seconds_before, self.started = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Time trained so far, earlier sessions included."""
        return self.seconds_before + time.monotonic() - self.started

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.monotonic()
        if trainer.ckpt_path is None:
            trainer.save_checkpoint(self.run.last_checkpoint)
        if trainer.is_global_zero:
            self.run.start.unlink(missing_ok=True)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Clip, batch_idx: int) -> None:
        playing = trainer.strategy.reduce((~batch.is_blank).sum(), reduce_op="sum")
        self.frames += len(batch.frames) * int(playing)
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # in the middle of a step
        step = trainer.global_step
        if self.keep_steps and step % self.keep_steps == 0:
            self._keep(trainer, pl_module, self.run.checkpoints / f"step={step:06d}.safetensors")
        if step % self.validate_steps:
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        score = float(trainer.callback_metrics["AP"])
        self.validated_step = trainer.global_step
        if self.best_score is None or score >= self.best_score:
            self.best_score = score
            self._keep(trainer, pl_module, self.run.best_weights)
        if trainer.state.fn == "fit":
            self._save(trainer)

    def _keep(self, trainer: Trainer, pl_module: Any, path: Path) -> None:
        """Write the weights, in one process of all."""
        if trainer.is_global_zero:
            save_detector(pl_module.detector, path)

    def _save(self, trainer: Trainer) -> None:
        """Write the checkpoint if one is due or training shall stop here, which any process may want."""
        step = trainer.global_step
        shall_stop = trainer.strategy.reduce_boolean_decision(self.is_stopped(), all=False)
        if step % self.every_steps == 0 or step == trainer.max_steps or shall_stop:
            trainer.save_checkpoint(self.run.last_checkpoint)
        if shall_stop:
            raise Stopped(f"Stopped after step {step}. Go on with: seqdet train --resume {self.run.root}")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint |= self.facts

    def state_dict(self) -> dict[str, Any]:
        return {
            "best_score": self.best_score,
            "seconds": self.seconds,
            "validated_step": self.validated_step,
            "frames": self.frames,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score, self.seconds_before = state_dict["best_score"], state_dict["seconds"]
        if self.run.is_finished():  # and made longer: its last validation came after its last checkpoint
            last = training_facts(self.run.training).get("validation_AP")
            self.best_score = max((each for each in (self.best_score, last) if each is not None), default=None)
        self.validated_step, self.frames = state_dict["validated_step"], state_dict["frames"]
