from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest

from seqdet.checks import InputError
from seqdet.config import DataConfig, DigitsConfig, RunConfig, TrainConfig, VanillaConfig

NAN, INF = float("nan"), float("inf")
IMPOSSIBLE = [
    *((DigitsConfig, {name: 0}) for name in ("height", "width", "max_digits", "frames_per_video", "delta_t_us")),
    *((DigitsConfig, {name: -0.1}) for name in ("scale_swing", "max_rotation", "max_speed")),
    *((DigitsConfig, {name: 23}) for name in ("frames_per_epoch", "validation_frames", "test_frames")),
    *((DigitsConfig, {"digit_heights": heights}) for heights in ((60.0, 24.0), (24.0, 24.0), (3.0, 60.0), (NAN, 60.0))),
    (DigitsConfig, {"scale_swing": 5.0}),
    *((DataConfig, {name: 0}) for name in ("clip_length", "lanes")),
    *((DataConfig, {name: -1}) for name in ("workers", "seed")),
    (DataConfig, {"clip_length": 5}),
    *((VanillaConfig, {name: 0}) for name in ("in_channels", "base", "channels")),
    *((VanillaConfig, {name: -1}) for name in ("head_layers", "box_weight")),
    *((VanillaConfig, {"classes": classes}) for classes in (("a", "a"), ("a", "b", "a"))),
    *((VanillaConfig, {name: "other"}) for name in ("cell", "anchors", "activation", "box_loss")),
    *((VanillaConfig, {"foreground": value}) for value in (0.0, 0.1, 1.0, NAN)),
    *((VanillaConfig, {"background": value}) for value in (0.0, -0.1, 0.9, NAN)),
    *((TrainConfig, {name: 0}) for name in ("max_steps", "accumulate", "validate_epochs", "checkpoint_steps")),
    *((TrainConfig, {name: -1}) for name in ("weight_decay", "warmup_steps", "keep_epochs", "demo_epochs", "seed")),
    *((TrainConfig, {name: value}) for name in ("lr", "gradient_clip", "decay") for value in (0.0, -1.0, NAN)),
    *((TrainConfig, {name: "other"}) for name in ("schedule", "precision", "device")),
    (TrainConfig, {"log_steps": 0}),
    *((DigitsConfig, {name: 8193}) for name in ("height", "width")),
    *((DigitsConfig, {name: 10**6 + 1}) for name in ("frames_per_epoch", "validation_frames", "test_frames")),
    *((DigitsConfig, {name: value}) for name in ("scale_swing", "max_rotation", "max_speed") for value in (INF, NAN)),
    *((DigitsConfig, {"digit_heights": heights}) for heights in ((24.0, INF), (24.0,), "24", (24.0, "60"))),
    *((DigitsConfig, {"folder": value}) for value in (5, b"mnist", True)),
    (DigitsConfig, {"max_digits": 257}),
    *((DigitsConfig, {"training_digits": value}) for value in ((0, 3), (3, 2), (1, 257), (1,), 3, "3")),
    (DigitsConfig, {"max_rotation": 181}),
    (DigitsConfig, {"delta_t_us": 10**10}),
    *((DataConfig, {name: 4097}) for name in ("clip_length", "lanes")),
    *((DataConfig, {"clip_length": value}) for value in ("12", 1.5, 12.0, True, None)),
    *((DataConfig, {"seed": value}) for value in (2**63 + 1, 0.5)),
    (DataConfig, {"workers": 257}),
    (DataConfig, {"digits": {"height": 64}}),
    *((VanillaConfig, {name: 1025}) for name in ("in_channels", "base")),
    *((VanillaConfig, {"name": value}) for value in (None, 5)),
    *((VanillaConfig, {"classes": value}) for value in ("car", (0, 1), None)),
    *((VanillaConfig, {"box_weight": value}) for value in (INF, NAN, 10**400, "1", None)),
    (VanillaConfig, {"channels": 4097}),
    (VanillaConfig, {"head_layers": 65}),
    *((VanillaConfig, {"levels": value}) for value in (0, 6)),
    (VanillaConfig, {"foreground": INF}),
    *((TrainConfig, {name: INF}) for name in ("lr", "weight_decay", "gradient_clip", "decay")),
    *((TrainConfig, {"channels_last": value}) for value in (1, "true", None)),
    *((TrainConfig, {"seed": value}) for value in (2**63 + 1, "0")),
    (TrainConfig, {"max_steps": 10**30}),
    *((RunConfig, {name: None}) for name in ("data", "model", "train")),
]
DIGITS = {"height": 128, "width": 128, "frames_per_video": 24, "digit_heights": (24.0, 60.0), "scale_swing": 0.2}


@pytest.mark.parametrize(
    ("kind", "wrong"), IMPOSSIBLE, ids=lambda part: part.__name__ if isinstance(part, type) else str(part)
)
def test_an_impossible_setting_is_refused_by_name_in_one_sentence(kind, wrong):
    (name,) = wrong
    usual = {DigitsConfig: DigitsConfig(**DIGITS), DataConfig: DataConfig(clip_length=4, digits=DigitsConfig(**DIGITS))}
    with pytest.raises(InputError, match=rf"\b{name}\b") as refusal:
        replace(usual.get(kind) or kind(), **wrong)
    message = str(refusal.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert "must" in message


def test_the_defaults_are_possible_and_frozen():
    config = RunConfig()
    assert config == RunConfig(DataConfig(), VanillaConfig(), TrainConfig())
    with pytest.raises(FrozenInstanceError):
        config.train = TrainConfig()


def test_values_take_the_type_of_their_setting():
    digits = DigitsConfig(digit_heights=[24, 60], max_speed=3, folder="mnist")
    assert digits == DigitsConfig(digit_heights=(24.0, 60.0), max_speed=3.0, folder=Path("mnist"))
    assert hash(digits) == hash(replace(digits))
    assert [type(value) for value in (*digits.digit_heights, digits.max_speed)] == [float] * 3
    assert VanillaConfig(classes=["car"]).classes == ("car",)


def test_a_setting_of_the_wrong_type_is_told_what_it_must_be():
    with pytest.raises(InputError, match=r"^clip_length must be a whole number, got 1\.5\.$"):
        DataConfig(clip_length=1.5)
    with pytest.raises(InputError, match=r"^model must be a ModelConfig, got None\.$"):
        RunConfig(model=None)


def test_every_part_can_be_replaced_by_itself():
    for part in (RunConfig(), DataConfig(), DigitsConfig(), VanillaConfig(), TrainConfig()):
        assert type(part)(**{f.name: getattr(part, f.name) for f in fields(part)}) == part


def test_how_many_anchors_are_fitted_is_asked_with_fitted_ones_alone():
    with pytest.raises(InputError, match="anchors_per_cell must be given with anchors fitted alone, got 9 and digits"):
        VanillaConfig(anchors_per_cell=9)
