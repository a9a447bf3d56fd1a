"""What Lightning calls during training: one step, one validation, the optimiser and the loaders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from ..checks import InputError
from ..config import DataConfig, TrainConfig
from ..evaluation.coco import CocoEvaluator
from ..loading import TrainingLoader, TrainingOrder, evaluation_loader, open_split
from ..models.detector import Detector, LossFunction
from ..models.layers import detach, reset_lanes
from ..structures import Boxes, Clip, State
from .averaging import averaged, move_average
from .optimizers import OPTIMIZERS
from .parts import rest
from .processes import gathered, merged, own_lanes

ENDS = {"cosine": "nothing", "one_cycle": "a ten-thousandth of its peak"}
"""Where the learning rate ends by those schedules that have an end of their own, at ``max_steps``."""
FIRST_RATE = 1 / 20
LAST_RATE = 1 / 10_000
"""Over the peak, of the schedule one_cycle: those of RVT (arXiv 2212.05598)."""
ADVICE = "Lower train.lr, raise train.warmup_steps, or set train.precision to float32."


class TrainingModule(LightningModule):
    """Truncated backpropagation through time: the state of every lane is carried to the next clip without gradient.

    Args:
        detector: trained in place.
        config: the optimisation.
        steps_per_epoch: for the exponential schedule.
        criterion: what is learnt, in place of the loss of the head.
    """

    def __init__(
        self, detector: Detector, config: TrainConfig, *, steps_per_epoch: int, criterion: LossFunction | None = None
    ) -> None:
        super().__init__()
        self.detector = detector
        self.average = averaged(detector) if config.ema else None
        self.criterion = criterion
        self.config = config
        self.steps_per_epoch = steps_per_epoch
        self.state: State | None = None
        self.validation_state: State | None = None
        self.random_state: Tensor | None = None
        self.evaluator = CocoEvaluator(detector.classes)

    @property
    def result(self) -> Detector:
        """What is validated and handed out: the detector with the average of its weights, if there is one."""
        return self.detector if self.average is None else self.average

    def training_step(self, clip: Clip, batch_index: int) -> Tensor:
        losses, state = self.detector.loss(clip, self.state, criterion=self.criterion)
        if self.criterion is not None:
            _check_losses(losses)
        self.state = detach(state)
        total = torch.stack(list(losses.values())).sum()
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        self._stop_unless_finite(values, clip, batch_index)
        self.log("loss", float(self.trainer.strategy.reduce(total.detach().clone())), prog_bar=True, logger=False)
        if self.global_step % self.config.log_steps == 0:
            means = {name: float(self.trainer.strategy.reduce(loss.detach().clone())) for name, loss in losses.items()}
            points = {f"loss/{name}": value for name, value in means.items()}
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            self._plot({"loss/total": sum(means.values()), **points, "lr": rate})
        return total

    def on_validation_epoch_start(self) -> None:
        self.validation_state = None
        self.evaluator = CocoEvaluator(self.detector.classes)

    def validation_step(self, clip: Clip, batch_index: int) -> dict[str, Clip | list[Boxes]]:
        state = reset_lanes(self.validation_state, clip.is_first)
        outputs, self.validation_state = self.result(clip.frames, state)
        detections = self.result.decode(outputs)
        self.evaluator.add(clip.labelled(clip.boxes), clip.labelled(detections))
        return {"clip": clip, "detections": detections}

    def on_validation_epoch_end(self) -> None:
        scores = merged(self.evaluator).compute()
        self.log("AP", scores.AP or 0.0, prog_bar=True, logger=False, sync_dist=True)
        points = {"validation/AP": scores.AP, "validation/AP50": scores.AP50, "validation/AP75": scores.AP75}
        self._plot({name: value for name, value in points.items() if value is not None})
        self.validation_state = None

    def configure_optimizers(self) -> Any:
        optimizer = OPTIMIZERS[self.config.optimizer](
            self.detector,
            lr=self.config.lr,
            weight_decay=self.config.weight_decay,
            lr_factors=self.config.lr_factors,
        )
        factor = learning_rate_factor(self.config, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        """Clip ourselves, entries and then the norm: bfloat16 has no scaler, which Lightning expects of a fused
        optimiser."""
        parameters = list(self.detector.parameters())
        norm = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
        if not math.isfinite(norm):
            raise InputError(f"The gradient stopped being a number at step {self.global_step}. {ADVICE}")
        if self.config.gradient_clip_value is not None:
            nn.utils.clip_grad_value_(parameters, self.config.gradient_clip_value)
            norm = nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
        nn.utils.clip_grads_with_norm_(parameters, self.config.gradient_clip, norm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        steps = self.global_step
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            move_average(self.average, self.detector, keep=self.config.ema, steps=steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recurrent_state"] = gathered(self.state)
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.state = checkpoint["recurrent_state"]
        self.random_state = checkpoint["random_state"]
        # The last batch of a run that was finished is not the last one of a longer run.
        checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = False

    def on_train_start(self) -> None:
        rest(self.detector, self.config.freeze)  # Lightning keeps the mode of every module from here on
        if self.state is not None:
            mine = own_lanes(self.state, self.trainer.global_rank, self.trainer.world_size)
            self.state = tuple(tensor.to(self.device) for tensor in mine)
        if self.random_state is None:
            torch.default_generator.manual_seed(self.config.seed)  # what a loss draws is the same in every such run
        else:
            torch.set_rng_state(self.random_state)

    def _plot(self, points: dict[str, float]) -> None:
        for logger in self.loggers:
            logger.log_metrics(points, step=self.global_step)

    def _stop_unless_finite(self, losses: dict[str, float], clip: Clip, batch_index: int) -> None:
        broken = [name for name, loss in losses.items() if not math.isfinite(loss)]
        if broken:
            raise InputError(
                f"The loss of the {' and '.join(broken)} stopped being a number at step {self.global_step} "
                f"(epoch {batch_index // (self.steps_per_epoch * self.config.accumulate)}, recordings "
                f"{clip.recordings.tolist()}). {ADVICE}"
            )


def _check_losses(losses: Any) -> None:
    """Raise unless a criterion has returned what can be learnt from."""
    if not isinstance(losses, dict) or not losses:
        found = "an empty dict" if isinstance(losses, dict) else _kind(losses)
        raise InputError(f"criterion must return a dict of scalar tensors, the losses by name, got {found}.")
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.ndim:
            raise InputError(
                f"criterion must return a dict of scalar tensors, the losses by name, got {_kind(loss)} for {name!r}."
            )
    if not any(loss.requires_grad for loss in losses.values()):
        raise InputError(
            f"criterion must return losses that are computed from the outputs, with gradient, and {', '.join(losses)} "
            "has none: leave out detach() and the like; where nothing is to be learnt, give 0 * (a sum of the outputs)."
        )


def _kind(value: Any) -> str:
    """What it is, without its numbers."""
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    return f"a {type(value).__name__}{shape}"


def learning_rate_factor(config: TrainConfig, steps_per_epoch: int) -> Callable[[int], float]:
    """The learning rate at a step over its peak: a linear warm-up times the schedule that ``config`` names.

    ``one_cycle`` has a warm-up of its own.
    """
    if config.schedule == "one_cycle":
        rates = {0: FIRST_RATE, config.warmup_steps: 1.0, config.max_steps: LAST_RATE}  # a warm-up of 0 begins at 1
        return lambda step: float(np.interp(step, list(rates), list(rates.values())))
    falls: dict[str, Callable[[int], float]] = {
        "cosine": lambda step: 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / config.max_steps)),
        "exponential": lambda step: config.decay ** (step // steps_per_epoch),
        "constant": lambda step: 1.0,
    }
    fall = falls[config.schedule]
    return lambda step: min(1.0, (step + 1) / (config.warmup_steps + 1)) * fall(step)


class ClipDataModule(LightningDataModule):
    """Training batches as one long sequence over all epochs, so that it can be resumed anywhere; validation clips.

    Args:
        config: the data.
        batches: training batches in all.
    """

    def __init__(self, config: DataConfig, *, batches: int) -> None:
        super().__init__()
        self.config = config
        self.batches = batches
        self.dataset = open_split(config, "train")

    def order(self, rank: int = 0, ranks: int = 1) -> TrainingOrder:
        """The cues of one of ``ranks`` processes."""
        return TrainingOrder(self.config, self.dataset.weights, steps=self.batches, rank=rank, ranks=ranks)

    def train_dataloader(self) -> TrainingLoader:
        return TrainingLoader(self.dataset, self.order(*self._place), workers=self.config.workers)

    def val_dataloader(self) -> DataLoader[Clip]:
        rank, ranks = self._place
        return evaluation_loader(self.config, "validation", rank=rank, ranks=ranks)

    @property
    def _place(self) -> tuple[int, int]:
        """The number of this process, and how many there are."""
        assert self.trainer is not None
        return self.trainer.global_rank, self.trainer.world_size

    def transfer_batch_to_device(self, batch: Clip, device: torch.device, dataloader_idx: int) -> Clip:
        return batch.to(device)
