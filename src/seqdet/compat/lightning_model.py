"""The model of the tutorial: built from a Namespace, trained by a plain Lightning Trainer."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import ExponentialLR

from ..checks import InputError, check_choice
from ..config import SHOWN_SCORE, VanillaConfig
from ..config_files import from_dict
from ..data.dataset import Split
from ..evaluation.coco import CocoEvaluator
from ..models.zoo import build_detector
from ..structures import Boxes, Clip
from ..viz.tiles import play
from ..viz.video import write_video
from .boxes import ANCHORS, LABEL_OFFSET
from .moving_mnist import MovingMNISTLoader, open_moving_mnist
from .networks import StatefulDetector

lightning: Any = sys.modules.get("pytorch_lightning") or import_module("lightning.pytorch")
"""Lightning goes by two names, and a Trainer of one refuses modules of the other: the one imported already counts."""

DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "feature_extractor": "Vanilla",
    "feature_base": 16,
    "feature_channels_out": 256,
    "anchor_list": "PSEE_ANCHORS",
    "act": "softmax",
    "loss": "_focal_loss",
    "classes": [str(digit) for digit in range(10)],
    "dataset_path": "toy_problem",
    "preprocess": "none",
    "lr": 1e-3,
    "lr_scheduler_step_gamma": 0.98,
    "num_tbins": 12,
    "batch_size": 4,
    "height": 128,
    "width": 128,
    "max_frames_per_epoch": 8000,
    "delta_t": 50_000,
    "skip_us": 0,
    "demo_every": 2,
    "max_boxes_per_input": 500,
    "root_dir": ".",
    "num_workers": 0,
    "verbose": False,
}
"""What a Namespace need not say. The learning rate falls by ``lr_scheduler_step_gamma`` after every epoch; the first
``skip_us`` microseconds of a recording give no loss and no score."""
KPIS = {"": "AP", "50": "AP50", "75": "AP75", "_small": "AP_small", "_medium": "AP_medium", "_big": "AP_large"}
DEMO_FRAMES = 72
DEMO_FPS = 10
COUNTED_SCORE = 0.05


class LightningDetectionModel(lightning.LightningModule):
    """A recurrent detector with its data, loss, optimiser and validation.

    Logs ``mean_ap``, ``mean_ap50``, ``mean_ap75``, ``mean_ap_small``, ``mean_ap_medium`` and ``mean_ap_big``, with
    ``verbose`` also ``mean_ap_<class>``, and writes ``root_dir/videos/epoch=<n>.mp4``.

    Args:
        hparams: settings as in ``DEFAULTS``; others are kept and ignored.

    Raises:
        InputError: if a setting has a value that is not known.
    """

    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        super().__init__()
        given = dict(hparams) if isinstance(hparams, Mapping) else vars(hparams)
        hparams = DEFAULTS | {name: _plain(value) for name, value in given.items()}
        self.save_hyperparameters(hparams)
        _check(self.hparams)
        self.detector = StatefulDetector(build_detector(_model_config(self.hparams)))
        self.label_map = ["background", *self.hparams["classes"]]
        self.evaluator = CocoEvaluator(self.hparams["classes"])
        self.shown: list[tuple[Clip, list[Boxes]]] = []
        self.state_of_training: tuple[Any, ...] = (None, ())

    def train_dataloader(self) -> MovingMNISTLoader:
        loader = self._loader("train")
        loader.epoch = self.current_epoch
        return loader

    def val_dataloader(self) -> MovingMNISTLoader:
        return self._loader("validation")

    def test_dataloader(self) -> MovingMNISTLoader:
        return self._loader("test")

    def configure_optimizers(self) -> Any:
        optimizer = Adam(self.parameters(), lr=self.hparams["lr"])
        return [optimizer], [ExponentialLR(optimizer, self.hparams["lr_scheduler_step_gamma"])]

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.detector.reset(batch["mask_keep_memory"])
        losses = self.detector.compute_loss(self._clip(batch))
        loss = torch.stack(list(losses.values())).sum()
        lanes = batch["inputs"].shape[1]
        self.log_dict({f"train_{name}": value.detach() for name, value in losses.items()}, batch_size=lanes)
        self.log("train_loss", loss.detach(), prog_bar=True, batch_size=lanes)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.detector.reset(batch["mask_keep_memory"])
        clip = self._clip(batch)
        found = self.detector.detect(
            batch["inputs"], score=COUNTED_SCORE, candidates=self.hparams["max_boxes_per_input"]
        )
        self.evaluator.add(clip.labelled(clip.boxes), clip.labelled(found))
        if sum(len(shown.frames) for shown, _ in self.shown) < DEMO_FRAMES:
            self.shown.append((clip, [boxes.above(SHOWN_SCORE) for boxes in found]))

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_start(self) -> None:
        self.state_of_training = self.detector.state, self.detector.size
        self.detector.reset_all()
        self.evaluator = CocoEvaluator(self.hparams["classes"])
        self.shown = []

    def on_validation_epoch_end(self) -> None:
        scores = self.evaluator.compute()
        logged = {f"mean_ap{suffix}": getattr(scores, name) for suffix, name in KPIS.items()}
        if self.hparams["verbose"]:
            logged |= {f"mean_ap_{name}": of_class.AP for name, of_class in scores.per_class.items()}
        self.log_dict({name: -1.0 if value is None else value for name, value in logged.items()})
        every = self.hparams["demo_every"]
        if every and not self.trainer.sanity_checking and (self.current_epoch + 1) % every == 0:
            self.demo_video()
        self.detector.state, self.detector.size = self.state_of_training

    def on_test_epoch_start(self) -> None:
        self.on_validation_epoch_start()

    def on_test_epoch_end(self) -> None:
        self.on_validation_epoch_end()

    def demo_video(self) -> Path:
        """Write the first clips of the last validation with truth and detections, and return the file."""
        folder = Path(self.hparams["root_dir"]) / "videos"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"epoch={self.current_epoch}.mp4"
        classes = self.hparams["classes"]
        pictures = (image for clip, found in self.shown for image in play(clip, found, classes=classes, columns=4))
        write_video(path, pictures, fps=DEMO_FPS)
        return path

    def _loader(self, split: Split) -> MovingMNISTLoader:
        names = ("height", "width", "num_workers", "batch_size", "max_frames_per_epoch")
        settings = {name: self.hparams[name] for name in names}
        bins = self.hparams["num_tbins"]
        return open_moving_mnist(split, tbins=bins, max_frames_per_video=max(80, bins), **settings)

    def _clip(self, batch: dict[str, Any]) -> Clip:
        """The batch as a clip; labels of frames that are skipped do not count."""
        time, lanes = batch["frame_is_labeled"].shape
        starts = torch.tensor([start for _, start, _ in batch["video_infos"]])
        steps = torch.tensor([info.delta_t for info, _, _ in batch["video_infos"]])
        end_us = starts + (torch.arange(time)[:, None] + 1) * steps
        is_late = (end_us > self.hparams["skip_us"]).to(self.device)
        return Clip(
            frames=batch["inputs"],
            is_first=batch["mask_keep_memory"].reshape(lanes) == 0,
            is_blank=torch.tensor([info.padding for info, _, _ in batch["video_infos"]]),
            is_labelled=batch["frame_is_labeled"] & is_late,
            boxes=[Boxes(rows[:, :4], rows[:, 4].long() - LABEL_OFFSET) for frame in batch["labels"] for rows in frame],
            recordings=torch.arange(lanes),
            end_us=end_us,
        )


def _plain(value: Any) -> Any:
    """The value as a checkpoint can hold it that is read without unpickling."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def _check(hparams: Mapping[str, Any]) -> None:
    check_choice(hparams["feature_extractor"], ["Vanilla"], "feature_extractor")
    check_choice(hparams["anchor_list"], ANCHORS, "anchor_list")
    check_choice(hparams["loss"], ["_focal_loss"], "loss")
    if hparams["dataset_path"] != "toy_problem":
        raise InputError(f"dataset_path must be 'toy_problem', got {hparams['dataset_path']!r}.")
    if list(hparams["classes"]) != DEFAULTS["classes"]:
        raise InputError(f"classes of the toy problem must be {DEFAULTS['classes']}, got {hparams['classes']}.")


def _model_config(hparams: Mapping[str, Any]) -> VanillaConfig:
    values = {
        "classes": hparams["classes"],
        "in_channels": hparams["in_channels"],
        "base": hparams["feature_base"],
        "channels": hparams["feature_channels_out"],
        "anchors": ANCHORS[hparams["anchor_list"]],
        "activation": hparams["act"],
        "box_loss": "smooth_l1",
        "box_weight": 1.0,
    }
    return from_dict(VanillaConfig, values, name="hparams")
