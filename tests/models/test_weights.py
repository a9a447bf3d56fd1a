from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from seqdet.checks import InputError
from seqdet.config import InputConfig, VanillaConfig
from seqdet.config_files import to_dict
from seqdet.models.weights import load_detector, save_detector
from seqdet.models.zoo import build_detector

CONFIG = VanillaConfig(in_channels=3, base=1, channels=4, classes=("a", "b"), cell="gru", activation="sigmoid")
HEADER = {"format": "seqdet detector 2", "model": json.dumps(to_dict(CONFIG))}


@pytest.fixture(scope="module")
def detector():
    detector = build_detector(CONFIG, seed=3)
    detector(torch.rand(2, 1, 3, 128, 128))  # moves the statistics of the norms
    return detector.eval()


@pytest.fixture
def path(tmp_path, detector):
    save_detector(detector, tmp_path / "detector.safetensors")
    return tmp_path / "detector.safetensors"


@torch.no_grad()
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_detector_reads_back_with_its_outputs_and_configuration(tmp_path, detector, memory_format):
    save_detector(build_detector(CONFIG, seed=3).to(memory_format=memory_format), tmp_path / "untrained")
    untrained = load_detector(str(tmp_path / "untrained")).state_dict()
    wanted = build_detector(CONFIG, seed=3).state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in untrained.items())
    save_detector(detector, tmp_path / "trained")
    again, frames = load_detector(tmp_path / "trained"), torch.rand(2, 1, 3, 128, 128)
    assert again.config == CONFIG
    assert not again.training
    (first, _), (second, _) = detector(frames), again(frames)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.deltas, second.deltas)


def damaged(tensors, header):
    def damage(path):
        save_file(tensors(load_file(path)), path, header)

    return damage


def without(name):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def same(tensors):
    return tensors


DAMAGE = {
    "missing": (lambda path: path.unlink(), "must be a file with a detector, and there is none"),
    "empty": (lambda path: path.write_bytes(b""), "must be a safetensors file; it is damaged or of another kind"),
    "text": (lambda path: path.write_text("weights, honestly " * 9), "must be a safetensors file; it is damaged"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "must be a safetensors file; it is damaged"),
    "header only": (lambda path: path.write_bytes(path.read_bytes()[:50]), "must be a safetensors file; it is damaged"),
    "pickle": (lambda path: torch.save({"weights": torch.zeros(3)}, path), "must be a safetensors file; it is damaged"),
    "foreign": (damaged(same, None), "must have the format 'seqdet detector 2' in its header, got None"),
    "newer": (damaged(same, {**HEADER, "format": "seqdet detector 3"}), "in its header, got 'seqdet detector 3'"),
    "other kind": (damaged(same, {**HEADER, "format": "pt"}), "must have the format .* in its header, got 'pt'"),
    "no model": (damaged(same, {"format": HEADER["format"]}), "must have the detector's configuration in its header"),
    "broken model": (damaged(same, {**HEADER, "model": "{"}), "must have the detector's configuration in its header"),
    "no table": (damaged(same, {**HEADER, "model": "[1]"}), r"model must be a table of settings, got \[1\]"),
    "unknown key": (damaged(same, {**HEADER, "model": '{"depth": 1}'}), "model has no setting 'depth'"),
    "wrong value": (damaged(same, {**HEADER, "model": '{"base": 0}'}), r"model\.base must be at least 1, got 0"),
    "unknown name": (
        damaged(same, {**HEADER, "model": '{"name": "x"}'}),
        r"model\.name must be one of .*vanilla.*; got 'x'",
    ),
    "other size": (
        damaged(same, {**HEADER, "model": json.dumps({**to_dict(CONFIG), "channels": 8})}),
        r"fit its configuration, got backbone\S+ of shape \(\d.*\) float32 in place of \(\d.*\) float32",
    ),
    "lost": (damaged(without("head.boxes.0.bias"), HEADER), "got head.boxes.0.bias of shape None in place of"),
    "superfluous": (
        damaged(lambda tensors: {**tensors, "more": torch.zeros(2)}, HEADER),
        r"got more of shape \(2,\) float32 in place of None",
    ),
    "double": (
        damaged(lambda tensors: {name: tensor.double() for name, tensor in tensors.items()}, HEADER),
        r"got backbone\S+ of shape \(.*\) float64 in place of \(.*\) float32",
    ),
    "huge": (
        damaged(same, {**HEADER, "model": '{"channels": 4000, "classes": ["a"], "in_channels": 3}'}),
        r"in place of \(16000, ",
    ),
    "no classes": (
        damaged(same, {**HEADER, "model": '{"in_channels": 3}'}),
        "of a detector in its header; model.classes must be",
    ),
    "no channels": (
        damaged(same, {**HEADER, "model": '{"classes": ["a"]}'}),
        "of a detector in its header; model.in_channels must be",
    ),
    "endless number": (
        damaged(same, {**HEADER, "model": '{"base":' + "9" * 5000 + "}"}),
        "configuration in its header",
    ),
    "deep": (damaged(same, {**HEADER, "model": "[" * 100_000}), "must have the detector's configuration in its header"),
    "no checksum": (damaged(same, HEADER), "must have weights and a header that fit their checksum; it is damaged"),
    "flipped bit": (flip, "must have weights and a header that fit their checksum; it is damaged"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_refused_in_one_sentence(path, kind):
    damage, words = DAMAGE[kind]
    damage(path)
    with pytest.raises(InputError, match=words) as refusal:
        load_detector(path)
    message = str(refusal.value)
    assert "\n" not in message
    assert len(message) < 400
    assert message.startswith((str(path), "model.name"))


def test_no_flipped_bit_of_what_a_file_says_makes_another_detector_of_it(tmp_path, detector):
    other = build_detector(CONFIG)
    other.input = InputConfig("stacked_histogram", {"bins": 5}, 50_000, (720, 1280), (360, 640))
    path = tmp_path / "detector.safetensors"
    save_detector(other, path)
    content = path.read_bytes()
    said = range(content.index(b"__metadata__"), content.index(b"}", content.index(b"sha256")) + 1)
    taken = 0
    for place in said:
        bit = place % 8
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        try:
            again = load_detector(path)
        except InputError:
            continue
        taken += 1
        assert (again.config, again.input) == (other.config, other.input)
    assert taken < len(said) / 20


def test_a_file_of_the_old_format_is_read(tmp_path, detector):
    with safe_open(_saved(detector, tmp_path), framework="pt") as file:
        header = {**file.metadata(), "format": "seqdet detector 1"}
    tensors = load_file(tmp_path / "detector")
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].flatten().view(torch.uint8).numpy().tobytes())
    save_file(tensors, tmp_path / "detector", {**header, "sha256": digest.hexdigest()})
    assert load_detector(tmp_path / "detector").config == CONFIG


@pytest.mark.parametrize("name", ["head.boxes.0.weight", "backbone.stem.0.1.running_var"])
@pytest.mark.parametrize("number", [torch.nan, -torch.inf])
def test_weights_that_are_no_finite_numbers_are_refused_by_the_name_of_the_first(tmp_path, name, number):
    detector = build_detector(CONFIG)
    tensors = detector.state_dict()
    later = list(tensors)[list(tensors).index(name) :]
    for each in later:
        if tensors[each].is_floating_point():
            tensors[each].view(-1)[-1] = number
    save_detector(detector, tmp_path / "detector")
    words = rf"detector must have weights that are finite numbers, got {number} in {name}\."
    with pytest.raises(InputError, match=words):
        load_detector(tmp_path / "detector")


def test_a_device_that_is_not_there_is_refused(path):
    with pytest.raises(InputError, match=r"device must be one that torch finds here.* got 'gpu'"):
        load_detector(path, device="gpu")


class Trap:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("trapped",)


def test_a_pickle_is_refused_without_being_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(Trap(), "detector.safetensors")
    with pytest.raises(InputError, match="must be a safetensors file"):
        load_detector("detector.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["detector.safetensors"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(path, detector, monkeypatch):
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"detector\.safetensors cannot be written: No space left on device\."):
        save_detector(build_detector(CONFIG, seed=4), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_folder_is_refused(tmp_path, detector):
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        save_detector(detector, tmp_path / "missing" / "detector.safetensors")


def test_loading_needs_no_lightning(path):
    code = f"import sys, seqdet; seqdet.load_detector({str(path)!r}); print('lightning' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_what_the_frames_show_is_kept_with_the_weights(tmp_path, detector):
    assert load_detector(_saved(detector, tmp_path)).input is None
    shown = InputConfig("stacked_histogram", {"bins": 5}, 50_000, (720, 1280), (360, 640))
    other = build_detector(CONFIG)
    other.input = shown
    assert load_detector(_saved(other, tmp_path)).input == shown


def test_a_file_that_says_nonsense_of_its_frames_is_refused(tmp_path, detector):
    tensors = load_file(_saved(detector, tmp_path))
    with safe_open(tmp_path / "detector", framework="pt") as file:
        header = file.metadata()
    save_file(tensors, tmp_path / "detector", header | {"input": '{"window_us": 0}'})
    with pytest.raises(InputError, match="detector: input must have the setting 'representation', and has not"):
        load_detector(tmp_path / "detector")


def _saved(detector, folder):
    save_detector(detector, folder / "detector")
    return folder / "detector"
