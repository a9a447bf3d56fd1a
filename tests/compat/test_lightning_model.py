from __future__ import annotations

import argparse
from pathlib import Path

import av
import lightning
import numpy as np
import pytest
import torch
from seqdet.compat.metavision_ml.detection.lightning_model import LightningDetectionModel
from seqdet.compat.metavision_ml.utils.main_tools import search_latest_checkpoint

from seqdet.checks import InputError

DIGITS = [str(digit) for digit in range(10)]


def tutorial(root: Path, **changes: object) -> argparse.Namespace:
    """The settings of the tutorial, on a small model and few frames."""
    settings = {
        "in_channels": 3, "feature_base": 2, "feature_channels_out": 8, "anchor_list": "MNIST_ANCHORS",
        "loss": "_focal_loss", "act": "softmax", "feature_extractor": "Vanilla", "classes": DIGITS,
        "dataset_path": "toy_problem", "lr": 1e-3, "lr_scheduler_step_gamma": 0.98, "num_tbins": 4, "batch_size": 2,
        "height": 128, "width": 128, "max_frames_per_epoch": 160, "skip_us": 0, "demo_every": 2, "preprocess": "none",
        "max_boxes_per_input": 500, "delta_t": 50000, "root_dir": root, "num_workers": 0, "max_epochs": 2,
        "precision": 16, "verbose": False,
    }  # fmt: skip
    return argparse.Namespace(**(settings | changes))


def trainer(root: Path, epochs: int) -> lightning.Trainer:
    checkpoints = lightning.pytorch.callbacks.ModelCheckpoint(
        dirpath=root / "checkpoints", save_top_k=-1, every_n_epochs=1
    )
    return lightning.Trainer(
        max_epochs=epochs,
        callbacks=[checkpoints],
        logger=lightning.pytorch.loggers.TensorBoardLogger(root / "logs"),
        accelerator="cpu",
        log_every_n_steps=5,
        limit_train_batches=5,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, lightning.Trainer, LightningDetectionModel]:
    root = tmp_path_factory.mktemp("tutorial")
    torch.manual_seed(0)
    model = LightningDetectionModel(tutorial(root, verbose=True))
    fitter = trainer(root, 2)
    fitter.fit(model)
    return root, fitter, model


def test_a_plain_trainer_logs_the_kpis_by_their_names(trained):
    _, fitter, _ = trained
    kpis = {f"mean_ap{suffix}" for suffix in ("", "50", "75", "_small", "_medium", "_big")}
    assert kpis | {f"mean_ap_{digit}" for digit in DIGITS} | {"train_loss"} <= set(fitter.logged_metrics)
    assert 0 <= fitter.logged_metrics["mean_ap"] <= 1
    assert fitter.logged_metrics["mean_ap_big"] == -1  # there are no such boxes


def test_the_learning_rate_falls_after_every_epoch(trained):
    _, fitter, _ = trained
    assert fitter.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-3 * 0.98**2)


def test_a_demo_video_is_written_every_so_many_epochs(trained):
    root, _, _ = trained
    assert [path.name for path in (root / "videos").iterdir()] == ["epoch=1.mp4"]
    with av.open(str(root / "videos" / "epoch=1.mp4")) as video:
        assert len(list(video.decode(video=0))) == 72


def test_the_checkpoint_gives_the_model_back_without_unpickling(trained):
    root, _, model = trained
    path = search_latest_checkpoint(root)
    assert Path(path).name.startswith("epoch=1-step=")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    again = LightningDetectionModel(argparse.Namespace(**checkpoint["hyper_parameters"]))
    again.load_state_dict(checkpoint["state_dict"])
    x = torch.rand(3, 2, 3, 128, 128)
    found = []
    for each in (model, again):
        each.eval()
        each.detector.reset(torch.zeros(2))
        found.append(each.detector.get_boxes(x, score_thresh=0.02))
    assert (len(found[0]), len(found[0][0])) == (3, 2)
    for frame, other in zip(*found, strict=True):
        for boxes, same in zip(frame, other, strict=True):
            assert set(boxes) == {"boxes", "labels", "scores"}
            for name, column in boxes.items():
                assert (column is None and same[name] is None) or torch.equal(column, same[name])


def test_labels_start_behind_the_background_and_nothing_found_is_none(trained):
    _, _, model = trained
    model.eval()
    model.detector.reset_all()
    x = torch.rand(2, 2, 3, 128, 128)
    many = model.detector.get_boxes(x, score_thresh=0.0)
    assert many[0][0]["boxes"].shape == (len(many[0][0]["labels"]), 4)
    assert {label for frame in many for boxes in frame for label in boxes["labels"].tolist()} <= set(range(1, 11))
    assert model.label_map == ["background", *DIGITS]
    none = model.detector.get_boxes(x, score_thresh=1.1)
    assert none[1][1] == {"boxes": None, "labels": None, "scores": None}


def test_a_mask_of_zero_makes_training_forget(tmp_path):
    torch.manual_seed(0)
    model = LightningDetectionModel(tutorial(tmp_path))
    model.log = model.log_dict = lambda *args, **kwargs: None
    batch = next(iter(model.train_dataloader()))
    fresh = model.training_step(batch, 0)
    carried = model.training_step(batch | {"mask_keep_memory": torch.ones(2, 1, 1, 1)}, 1)
    again = model.training_step(batch, 2)
    assert again == fresh
    assert carried != fresh


def test_the_kpis_are_those_of_the_evaluator(trained):
    _, fitter, model = trained
    scores = model.evaluator.compute()
    for suffix, name in {"": "AP", "50": "AP50", "75": "AP75", "_small": "AP_small", "_medium": "AP_medium"}.items():
        assert float(fitter.logged_metrics[f"mean_ap{suffix}"]) == pytest.approx(getattr(scores, name))


def test_settings_reach_the_detector(tmp_path):
    made = {act: LightningDetectionModel(tutorial(tmp_path, act=act)).detector.core for act in ("softmax", "sigmoid")}
    assert (made["softmax"].head.logits, made["sigmoid"].head.logits) == (11, 10)
    assert made["softmax"].head.anchors.per_cell == 4
    psee = LightningDetectionModel(tutorial(tmp_path, anchor_list="PSEE_ANCHORS"))
    assert psee.detector.core.head.anchors.per_cell == 6


def test_thresholds_and_caps_reach_the_decoding_and_the_mode_stays(tmp_path):
    torch.manual_seed(0)
    model = LightningDetectionModel(tutorial(tmp_path))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.rand(1, 1, 3, 128, 128)

    def found(**options):
        model.detector.reset_all()
        return len(model.detector.get_boxes(x, score_thresh=0.0, **options)[0][0]["boxes"])

    assert found(max_boxes_per_input=300, nms_thresh=1.0) == 300
    assert found(nms_thresh=0.1) < found(nms_thresh=0.9)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_validation_digits_are_not_test_digits(tmp_path):
    model = LightningDetectionModel(tutorial(tmp_path))
    assert model.val_dataloader().dataset.split == "validation"
    assert model.test_dataloader().dataset.split == "test"


def test_lightning_loads_a_checkpoint_by_itself(trained):
    root, _, model = trained
    path = search_latest_checkpoint(root)
    again = LightningDetectionModel.load_from_checkpoint(path, weights_only=True)
    assert again.hparams == model.hparams
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_a_run_that_goes_on_shows_the_videos_of_its_epoch(tmp_path):
    seen = []

    class Watch(lightning.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append(batch["inputs"].sum())

    def fitted(epochs: int, **options: object) -> tuple[lightning.Trainer, LightningDetectionModel]:
        fitter = lightning.Trainer(
            max_epochs=epochs, callbacks=[Watch()], logger=False, enable_checkpointing=False, accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, limit_train_batches=3,
            limit_val_batches=1,
        )  # fmt: skip
        model = LightningDetectionModel(tutorial(tmp_path, demo_every=0, max_frames_per_epoch=80))
        fitter.fit(model, **options)
        return fitter, model

    first, _ = fitted(1)
    first.save_checkpoint(tmp_path / "first.ckpt")
    seen.clear()
    _, model = fitted(2, ckpt_path=tmp_path / "first.ckpt", weights_only=True)
    of_epoch = model.train_dataloader()
    of_epoch.epoch = 1
    assert seen[0] == next(iter(of_epoch))["inputs"].sum()


def test_numbers_of_numpy_and_paths_do_not_spoil_a_checkpoint(tmp_path):
    model = LightningDetectionModel(tutorial(tmp_path, lr=np.float64(1e-3)))
    assert type(model.hparams["lr"]) is float
    assert type(model.hparams["root_dir"]) is str


def test_a_validation_in_the_middle_of_an_epoch_leaves_the_memory_of_the_training_alone(tmp_path):
    model = LightningDetectionModel(tutorial(tmp_path, max_frames_per_epoch=80, demo_every=0))
    fitter = lightning.Trainer(
        max_epochs=1, val_check_interval=2, limit_val_batches=2, num_sanity_val_steps=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    before: list[torch.Tensor] = []
    after: list[torch.Tensor] = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            before.append(pl_module.detector.state[0])

        def on_train_batch_start(self, trainer, pl_module, *args):
            if before:
                after.append(pl_module.detector.state[0])

    fitter.callbacks.append(Watch())
    fitter.fit(model)
    assert len(after) >= 4
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=False))


def test_frames_before_skip_us_and_unlabelled_frames_give_no_loss(tmp_path):
    torch.manual_seed(0)
    model = LightningDetectionModel(tutorial(tmp_path, skip_us=10**9))
    batch = next(iter(model.train_dataloader()))
    assert model._clip(batch).is_labelled.sum() == 0
    model.hparams["skip_us"] = 100_000
    assert model._clip(batch).is_labelled.tolist() == [[False] * 2, [False] * 2, [True] * 2, [True] * 2]
    batch["frame_is_labeled"][2] = False
    assert model._clip(batch).is_labelled.tolist() == [[False] * 2, [False] * 2, [False] * 2, [True] * 2]


def test_the_latest_checkpoint_is_the_newest_or_the_highest(tmp_path):
    import os

    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    assert search_latest_checkpoint(tmp_path) is None
    for age, name in enumerate(["epoch=3", "epoch=14-step=900", "epoch=2-step=90"]):
        path = folder / f"{name}.ckpt"
        path.touch()
        os.utime(path, (age, age))
    assert search_latest_checkpoint(tmp_path) == str(folder / "epoch=2-step=90.ckpt")
    assert search_latest_checkpoint(str(tmp_path), mode="index") == str(folder / "epoch=14-step=900.ckpt")


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("feature_extractor", "ResNet_Unet", "feature_extractor must be one of Vanilla; got 'ResNet_Unet'"),
        ("anchor_list", "ANCHORS", "anchor_list must be one of COCO_ANCHORS"),
        ("act", "tanh", "activation must be one of sigmoid, softmax"),
        ("loss", "_ce", "loss must be one of _focal_loss; got '_ce'"),
        ("dataset_path", "/data/gen1", "dataset_path must be 'toy_problem', got '/data/gen1'"),
        ("classes", ["a"], "classes of the toy problem must be"),
        ("feature_base", 0, "base must be at least 1"),
    ],
)
def test_unknown_settings_are_one_sentence(tmp_path, setting, value, words):
    with pytest.raises(InputError, match=words):
        LightningDetectionModel(tutorial(tmp_path, **{setting: value}))


@pytest.mark.slow
def test_a_few_hundred_steps_with_the_settings_of_the_tutorial_find_digits(tmp_path):
    torch.manual_seed(0)
    full = {"feature_base": 8, "feature_channels_out": 128, "num_tbins": 12, "batch_size": 4}
    model = LightningDetectionModel(tutorial(tmp_path, max_frames_per_epoch=4800, demo_every=4, **full))
    fitter = trainer(tmp_path, 4)
    fitter.fit(model)
    assert fitter.logged_metrics["mean_ap"] > 0.25
