"""Checkpoints of others, against what their authors' models compute, and what is refused."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import pickle
import re
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.config import MODELS, InputConfig, RvtConfig, S5VitConfig
from seqdet.models.detector import Detector
from seqdet.models.published import ARCHITECTURES, import_weights
from seqdet.models.weights import load_detector, save_detector
from seqdet.models.yolox import decoded
from seqdet.structures import Boxes, Clip

ORACLES = Path(__file__).parents[1] / "oracles"
WIDTHS = {"head_width": 8}
TOLERANCE = 1e-5
"""Largest difference, relative to the largest number."""
NAMES = ("rvt", "s5vit")


def oracle(name: str) -> dict[str, np.ndarray]:
    with np.load(ORACLES / f"{name}_small_widths.npz") as file:
        return dict(file)


def weights(name: str) -> dict[str, torch.Tensor]:
    """Under their authors' names."""
    return {key[2:]: torch.from_numpy(value) for key, value in oracle(name).items() if key.startswith("w:")}


def published(name: str, folder: Path) -> Path:
    """A checkpoint as Lightning writes it."""
    path = folder / f"{name}.ckpt"
    content = {
        "epoch": 3,
        "state_dict": {f"mdl.{key}": tensor for key, tensor in weights(name).items()},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(5.0)}}}],
    }
    torch.save(content, path)
    return path


def imported(name: str, folder: Path, **settings) -> Detector:
    return import_weights(published(name, folder), **WIDTHS, split=1, **settings).detector


def as_theirs(outputs) -> torch.Tensor:
    """Centre x, centre y, width, height, objectness and classes of every cell."""
    xyxy = decoded(outputs.deltas, outputs.cells)
    size = xyxy[..., 2:] - xyxy[..., :2]
    scores = [outputs.objectness.sigmoid()[..., None], outputs.logits.sigmoid()]
    return torch.cat([(xyxy[..., :2] + xyxy[..., 2:]) / 2, size, *scores], dim=-1)


def assert_equal(found: torch.Tensor, wanted: np.ndarray) -> None:
    """Column by column where there are some: pixels are much larger than scores."""
    assert found.shape == wanted.shape
    columns = [(found, wanted)] if found.ndim == 4 else zip(found.unbind(-1), np.moveaxis(wanted, -1, 0), strict=True)
    for mine, theirs in columns:
        assert np.abs(mine.numpy() - theirs).max() <= TOLERANCE * np.abs(theirs).max()


@torch.no_grad()
def stream(detector: Detector, frames: torch.Tensor) -> tuple[list[torch.Tensor], tuple[torch.Tensor, ...]]:
    """One window at a time."""
    state = None
    found = []
    for frame in frames:
        outputs, state = detector(frame[None], state)
        found.append(as_theirs(outputs))
    assert state is not None
    return found, state


def test_rvt_computes_what_its_authors_model_computes_over_three_steps_on_two_lanes(tmp_path):
    numbers = oracle("rvt")
    found, state = stream(imported("rvt", tmp_path), torch.from_numpy(numbers["x"]))
    for step, outputs in enumerate(found):
        assert_equal(outputs, numbers[f"out{step}"])
    for stage in range(4):
        assert_equal(state[2 * stage], numbers[f"h{stage}"])
        assert_equal(state[2 * stage + 1], numbers[f"c{stage}"])


@torch.no_grad()
def test_s5vit_computes_what_its_authors_model_computes_in_a_clip_carried_or_not(tmp_path):
    numbers = oracle("s5vit")
    frames = torch.from_numpy(numbers["x"])
    for carry in (False, True):
        outputs, state = imported("s5vit", tmp_path, carry=carry)(frames)
        assert_equal(as_theirs(outputs).flatten(0, 1), numbers["out"].reshape(-1, 8))
        assert len(state) == 4 * carry
    for stage, found in enumerate(state):
        wanted = numbers[f"state{stage}"]
        assert_equal(found[:, 0], wanted.real)
        assert_equal(found[:, 1], wanted.imag)
    for step, each in enumerate(stream(imported("s5vit", tmp_path, carry=True), frames)[0]):
        assert_equal(each, numbers["out"][step])


@pytest.mark.parametrize("name", NAMES)
def test_after_a_step_of_training_a_detector_streams_what_it_computes_of_a_clip(name, tmp_path):
    settings = {"carry": True} if name == "s5vit" else {}
    detector = imported(name, tmp_path, **settings).train()
    frames = torch.from_numpy(oracle(name)["x"])[:3]
    truth = Boxes(torch.tensor([[10.0, 10, 40, 50]]), torch.tensor([1]))
    clip = Clip(
        frames=frames,
        is_first=torch.ones(2, dtype=torch.bool),
        is_blank=torch.zeros(2, dtype=torch.bool),
        is_labelled=torch.ones(3, 2, dtype=torch.bool),
        boxes=[truth] * 6,
        recordings=torch.tensor([0, 1]),
        end_us=torch.zeros(3, 2, dtype=torch.int64),
    )
    before = [parameter.clone() for parameter in detector.parameters()]
    optimizer = torch.optim.AdamW(detector.parameters(), 1e-3)
    losses, _ = detector.loss(clip)
    torch.stack(list(losses.values())).sum().backward()
    optimizer.step()
    assert not all(map(torch.equal, before, detector.parameters()))
    save_detector(detector, tmp_path / "a.safetensors")
    detector.eval()
    loaded = load_detector(tmp_path / "a.safetensors")
    with torch.no_grad():
        outputs, state = detector(frames)
    found, after = stream(loaded, frames)
    assert_equal(torch.cat(found), as_theirs(outputs).numpy())
    for mine, theirs in zip(after, state, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_file_of_ours_keeps_weights_classes_input_and_source(tmp_path):
    path = published("rvt", tmp_path)
    made = import_weights(path, input="gen1", classes=("x", "y", "z"), **WIDTHS)
    save_detector(made.detector, tmp_path / "a.safetensors", source=made.source)
    loaded = load_detector(tmp_path / "a.safetensors")
    assert loaded.classes == ("x", "y", "z")
    assert loaded.config == RvtConfig(classes=("x", "y", "z"), in_channels=20, dim=8, head_width=8)
    assert loaded.input == InputConfig(
        "stacked_histogram", {"bins": 10, "max_count": 10}, 50_000, (240, 304), (240, 304)
    )
    assert all(map(torch.equal, loaded.state_dict().values(), made.detector.state_dict().values()))
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        source = json.loads(file.metadata()["source"])
    assert source == {"rvt.ckpt": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_what_is_left_out_is_told(tmp_path):
    path = published("rvt", tmp_path)
    content = torch.load(path, weights_only=True)
    content["state_dict"] |= {"mdl.backbone.extra.weight": torch.zeros(3), "metric.total": torch.zeros(1)}
    torch.save(content, path)
    made = import_weights(path, **WIDTHS)
    assert made.notes == [
        "RVT, rvt_tiny of 0.29 M parameters: classes pedestrian, two wheeler, car; frames of 640x360 pixels, 10 bins "
        "of 50 ms together.",
        "Left out: epoch, optimizer_states, metric.total, backbone.extra.weight.",
    ]


def test_settings_beside_the_tensors_are_passed_over_and_nothing_is_imported_for_them(tmp_path, monkeypatch):
    """As OmegaConf pickles them, with types and defaults, and with a module that leaves a trace when imported."""
    module = ModuleType("omegaconf.dictconfig")
    kind = type("DictConfig", (), {"__module__": module.__name__})
    module.DictConfig = kind
    path = published("rvt", tmp_path)
    content = torch.load(path, weights_only=True)
    settings = kind()
    settings.__dict__ |= {"_content": {"a": [kind()]}, "_key_type": int, "_type": Any, "flags": defaultdict(list)}
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "omegaconf", ModuleType("omegaconf"))
        patched.setitem(sys.modules, module.__name__, module)
        torch.save({**content, "hyper_parameters": {"config": settings, "at": Path("a")}}, path)
    (tmp_path / "omegaconf").mkdir()
    (tmp_path / "omegaconf" / "__init__.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "omegaconf", raising=False)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    made = import_weights(path, **WIDTHS)
    assert made.notes[1] == "Left out: epoch, optimizer_states, hyper_parameters."
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(("name", "kind"), [("rvt_tiny", RvtConfig), ("s5vit_small", S5VitConfig)])
def test_all_names_of_the_published_sizes_are_known_without_prefix_too(name, kind, tmp_path):
    state = {}
    for line in (ORACLES / f"{name}_keys.txt").read_text().splitlines():
        key, shape = line.split(" ", 1)
        is_count = key.endswith("num_batches_tracked")
        state[key] = torch.zeros(ast.literal_eval(shape), dtype=torch.int64 if is_count else torch.float16)
    torch.save(state, tmp_path / "a.pth")
    made = import_weights(tmp_path / "a.pth")
    config = made.detector.config
    assert isinstance(config, kind)
    assert config.name == name
    assert config.classes == ("car", "pedestrian")
    assert getattr(config, "carry", False) is False
    assert next(made.detector.parameters()).dtype == torch.float32
    assert not any(note.startswith("Left out") for note in made.notes)


def of_size(name: str) -> dict[str, torch.Tensor]:
    """A state dict by its authors' names: the one whose names are there, with other widths."""
    source = "rvt_tiny" if name.startswith("rvt") else "s5vit_small"
    factor = {"rvt_small": 1.5, "rvt_base": 2, "s5vit_base": 4 / 3}[name]
    state = {}
    for line in (ORACLES / f"{source}_keys.txt").read_text().splitlines():
        key, text = line.split(" ", 1)
        shape = ast.literal_eval(text)
        fixed = {1, 2, 3, 4, 7, 20}
        sizes = [n if n in fixed else int(n * factor) for n in shape]
        state[key] = torch.zeros(sizes)
        if ".m.0." in key and name.endswith("base"):
            state[key.replace(".m.0.", ".m.1.")] = torch.zeros(sizes)
    return state


@pytest.mark.parametrize("name", ["rvt_small", "rvt_base", "s5vit_base"])
def test_a_published_size_is_known_by_its_widths_and_depth(name, tmp_path):
    torch.save(of_size(name), tmp_path / "a.pth")
    assert import_weights(tmp_path / "a.pth").detector.config.name == name


class Code:
    """What runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch unpickled",)


def broken(change):
    def write(path: Path) -> None:
        state = weights("rvt")
        change(state)
        torch.save({"state_dict": {f"mdl.{name}": tensor for name, tensor in state.items()}}, path)

    return write


def renamed_attention(state):
    for name in list(state):
        state[name.replace("att_window", "att.win_attn")] = state.pop(name)


def cut_short(path: Path) -> None:
    torch.save(weights("rvt"), path)
    path.write_bytes(path.read_bytes()[:100_000])


STEM = "backbone.stages.0.downsample_cf2cl.conv.weight"
COUNT = "fpn.lateral_conv0.bn.num_batches_tracked"
REFUSED = {
    "code": (lambda path: torch.save({"state_dict": weights("rvt"), "x": Code()}, path), "it holds code, .*system"),
    "cut short": (cut_short, r"must be a checkpoint of PyTorch; it is damaged or of another kind\.$"),
    "text": (
        lambda path: path.write_text("hello"),
        r"must be a checkpoint of PyTorch; it is damaged or of another kind\.$",
    ),
    "empty": (
        lambda path: path.write_bytes(b""),
        r"must be a checkpoint of PyTorch; it is damaged or of another kind\.$",
    ),
    "a list": (lambda path: torch.save([1], path), "must hold a table of tensors, or one in state_dict, got list"),
    "no tensors": (lambda path: torch.save({"a": 1}, path), "must hold a table of tensors"),
    "half": (
        broken(lambda state: [state.pop(name) for name in list(state) if name.startswith("yolox_head.reg")]),
        r"must hold a whole rvt_tiny; of its \d+ tensors \d+ are not there: yolox_head\.reg_convs\.0\.0\.conv\.weight",
    ),
    "no head": (
        broken(lambda state: [state.pop(name) for name in list(state) if name.startswith("yolox_head")]),
        r"must hold a whole detector; yolox_head\.cls_preds\.0\.weight is not there",
    ),
    "no neck": (
        broken(lambda state: [state.pop(name) for name in list(state) if name.startswith("fpn")]),
        r"must hold a whole detector; fpn\..* is not there",
    ),
    "another": (broken(renamed_attention), "must be a checkpoint of one of RVT, S5-ViT"),
    "wrong shape": (
        broken(lambda state: state.update({"backbone.stages.1.lstm.conv1x1.bias": torch.zeros(65)})),
        r"backbone\.stages\.1\.memory\.from_input\.bias has the shape \(64,\); "
        r"backbone\.stages\.1\.lstm\.conv1x1\.bias gives \(65,\) in its place",
    ),
    "wrong gates": (
        broken(lambda state: state.update({"backbone.stages.1.lstm.conv1x1.weight": torch.zeros(64, 31, 1, 1)})),
        r"backbone\.stages\.1\.lstm\.conv1x1\.weight gives \(64, 31, 1, 1\) in its place",
    ),
    "not finite": (
        broken(lambda state: state[STEM].view(-1)[:1].fill_(torch.nan)),
        f"must hold finite numbers, and {STEM} has others",
    ),
    "complex": (
        broken(lambda state: state.update({STEM: state[STEM].to(torch.complex64)})),
        f"must hold one of float16, bfloat16, float32, float64 in {STEM}, got complex64",
    ),
    "whole": (
        broken(lambda state: state.update({STEM: state[STEM].to(torch.int64)})),
        f"must hold one of float16, bfloat16, float32, float64 in {STEM}, got int64",
    ),
    "a flag for a counter": (
        broken(lambda state: state.update({COUNT: state[COUNT].bool()})),
        f"must hold one of int32, int64, float16, bfloat16, float32, float64 in {COUNT}, got bool",
    ),
    "too large": (
        broken(lambda state: state.update({STEM: torch.full(state[STEM].shape, 1e300, dtype=torch.float64)})),
        f"must hold finite numbers, and {STEM} has others",
    ),
    "no axes": (broken(lambda state: state.update({STEM: torch.zeros(())})), f"must have more than 1 axes in {STEM}"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_whole_checkpoint_is_refused_in_one_sentence(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write, words = REFUSED[kind]
    write(tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=words) as caught:
        import_weights(tmp_path / "a.ckpt", **WIDTHS)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "head_width must be given for a checkpoint of RVT of dim 8, neck_depth 1"),
        ({"head_width": 3}, "head_width must divide dim, got 3 and 8"),
        ({"name": "rvt_tiny"}, r"must hold a rvt_tiny, whose .* has the shape"),
        (
            {"name": "vanilla"},
            "name of a checkpoint of RVT must be one of rvt_base, rvt_small, rvt_tiny; got",
        ),
        ({"head_width": 8, "classes": ("a", "b")}, "classes must be 3 names in the order of their labels .* got a, b"),
        (
            {"head_width": 8, "input": "gen1"},
            "input must be a dataset of as many classes as .* has, 3, .* got gen1 of 2: car, pedestrian",
        ),
        ({"head_width": 8, "input": "gen2"}, "input must be one of 1mpx, gen1; got 'gen2'"),
        ({"head_width": 8, "carry": True}, "rvt_tiny has no setting carry"),
    ],
)
def test_what_a_user_says_must_fit_the_checkpoint(settings, words, tmp_path):
    with pytest.raises(InputError, match=words):
        import_weights(published("rvt", tmp_path), **settings)


def test_what_tensors_do_not_say_is_as_published_where_the_size_is(tmp_path):
    torch.save(of_size("rvt_small"), tmp_path / "a.pth")
    assert import_weights(tmp_path / "a.pth", head_width=24).detector.config.head_width == 24
    for name in (None, "rvt_small"):
        with pytest.raises(InputError, match=r"head_width must be 24, or left out, .* size of rvt_small, .* got 16"):
            import_weights(tmp_path / "a.pth", name=name, head_width=16)


@pytest.mark.parametrize("name", ["rvt_tiny", "s5vit_small", "evrt_detr_r18"])
def test_a_missing_tensor_is_told_by_its_authors_name(name):
    """One in three, where the others of the detector are there; what is in several of their pieces is told by *."""
    architecture = next(each for each in ARCHITECTURES if type(MODELS[name]) is each.kind)
    theirs = [line.split(" (")[0] for line in (ORACLES / f"{name}_keys.txt").read_text().splitlines()]
    theirs = [f"net_{each.replace(': ', ':')}" if ": " in each else each for each in theirs]
    gate = re.compile(r"(forget|input|output|cell_state)_gate")
    for each in theirs[::3]:
        for ours, _ in architecture.renamed(each, torch.zeros(3, 2, 1, 1)):
            known = [other for other in theirs if other != each]
            assert architecture.name_of(ours, known) == each or gate.search(each), ours


def test_no_file_and_a_folder_without_checkpoints_are_refused(tmp_path):
    with pytest.raises(InputError, match="must be a folder with checkpoints"):
        import_weights(tmp_path)
    with pytest.raises(InputError, match="must be a checkpoint, or a folder with some"):
        import_weights(tmp_path / "none.ckpt")


def test_the_command_writes_a_file_that_loads(tmp_path, caplog):
    path = published("s5vit", tmp_path)
    main(["import-weights", str(path), "-o", str(tmp_path / "a.safetensors"), "--head-width", "8", "--input", "1mpx"])
    assert "played one window at a time it has none" in caplog.text
    config = load_detector(tmp_path / "a.safetensors").config
    assert isinstance(config, S5VitConfig)
    assert not config.carry
    main(["import-weights", str(path), "-o", str(tmp_path / "b.safetensors"), "--head-width", "8", "--carry"])
    config = load_detector(tmp_path / "b.safetensors").config
    assert isinstance(config, S5VitConfig)
    assert config.carry
    assert config.split == 2


def test_the_help_of_the_command_names_all_architectures(capsys):
    with pytest.raises(SystemExit):
        main(["import-weights", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert ", ".join(each.title for each in ARCHITECTURES) in shown
    assert "for S5-ViT alone" in shown
