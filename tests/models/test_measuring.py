"""What a detector costs, against sums that are written out here."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from seqdet import Detector, InputError, VanillaConfig, build_detector
from seqdet.cli import main
from seqdet.config import DECODING, MODELS
from seqdet.models.measuring import measure, measure_untrained, models_table
from seqdet.models.published_figures import PUBLISHED, UNPUBLISHED

TINY = VanillaConfig(base=1, channels=8, levels=2, in_channels=4, classes=("a", "b"))


class Attending(nn.Module):
    """A backbone of one map that attends over the pixels of a frame, two heads of width 3 and 5; without memory."""

    scaled = False
    exact = 0
    multiple = 1
    channels = (10,)
    strides = (1,)

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2 * (3 + 3 + 5))

    def forward(self, frames, state=None):
        time, lanes, _, height, width = frames.shape
        cells = self.layer(frames.flatten(0, 1).flatten(2).transpose(1, 2)).unflatten(2, (2, 11)).transpose(1, 2)
        query, key, value = cells.split([3, 3, 5], dim=3)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return [attended.transpose(2, 3).reshape(time * lanes, 10, height, width)], ()


class Silent(nn.Module):
    """A head that hands the map on."""

    outputs = ()
    suppresses = False
    decoding = DECODING
    predictors = ()

    def forward(self, maps, size_hw):
        return maps[0]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_convolution_costs_two_operations_for_each_weight_and_place(device):
    with torch.device(device):
        detector = build_detector(TINY)
    costs = measure(detector, (30, 40))
    shapes = []
    for part in detector.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda part, _, out: shapes.append((part.weight.numel(), out.shape)))
    detector.eval()(torch.zeros(1, 1, 4, 30, 40, device=device))
    assert costs.flop == sum(2 * weights * shape[0] * shape[2] * shape[3] for weights, shape in shapes)
    assert costs.parameters == sum(each.numel() for each in detector.parameters())
    assert costs.state_bytes == 4 * 2 * 8 * (32 // 8 * 48 // 8 + 32 // 16 * 48 // 16)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_is_counted_whatever_computes_it(device):
    with torch.device(device):
        detector = Detector(Attending(), Silent(), classes=("a",), in_channels=4)
    cells = 6 * 8
    assert measure(detector, (6, 8)) == (4 * 22 + 22, 2 * cells * 4 * 22 + 2 * 2 * cells * cells * (3 + 5), 0)


def test_measuring_leaves_a_detector_as_it_was():
    detector = build_detector(TINY).train()
    before = {name: each.clone() for name, each in detector.state_dict().items()}
    measure(detector, (30, 40))
    assert detector.training
    assert all(torch.equal(each, before[name]) for name, each in detector.state_dict().items())


def test_an_untrained_detector_costs_what_a_built_one_does():
    assert measure_untrained(TINY, (64, 96)) == measure(build_detector(TINY), (64, 96))


def test_the_table_has_a_row_for_every_architecture_with_its_figures():
    head, *rows, note = models_table(size_hw=(240, 304), channels=20)
    assert head.split()[0] == "name"
    assert [row.split()[0] for row in rows] == list(MODELS)
    for name, row in zip(MODELS, rows, strict=True):
        published = PUBLISHED.get(name, UNPUBLISHED)
        assert published.figure in row
        assert published.weights in row
    assert "304x240 with 20 channels" in note
    assert "not counted" in note


def test_the_command_prints_the_table(caplog):
    main(["models", "--size-hw", "64,96", "--channels", "4"])
    assert caplog.messages == models_table(size_hw=(64, 96), channels=4)


def test_a_size_that_no_frame_has_is_refused():
    with pytest.raises(InputError, match="size_hw must be"):
        models_table(size_hw=(0, 304), channels=20)
