"""What Lightning calls during training: one step, one validation, the optimiser and the loaders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from ..checks import InputError
from ..config import DataConfig, TrainConfig
from ..config_files import suggestion
from ..evaluation.coco import CocoEvaluator
from ..loading import TrainingLoader, TrainingOrder, evaluation_loader, open_split
from ..models.detector import Detector
from ..models.layers import detach, reset_lanes
from ..structures import Boxes, Clip, State
from .optimizers import OPTIMIZERS
from .processes import gathered, merged, own_lanes

ADVICE = "Lower train.lr, raise train.warmup_steps, or set train.precision to float32."


class TrainingModule(LightningModule):
    """Truncated backpropagation through time: the state of every lane is carried to the next clip without gradient.

    Args:
        detector: trained in place.
        config: the optimisation.
        steps_per_epoch: for the exponential schedule.
    """

    def __init__(self, detector: Detector, config: TrainConfig, *, steps_per_epoch: int) -> None:
        super().__init__()
        self.detector = detector
        self.config = config
        self.steps_per_epoch = steps_per_epoch
        self.state: State | None = None
        self.validation_state: State | None = None
        self.random_state: Tensor | None = None
        self.evaluator = CocoEvaluator(detector.classes)

    def training_step(self, clip: Clip, batch_index: int) -> Tensor:
        losses, state = self.detector.loss(clip, self.state)
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
        outputs, self.validation_state = self.detector(clip.frames, state)
        detections = self.detector.decode(outputs)
        self.evaluator.add(clip.labelled(clip.boxes), clip.labelled(detections))
        return {"clip": clip, "detections": detections}

    def on_validation_epoch_end(self) -> None:
        scores = merged(self.evaluator).compute()
        self.log("AP", scores.AP or 0.0, prog_bar=True, logger=False, sync_dist=True)
        points = {"validation/AP": scores.AP, "validation/AP50": scores.AP50, "validation/AP75": scores.AP75}
        self._plot({name: value for name, value in points.items() if value is not None})
        self.validation_state = None

    def configure_optimizers(self) -> Any:
        choose = OPTIMIZERS[self.config.optimizer]
        optimizer = choose(self.detector, lr=self.config.lr, weight_decay=self.config.weight_decay)
        factor = learning_rate_factor(self.config, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        """Clip by the norm ourselves: bfloat16 has no scaler, which Lightning expects of a fused optimiser."""
        norm = torch.nn.utils.clip_grad_norm_(self.detector.parameters(), self.config.gradient_clip)
        if not math.isfinite(norm):
            raise InputError(f"The gradient stopped being a number at step {self.global_step}. {ADVICE}")

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
        if self.random_state is not None:
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


def learning_rate_factor(config: TrainConfig, steps_per_epoch: int) -> Callable[[int], float]:
    """The learning rate at a step over its peak: a linear warm-up times the schedule that ``config`` names."""
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


def frozen_parts(module: nn.Module, name: str = "") -> tuple[str, ...]:
    """What ``requires_grad_(False)`` has frozen, as few names as say it: modules, and parameters of others."""
    parameters = list(module.parameters())
    if name and parameters and not any(each.requires_grad for each in parameters):
        return (name,)
    inner = [each for key, child in module.named_children() for each in frozen_parts(child, _join(name, key))]
    own = [_join(name, key) for key, each in module.named_parameters(recurse=False) if not each.requires_grad]
    return (*own, *inner)


def freeze(module: nn.Module, parts: Iterable[str]) -> None:
    """Have the parameters of these names, or below them, not learnt.

    Raises:
        InputError: if a name is none of the detector's, or nothing is left to learn.
    """
    names = [name for name, _ in module.named_parameters()]
    for part in parts:
        chosen = [each for name, each in module.named_parameters() if _is_within(name, part)]
        if not chosen:
            known = {prefix for name in names for prefix in _prefixes(name)}
            raise InputError(
                f"train.freeze must name parts of the detector, such as {names[0].partition('.')[0]}, got {part!r}."
                f"{suggestion(part, known)}"
            )
        for parameter in chosen:
            parameter.requires_grad_(False)
    if not any(each.requires_grad for each in module.parameters()):
        raise InputError("train.freeze must leave something to learn, and all of the detector is frozen.")


def rest(module: nn.Module, parts: Iterable[str]) -> None:
    """Put the modules of these names in evaluation mode: statistics of batch norm are not learnt either."""
    for part in parts:
        for name, inner in module.named_modules():
            if name and _is_within(name, part):
                inner.eval()


def _is_within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _prefixes(name: str) -> Iterator[str]:
    words = name.split(".")
    return (".".join(words[: n + 1]) for n in range(len(words)))
