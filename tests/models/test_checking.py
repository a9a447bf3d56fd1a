"""Parts that break what ``contracts`` ask are told from those that do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from seqdet import allow, build_detector, check_contract
from seqdet.allowing import ALLOWED
from seqdet.checks import InputError
from seqdet.config import VanillaConfig
from seqdet.models.detector import Detector
from seqdet.models.single_shot import single_shot_head


class Averaging(nn.Module):
    """One strided convolution and a running mean; each switch breaks a rule."""

    strides = (8,)
    channels = (4,)
    multiple = 8
    scaled = True
    exact = 1

    def __init__(self, broken: str = "") -> None:
        super().__init__()
        self.broken = broken
        self.convolution = nn.Conv2d(3, 4, 8, stride=8)
        self.hidden = torch.zeros(())
        if broken == "stride":
            self.strides = (16,)
        if broken == "falling":
            self.strides = (16, 8)
        if broken == "channels":
            self.channels = (5,)
        if broken == "count":
            self.channels = (4, 4)
        self.multiple = {"zero": 0, "text": "8"}.get(broken, 8)
        if broken == "real":
            self.strides = (8.0,)
        if broken == "one stride":
            self.strides = 8
        if broken == "input":
            self.convolution = nn.Conv2d(5, 4, 8, stride=8)
        if broken == "nan":
            nn.init.constant_(self.convolution.bias, torch.nan)
        self.calls = 0

    def forward(self, frames, state=None):
        maps = self.convolution(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        (mean,) = state or (torch.zeros_like(maps[0]),)
        seen = []
        for x in maps:
            if self.broken == "others":
                x = x + maps[:, -1:].mean(dim=0)
            if self.broken == "leak":
                mean = mean + 0.1 * mean.mean(dim=0, keepdim=True)
            mean = 0.5 * mean + 0.5 * x
            seen.append(mean)
        if self.broken == "hidden":
            seen = [x + self.hidden for x in seen]
            self.hidden = self.hidden + 1.0
        if self.broken == "silence" and state is None:
            seen = [x + 1 for x in seen]
        if self.broken == "future":
            seen = [x + maps.sum(dim=0) for x in seen]
        after = {"lanes": mean.transpose(0, 1), "complex": mean.to(torch.complex64), "scalar": mean.sum()}
        state = (after.get(self.broken, mean),)
        if self.broken == "repeated":
            seen = seen[-1:] * len(seen)
        if self.broken == "grows":
            self.calls = self.calls + 1
            state = state * self.calls
        if self.broken == "grows at the end":
            state = (torch.cat([mean, mean], dim=1),) if len(frames) == 2 else state
        if self.broken == "infinite":
            state = (mean + torch.inf,)
        if self.broken == "raises":
            raise KeyError("what it lacks")
        if self.broken == "list":
            state = list(state)
        if self.broken == "one map":
            return torch.cat(seen), state
        return [torch.cat(seen[:1] if self.broken == "last" else seen)], state


def detector_of(broken: str) -> Detector:
    torch.manual_seed(0)
    head = single_shot_head(VanillaConfig(classes=("a",)), 4, (8,))
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    return Detector(Averaging(broken), head, classes=("a",), in_channels=3)


BROKEN = {
    "stride": "map 0 of the backbone must have 1x1 cells of frames of 16x16 pixels, as its stride of 16 says, got 2x2",
    "falling": r"strides of the backbone must be whole numbers that rise, finest map first, got \(16, 8\)",
    "channels": "map 0 of the backbone must have the 5 channels that it says, got 4",
    "count": "backbone must have as many channels and strides as it gives maps, got 2 channels and 1 strides",
    "one map": "backbone must return a list of maps .* got Tensor",
    "last": "map 0 of the backbone must have one entry for each frame of each lane, 9 .* got 3",
    "list": "backbone must return its state as a tuple of tensors, .* got list",
    "lanes": "state must have a lane as the first axis of every tensor, 3 .* got shape .4, 3, 1, 1. in place 0",
    "scalar": "state must have a lane as the first axis of every tensor",
    "complex": "state must be of tensors of real floating point, got torch.complex64 in place 0",
    "others": "a lane must depend on that lane alone",
    "leak": "a lane must depend on that lane alone",
    "hidden": "outputs of a lane must depend on that lane alone",
    "future": "outputs of a clip that is cut must be those of the whole, and deltas differs",
    "repeated": "outputs of a clip that is cut must be those of the whole, and deltas differs",
    "grows": r"state must be of tensors of the same shapes after every call, got .*, then .*\), \(",
    "grows at the end": r"state must be of tensors of the same shapes after every call, got .*, then \[\(3, 8, 1, 1\)",
    "zero": "multiple of the backbone must be a whole number of at least 1, got 0",
    "text": "multiple of the backbone must be a whole number of at least 1, got '8'",
    "real": r"strides of the backbone must be whole numbers of at least 1, a map each, got \(8.0,\)",
    "one stride": "strides of the backbone must be whole numbers of at least 1, a map each, got 8",
    "input": r"detector must take frames of shape \(3, 3, 3, 8, 8\), and raised RuntimeError: Given groups=1",
    "raises": "detector must take frames of .* and raised KeyError: 'what it lacks'",
    "nan": "map 0 of the backbone must be of finite numbers, and 36 of its 36 are not",
    "infinite": "state in place 0 must be of finite numbers, and 12 of its 12 are not",
    "silence": "state of zeros must mean the same as none, a lane that starts, and deltas differs",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_rule_that_is_broken_is_one_sentence(broken):
    with pytest.raises(InputError, match=BROKEN[broken]):
        check_contract(detector_of(broken))


def test_what_keeps_the_rules_passes_and_stays_as_it_was():
    detector = detector_of("").train()
    before = {name: each.clone() for name, each in detector.state_dict().items()}
    random = torch.get_rng_state()
    check_contract(detector)
    assert detector.training
    assert detector.head.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(each, before[name]) for name, each in detector.state_dict().items())


SMALL = {
    "vanilla": {"base": 1, "channels": 4},
    "lowrec": {"base": 1, "aligned": True},
    "rvt_tiny": {"dim": 8, "head_width": 4},
    "s5vit_small": {"dim": 8, "head_width": 4},
    "with_memory": {"frames": "timm:mobilenetv3_small_050", "channels": 4, "memory_channels": 4},
}


@pytest.mark.parametrize("name", SMALL)
def test_the_detectors_of_seqdet_keep_the_rules(name):
    check_contract(build_detector(name, classes=["a", "b"], in_channels=2, **SMALL[name]))


class Forgetful(nn.Module):
    state_tensors = 1

    def __init__(self, broken: str) -> None:
        super().__init__()
        self.broken = broken

    def forward(self, maps, lanes, state=None):
        if self.broken == "shape":
            maps = [x[:, :1] for x in maps]
        return maps, () if self.broken == "tensors" else (maps[0].unflatten(0, (-1, lanes))[-1],)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("shape", r"memory must give maps of the shapes that it takes, \[\(9, 4, 1, 1\)\], got \[\(9, 1, 1, 1\)\]"),
        ("tensors", "memory must give as many tensors as state_tensors says, 1, got 0"),
    ],
)
def test_a_memory_that_breaks_a_rule_is_one_sentence(broken, words):
    usual = detector_of("")
    detector = Detector(usual.backbone, usual.head, memory=Forgetful(broken), classes=("a",), in_channels=3)
    with pytest.raises(InputError, match=words):
        check_contract(detector)


SOURCE = """
import torch
from seqdet.models.detector import Detector
from seqdet.models.single_shot import single_shot_head
from seqdet.config import VanillaConfig


class Wrong(torch.nn.Conv2d):
    strides, channels, multiple, scaled, exact = (4,), (4,), 8, True, 1

    def forward(self, frames, state=None):
        return [super().forward(frames.flatten(0, 1))], ()


def wrong(classes, in_channels):
    head = single_shot_head(VanillaConfig(classes=classes), 4, (4,))
    return Detector(Wrong(in_channels, 4, 8, 8), head, classes=classes, in_channels=in_channels)
"""


def test_a_function_of_the_user_is_held_against_the_rules_but_not_without_memory_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv(ALLOWED, "[]")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "wrong_parts.py").write_text(SOURCE, encoding="utf-8")
    allow(str(tmp_path / "wrong_parts.py:wrong"))
    words = "wrong must return a detector whose parts keep their contract: map 0 of the backbone must have 2x2"
    with pytest.raises(InputError, match=words):
        build_detector("wrong_parts:wrong", classes=["a"], in_channels=3)
    with torch.device("meta"):
        build_detector("wrong_parts:wrong", classes=["a"], in_channels=3)


RAISING = """
from seqdet import build_detector
from seqdet.config import VanillaConfig


def raising(classes, in_channels):
    return {}["what it lacks"]


def relabelled(classes, in_channels):
    return build_detector(VanillaConfig(classes=("other",), in_channels=3, base=1, channels=4))


def of_five(classes, in_channels):
    return build_detector(VanillaConfig(classes=classes, in_channels=5, base=1, channels=4))
"""


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("raising", "raising raised KeyError when it was built: 'what it lacks'"),
        ("relabelled", "the classes and channels that it is given, a and 3; got other and 3"),
        ("of_five", "the classes and channels that it is given, a and 3; got a and 5"),
    ],
)
def test_a_function_that_gives_something_else_than_it_is_asked_for_is_refused(
    function, words, device, tmp_path, monkeypatch
):
    monkeypatch.setenv(ALLOWED, "[]")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "raising_parts.py").write_text(RAISING, encoding="utf-8")
    allow(str(tmp_path / f"raising_parts.py:{function}"))
    with torch.device(device), pytest.raises(InputError, match=words):
        build_detector(f"raising_parts:{function}", classes=["a"], in_channels=3)
