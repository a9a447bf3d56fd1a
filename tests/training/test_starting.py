"""Fine-tuning: what a detector takes of weights that fit in part, and what is said of the rest."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.config import InputConfig, OwnConfig, TrainConfig, model_config
from seqdet.config_files import read_config
from seqdet.models.detector import Detector
from seqdet.models.single_shot import single_shot_head
from seqdet.models.vanilla import Vanilla
from seqdet.models.weights import load_detector, save_detector
from seqdet.models.zoo import build_detector
from seqdet.training.fit import fit, resume
from seqdet.training.starting import model_of_start, start_from, tell_other_input

from .small import DATA, MODEL, TRAIN, checkpoint, differing, run


def kept(path, model, seed=0):
    """A detector whose weights and statistics are drawn, and lie in a file."""
    detector = build_detector(model, seed=seed)
    torch.manual_seed(seed)
    for tensor in detector.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape))
    save_detector(detector, path)
    return detector


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize(
    "model", [MODEL, model_config("rvt_tiny", dim=8, head_width=8, classes=("a", "b"), in_channels=2)]
)
def test_a_detector_of_the_same_kind_takes_everything(file, model, caplog):
    caplog.set_level("INFO")
    source = kept(file, model, seed=3)
    detector = build_detector(model)
    start_from(detector, file)
    assert differing(detector.state_dict(), source.state_dict()) == []
    weights = sum(tensor.is_floating_point() for tensor in detector.state_dict().values())
    assert caplog.messages == [f"Began with {file}: {weights} of {weights} tensors taken."]


def rows(tensor, places, before, classes):
    """The rows of a last layer by class, and those before the classes."""
    table = tensor.reshape(places, -1, *tensor.shape[1:])
    return table[:, :before], {name: table[:, before + n] for n, name in enumerate(classes)}


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("classes", [("car", "bus", "van"), ("bus", "car"), ("truck", "van")])
def test_logits_of_classes_of_the_same_name_are_kept(file, activation, classes):
    """Though they have other places, and though there are as many of them."""
    model = replace(MODEL, activation=activation)
    source = kept(file, replace(model, classes=("van", "bus")))
    detector = build_detector(replace(model, classes=classes), seed=5)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    start_from(detector, file)
    after = detector.state_dict()
    places = detector.head.anchors.per_cell
    background = int(activation == "softmax")
    for name in ("head.classes.0.weight", "head.classes.0.bias"):
        given = rows(source.state_dict()[name], places, background, ("van", "bus"))
        found = rows(after[name], places, background, classes)
        drawn = rows(before[name], places, background, classes)
        assert torch.equal(found[0], given[0])
        for each in classes:
            assert torch.equal(found[1][each], given[1].get(each, drawn[1][each])), each
    assert (
        differing(
            {name: tensor for name, tensor in after.items() if not name.startswith("head.classes")},
            {name: tensor for name, tensor in source.state_dict().items() if not name.startswith("head.classes")},
        )
        == []
    )


RVT = model_config("rvt_tiny", dim=8, head_width=8)
EVRT = model_config(
    "evrt_detr_r18", base=4, width=16, heads=2, feed_forward=16, queries=8, decoder_layers=2, memory=0, in_channels=3
)


@pytest.mark.parametrize(("model", "last"), [(RVT, 6), (EVRT, 6)], ids=["yolox", "queries"])
def test_classes_keep_their_names_in_the_last_layers_of_every_head(file, model, last, caplog):
    """A weight and a bias of three maps, or of two layers of a decoder and of what chooses the queries."""
    caplog.set_level("INFO")
    model = replace(model, classes=("car", "person"), in_channels=2)
    given = kept(file, model).state_dict()
    detector = build_detector(replace(model, classes=("person", "bike", "car")), seed=5)
    drawn = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    start_from(detector, file)
    now = detector.state_dict()
    changed = [name for name in now if now[name].shape != given[name].shape and "noisy" not in name]
    assert len(changed) == last
    for name in changed:
        assert torch.equal(now[name][0], given[name][1]), name
        assert torch.equal(now[name][1], drawn[name][1])
        assert torch.equal(now[name][2], given[name][0])
    others = [name for name in now if now[name].shape == given[name].shape]
    assert [name for name in others if not torch.equal(now[name], given[name])] == []
    for name in now.keys() - {*others, *changed}:
        assert torch.equal(now[name], drawn[name])
        assert f"{name.rpartition('.')[0]} (of other classes)" in caplog.messages[0]


def test_one_line_says_what_is_new_and_why(file, caplog):
    caplog.set_level("INFO")
    kept(file, replace(MODEL, classes=("car", "bus"), in_channels=5))
    start_from(build_detector(replace(MODEL, classes=("bus", "van"), levels=2)), file)
    (line,) = caplog.messages
    assert line.startswith(f"Began with {file}: ")
    assert " backbone.stem.0.0 (2x3x7x7 in place of 2x5x7x7)" in line
    assert " backbone.levels.1 (not in the file)" in line
    assert " head.classes (but for what belongs to bus)" in line
    assert caplog.records[0].levelname == "INFO"


def test_weights_of_which_little_fits_are_a_warning(file, caplog):
    kept(file, replace(MODEL, base=2))
    start_from(build_detector(replace(MODEL, base=1)), file)
    (record,) = caplog.records
    assert record.levelname == "WARNING"


def test_a_published_checkpoint_is_to_be_imported_first(tmp_path):
    (tmp_path / "rvt-t.ckpt").write_bytes(b"PK")
    with pytest.raises(
        InputError, match=r"got .*ckpt\. A published .*: seqdet import-weights .*ckpt -o rvt-t\.safetensors"
    ):
        start_from(build_detector(MODEL), tmp_path / "rvt-t.ckpt")


def test_what_does_not_fit_at_all_is_refused(file):
    kept(file, replace(MODEL, base=2, channels=4, classes=("a",)))
    with pytest.raises(InputError, match=r"train\.start must hold weights that fit.*base 2 in place of 1"):
        start_from(build_detector(replace(MODEL, base=1, classes=("b",), box_loss="giou", anchors="coco")), file)


def test_weights_of_another_architecture_are_refused_in_one_sentence_and_nothing_is_begun(file, tmp_path):
    kept(file, MODEL)
    rvt = model_config("rvt_tiny", dim=8, head_width=8)
    with pytest.raises(
        InputError, match=r"of the architecture that is trained, rvt_tiny, got one of vanilla in .*weights"
    ) as e:
        fit(rvt, DATA, replace(TRAIN, start=file), tmp_path / "run")
    assert str(e.value).count(". ") == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "trained", "words"),
    [
        (
            model_config("rvt_tiny", dim=8, head_width=8),
            model_config("s5vit_small", dim=8, head_width=8),
            "s5vit_small, got one of rvt_tiny in",
        ),
        (
            model_config("with_memory", memory_channels=4),
            model_config("with_memory", memory_channels=4, frames="torchvision:fcos_resnet50_fpn"),
            "with_memory of torchvision:fcos_resnet50_fpn, got one of with_memory of torchvision:ssdlite320",
        ),
    ],
    ids=["memory", "frames"],
)
def test_another_memory_or_another_detector_of_frames_is_another_architecture(file, given, trained, words):
    kept(file, replace(given, classes=("a",), in_channels=3))
    with pytest.raises(InputError, match=f"of the architecture that is trained, {words}") as e:
        start_from(build_detector(replace(trained, classes=("a",), in_channels=3)), file)
    assert str(e.value).count(". ") == 0


@pytest.mark.parametrize(("before", "after"), [(0, 8), (8, 0)])
def test_memory_is_put_between_neck_and_head_of_a_detector_of_frames_or_taken_away(file, before, after, caplog):
    caplog.set_level("INFO")
    model = replace(EVRT, classes=("a",))
    source = kept(file, replace(model, memory=before))
    detector = build_detector(replace(model, memory=after))
    start_from(detector, file)
    for name, tensor in detector.state_dict().items():
        if not name.startswith("memory."):
            assert torch.equal(tensor, source.state_dict()[name]), name
    assert f"; the file has memory {before} in place of {after}." in caplog.messages[0]


@pytest.mark.parametrize(
    ("usual", "settings", "words"),
    [
        (EVRT, {"base": 8, "width": 32}, "base 8 in place of 4, width 32 in place of 16"),
        (RVT, {"dim": 16, "score_rule": "product"}, "dim 16 in place of 8"),
    ],
)
def test_scraps_of_another_width_are_refused_with_the_settings_that_differ(file, usual, settings, words):
    usual = replace(usual, classes=("a",), in_channels=3)
    kept(file, replace(usual, **settings))
    detector = build_detector(usual)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    with pytest.raises(InputError, match=rf"fit the detector, and less than half of .* does: it has {words}\."):
        start_from(detector, file)
    assert differing(before, detector.state_dict()) == []


def test_a_line_names_five_and_says_how_many_more(file, caplog):
    caplog.set_level("INFO")
    model = replace(EVRT, classes=("a",))
    kept(file, replace(model, feed_forward=24, queries=4, expansion=0.25))
    start_from(build_detector(model), file)
    (line,) = caplog.messages
    assert len(line) < 1200
    assert " more" in line
    assert "the file has feed_forward 24 in place of 16, expansion 0.25 in place of 0.5." in line


class Echo(torch.nn.Module):
    """A memory: maps pass through a convolution of their own and what it gave before."""

    state_tensors = 1

    def __init__(self, channels):
        super().__init__()
        self.mix = torch.nn.Conv2d(channels, channels, 1)

    def forward(self, maps, lanes, state=None):
        x = self.mix(maps[0]).unflatten(0, (-1, lanes))
        before = torch.zeros_like(x[0]) if state is None else state[0].to(x.dtype)
        given = []
        for frame in x:
            before = 0.5 * before + frame
            given.append(before)
        return [torch.stack(given).flatten(0, 1)], (before,)


class Plain(torch.nn.Module):
    """A neck: one convolution."""

    def __init__(self, channels, strides):
        super().__init__()
        self.channels = channels
        self.strides = strides
        self.mix = torch.nn.Conv2d(channels[0], channels[0], 1)

    def forward(self, maps):
        return [self.mix(maps[0])]


def with_memory(classes, in_channels):
    """The small detector, with a neck and a memory."""
    backbone = Vanilla(in_channels, base=MODEL.base, channels=MODEL.channels, levels=1)
    head = single_shot_head(replace(MODEL, classes=classes), MODEL.channels, backbone.strides)
    neck = Plain(backbone.channels, backbone.strides)
    return Detector(backbone, head, neck=neck, memory=Echo(MODEL.channels), classes=classes, in_channels=in_channels)


@pytest.fixture
def remembering(monkeypatch):
    """The configuration of the detector with a neck and a memory, which may be called."""
    import seqdet.models.zoo as zoo

    monkeypatch.setattr(zoo, "find_allowed", lambda name: with_memory)
    return OwnConfig("tests:with_memory", classes=MODEL.classes, in_channels=3)


def test_a_frame_detector_is_frozen_and_memory_behind_it_is_learnt(file, tmp_path, remembering, caplog):
    """The two stages of EvRT-DETR; with an average, and with statistics of batch norm that stay."""
    caplog.set_level("INFO")
    source = kept(file, MODEL)
    train = replace(TRAIN, start=file, freeze=("backbone", "head"), ema=0.5, lr_factors={"memory": 0.5})
    folder = fit(build_detector(remembering), DATA, train, tmp_path / "run")
    assert any("new are neck, memory (not in the file)" in line for line in caplog.messages)
    learnt = checkpoint(folder)["state_dict"]
    for prefix in ("detector.", "average."):
        for name, tensor in source.state_dict().items():
            assert torch.equal(learnt[prefix + name], tensor), name
    drawn = build_detector(remembering).state_dict()
    for name in ("memory.mix.weight", "neck.mix.weight"):
        assert not torch.equal(load_detector(folder / "detector.safetensors").state_dict()[name], drawn[name])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_detector_of_queries_is_trained_on_frames_and_then_its_memory_alone(tmp_path, optimizer):
    """As EvRT-DETR is (arXiv 2412.02890): the average of the first stage begins the second."""
    model = replace(EVRT, classes=MODEL.classes)
    train = replace(TRAIN, max_steps=2, warmup_steps=1)
    frames = fit(model, DATA, replace(train, ema=0.9, gradient_clip_value=5.0), tmp_path / "frames")
    second = replace(
        train, start=frames, freeze=("backbone", "neck", "head"), schedule="one_cycle", optimizer=optimizer
    )
    folder = fit(replace(model, memory=8), DATA, second, tmp_path / "run")
    before = load_detector(frames / "detector.safetensors").state_dict()
    after = load_detector(folder / "detector.safetensors").state_dict()
    assert differing(before, {name: tensor for name, tensor in after.items() if not name.startswith("memory.")}) == []
    drawn = build_detector(replace(model, memory=8, in_channels=3), seed=TRAIN.seed).state_dict()
    assert any(not torch.equal(after[name], drawn[name]) for name in after if name.startswith("memory."))


@pytest.mark.parametrize("part", ["memory", "neck", "memory.mix"])
def test_a_memory_or_a_neck_is_frozen_by_name(tmp_path, remembering, part):
    detector = build_detector(remembering)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    folder = fit(detector, DATA, replace(TRAIN, freeze=(part,), max_steps=2), tmp_path / "run")
    changed = differing(before, load_detector(folder / "detector.safetensors").state_dict())
    assert {name.partition(".")[0] for name in changed} == {"backbone", "neck", "memory", "head"} - {
        part.partition(".")[0]
    }
    assert read_config(folder / "config.yaml").train.freeze == (part.partition(".")[0],)


def test_a_memory_that_a_detector_does_not_have_cannot_be_frozen(tmp_path):
    with pytest.raises(InputError, match=r"consists of backbone and head, got 'memory'"):
        run(tmp_path / "run", replace(TRAIN, freeze=("memory",)))


def test_a_run_says_where_it_began_and_goes_on_without_that_file(file, tmp_path):
    source = kept(file, MODEL)
    folder = run(tmp_path / "run", replace(TRAIN, start=file, max_steps=2))
    assert read_config(folder / "config.yaml").train.start == file
    whole = run(tmp_path / "whole", replace(TRAIN, start=file, max_steps=4))
    file.unlink()
    resume(folder, max_steps=4)
    assert differing(checkpoint(whole)["state_dict"], checkpoint(folder)["state_dict"]) == []
    norm = "detector.backbone.stem.0.1.weight"
    torch.testing.assert_close(checkpoint(folder)["state_dict"][norm], source.state_dict()[norm[9:]], atol=0.05, rtol=0)


def test_the_folder_of_a_run_is_a_start_and_that_of_an_unfinished_one_is_none(tmp_path, caplog):
    folder = run(tmp_path / "run", replace(TRAIN, max_steps=2))
    detector = build_detector(MODEL, seed=9)
    start_from(detector, folder)
    assert differing(detector.state_dict(), load_detector(folder / "detector.safetensors").state_dict()) == []
    start_from(detector, folder / "checkpoints" / "best.safetensors")
    (folder / "detector.safetensors").unlink()
    with pytest.raises(InputError, match=rf"finished run, and .* is not.*seqdet train --resume {folder}"):
        start_from(detector, folder)
    with pytest.raises(InputError, match="must be a file with a detector, and there is none"):
        start_from(detector, tmp_path / "nothing")
    shutil.rmtree(folder / "checkpoints")


EVENTS = InputConfig("stacked_histogram", {"bins": 10}, 50_000, (240, 304), (240, 304))


def test_frames_that_show_something_else_are_told(tmp_path, caplog):
    path = tmp_path / "a.safetensors"
    tell_other_input(EVENTS, replace(EVENTS, sensor_hw=(720, 1280), frame_hw=(360, 640)), path)
    tell_other_input(None, None, path)
    assert caplog.messages == []
    tell_other_input(EVENTS, replace(EVENTS, window_us=20_000, parameters={"bins": 5}), path)
    tell_other_input(EVENTS, None, path)
    tell_other_input(None, EVENTS, path)
    assert caplog.messages == [
        f"{path} was trained on frames that show something else: parameters {{'bins': 10}} in place of {{'bins': 5}}, "
        "window_us 50000 in place of 20000.",
        f"{path} was trained on events as stacked_histogram, and these data are pictures.",
        f"{path} names no events that it was trained on, and these data are events.",
    ]


def test_a_training_warns_of_weights_for_other_frames(file, tmp_path, caplog):
    detector = build_detector(MODEL)
    detector.input = EVENTS
    save_detector(detector, file)
    run(tmp_path / "run", replace(TRAIN, start=file, max_steps=1))
    assert f"{file} was trained on events as stacked_histogram, and these data are pictures." in caplog.messages


def test_the_command_builds_the_detector_of_the_file_unless_told_otherwise(file, tmp_path, caplog, monkeypatch):
    model = replace(MODEL, classes=("a", "b"))
    kept(file, model)
    assert model_of_start(file) == replace(model, classes=(), in_channels=None)
    asked = []
    (tmp_path / "training.json").write_text("{}")
    monkeypatch.setattr("seqdet.training.fit.fit", lambda *given: asked.append(given))
    monkeypatch.setattr("seqdet.runs.RunFolder.check_free", lambda self: None)
    words = ["train", "--out", str(tmp_path), "--train.start", str(file)]
    main([*words, "--train.lr_factors", "{backbone: 0.1}"])
    main([*words, "--model.base", "4", "--train.lr_factors.head", "0.5"])
    assert [each[0].base for each in asked] == [MODEL.base, 4]
    assert [each[2] for each in asked] == [
        TrainConfig(start=file, lr_factors={"backbone": 0.1}),
        TrainConfig(start=file, lr_factors={"head": 0.5}),
    ]
