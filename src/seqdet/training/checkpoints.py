"""Checkpoints: when they are written, and how they are read again."""

from __future__ import annotations

import io
import logging
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..checks import InputError, Stopped, proposed
from ..config import RunConfig
from ..config_files import from_dict, to_dict
from ..files import write_bytes
from ..models.weights import save_detector
from ..runs import RunFolder, training_facts
from ..structures import Clip
from .module import ENDS

log = logging.getLogger(__name__)
CONTENT = {"global_step", "recurrent_state", "random_state", "state_dict", "optimizer_states", "config", "precision"}
"""What a checkpoint must hold."""
FREE = {
    "data.workers",
    "data.dataset.cache_gb",
    "data.dataset.compression",
    "data.dataset.tensors",
    *(f"train.{name}" for name in ("device", "processes", "checkpoint_steps", "keep_epochs", "demo_epochs")),
}
"""Settings that may differ when a run goes on: the batches and what is learnt from them do not depend on them."""


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are whole or absent, and that are read without unpickling.

    Args:
        callbacks: of the training; the state of others is not read.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        super().__init__()
        self.callbacks = callbacks

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        for name, state in checkpoint.get("callbacks", {}).items():
            if not _is_plain(state):
                raise InputError(
                    f"callbacks must keep tensors, numbers and texts in their state_dict, as checkpoints are read "
                    f"without unpickling, and {name} keeps something else."
                )
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)  # those of others go where these say
        write_bytes(Path(path), buffer.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        content = torch.load(path, map_location="cpu", weights_only=True)
        states = content["callbacks"]
        for name in states.keys() - {each.state_key for each in self.callbacks}:
            log.warning("The run goes on without the callback %s, with which it began.", name)
            del states[name]
        return content


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
        self.run = run
        self.facts = facts
        self.is_stopped = is_stopped
        self.every_steps = every_steps
        self.validate_steps = validate_steps
        self.keep_steps = keep_steps
        self.best_score: float | None = None
        self.validated_step = -1
        self.frames = 0
        self.seconds_before = 0.0
        self.started = time.monotonic()

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
            save_detector(pl_module.result, path)

    def _save(self, trainer: Trainer) -> None:
        """Write the checkpoint if one is due or training shall stop here, which any process may want."""
        step = trainer.global_step
        shall_stop = trainer.strategy.reduce_boolean_decision(self.is_stopped(), all=False)
        if step % self.every_steps == 0 or step == trainer.max_steps or shall_stop or trainer.should_stop:
            trainer.save_checkpoint(self.run.last_checkpoint)
        if shall_stop:
            raise Stopped(f"Stopped after step {step}. Go on with: {proposed('train', '--resume', self.run.root)}")

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
        self.best_score = state_dict["best_score"]
        self.seconds_before = state_dict["seconds"]
        if self.run.is_finished():  # and made longer: its last validation came after its last checkpoint
            last = training_facts(self.run.training).get("validation_AP")
            self.best_score = max((each for each in (self.best_score, last) if each is not None), default=None)
        self.validated_step = state_dict["validated_step"]
        self.frames = state_dict["frames"]


def read_checkpoint(
    checkpoint: Path, config: RunConfig, *, names: set[str], has_criterion: bool = False
) -> dict[str, Any]:
    """What a run of this configuration, whose weights have these names, wrote to go on from.

    Args:
        checkpoint: the file, in the folder of its run.
        config: of the run now.
        names: of the tensors that the training module has.
        has_criterion: whether the run goes on with a loss of the user's.

    Raises:
        InputError: if it is damaged, or of a run that was configured in another way.
    """
    damaged = InputError(f"{checkpoint} must be a checkpoint of seqdet; it is damaged or of another kind.")
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            if archive.testzip() is not None:  # torch reads over a flipped bit
                raise zipfile.BadZipFile("a checksum does not fit")
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch have many ways to say that a file is damaged
        raise damaged from error
    if not (isinstance(content, dict) and content.keys() >= CONTENT):
        raise damaged
    if content.get("has_criterion", False) != has_criterion:
        run = checkpoint.parents[1]
        raise InputError(
            f"criterion must not be given to go on with {run}, which learns by the loss of its head. Start a new run "
            "for another loss."
            if has_criterion
            else f"criterion must be given to go on with {run}, which learns by one of yours and not by the loss of "
            "its head: seqdet.resume(folder, criterion=...)."
        )
    before = to_dict(from_dict(RunConfig, content["config"], name=str(checkpoint)))
    free = FREE | ({"train.max_steps"} if config.train.schedule not in ENDS else set())
    if changed := [each for each in _changed(before, to_dict(config)) if each[0] not in free]:
        name, before, after = changed[0]
        raise InputError(
            f"{checkpoint.parents[1] / 'config.yaml'} must be as it was when the run started: {name} was {before}, and "
            f"is {after}. Start a new run for another configuration."
        )
    if set(content["state_dict"]) != names:
        raise damaged
    if content["global_step"] > config.train.max_steps:
        raise InputError(
            f"train.max_steps must be at least the {content['global_step']} steps that {checkpoint} has, "
            f"got {config.train.max_steps}."
        )
    return content


def _is_plain(state: Any) -> bool:
    """Whether the state of a callback can be read again without unpickling."""
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except Exception:  # whatever its objects raise when they are pickled
        return False
    return True


def _changed(before: Any, after: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Name, earlier and present value of every setting that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = before.keys() | after.keys()
        pairs = ((f"{name}.{key}".lstrip("."), before.get(key), after.get(key)) for key in sorted(keys))
        return [change for path, one, other in pairs for change in _changed(one, other, path)]
    return [(name, before, after)] if before != after else []
