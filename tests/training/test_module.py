import math

import pytest

from seqdet.config import TrainConfig
from seqdet.training.module import learning_rate_factor


def test_the_cosine_falls_from_its_peak_to_nothing():
    factor = learning_rate_factor(TrainConfig(max_steps=100, warmup_steps=0, schedule="cosine"), 10)
    assert factor(0) == 1
    assert factor(50) == pytest.approx(0.5)
    assert factor(100) == pytest.approx(0, abs=1e-12)
    assert factor(25) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_the_exponential_falls_by_its_factor_after_every_epoch():
    factor = learning_rate_factor(TrainConfig(warmup_steps=0, schedule="exponential", decay=0.98), 10)
    assert [factor(step) for step in (0, 9, 10, 19, 25)] == pytest.approx([1, 1, 0.98, 0.98, 0.98**2])


def test_the_rate_rises_over_the_warm_up_and_never_starts_at_nothing():
    factor = learning_rate_factor(TrainConfig(warmup_steps=4, schedule="constant"), 10)
    assert [factor(step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
