import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.viz.charts import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, Chart, lay_out
from seqdet.viz.pages import draw_chart


def places(figure):
    """The points of every curve."""
    found = re.findall(r'<polyline points="([^"]*)"', figure)
    return [np.array([point.split(",") for point in line.split()], float) for line in found]


def numbers(figure, anchor):
    return re.findall(rf'text-anchor="{anchor}">([^<]*)<', figure)


value = st.floats(-1e9, 1e9) | st.sampled_from([0.0, 1e-12, float("nan"), float("inf")])


@settings(max_examples=100)
@given(y=st.lists(value, max_size=80), is_log=st.booleans(), is_noisy=st.booleans())
def test_curves_of_any_values_stay_inside_the_axes(y, is_log, is_noisy):
    figure = draw_chart(Chart("t", "step", {"a": (range(len(y)), y)}, is_log=is_log, is_noisy=is_noisy), width=400)
    if not np.isfinite(y).any():
        assert figure == ""
    for line in places(figure):
        assert (line >= (LEFT, TOP)).all()
        assert (line <= (400 - RIGHT, HEIGHT - BOTTOM)).all()
    assert "nan" not in figure


@settings(max_examples=50)
@given(y=st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=30), is_log=st.booleans())
def test_higher_values_are_drawn_higher_on_both_scales(y, is_log):
    (line,) = places(draw_chart(Chart("t", "step", {"a": (range(len(y)), y)}, is_log=is_log)))
    assert (np.diff(line[:, 0]) > 0).all()
    order = np.argsort(y)
    assert (np.diff(line[order, 1]) <= 0).all()


def test_known_values_are_drawn_at_their_places():
    figure = draw_chart(Chart("t", "recall", {"a": ([0, 0.5, 1], [1, 0.5, 0])}, y_limits=(0, 1)), width=540)
    base, right = HEIGHT - BOTTOM, 540 - RIGHT
    assert places(figure)[0].tolist() == [[LEFT, TOP], [(LEFT + right) / 2, (TOP + base) / 2], [right, base]]
    assert numbers(figure, "end") == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert numbers(figure, "middle") == ["0", "0.2", "0.4", "0.6", "0.8", "1", "recall"]


def test_a_loss_over_decades_has_round_numbers_on_a_log_scale():
    steps = np.arange(40)
    figure = draw_chart(Chart("t", "step", {"a": (steps, 3 * 0.8**steps)}, is_log=True))
    assert numbers(figure, "end") == ["0.001", "0.01", "0.1", "1"]


@pytest.mark.parametrize("y", [[1.0, 0.0, 20.0], [1.0, 3.0, 9.0], [1.0, 1.0, 1.0]])
def test_a_log_scale_gives_way_to_zero_and_to_a_narrow_range(y):
    curve = {"a": ([0, 1, 2], y)}
    assert draw_chart(Chart("t", "x", curve, is_log=True)) == draw_chart(Chart("t", "x", curve))


def test_a_long_curve_is_thinned_to_means_and_smoothed():
    y = 5 + np.random.default_rng(0).normal(size=100_000)
    raw, smooth = places(draw_chart(Chart("t", "step", {"a": (np.arange(len(y)), y)}, is_noisy=True)))
    assert len(raw) == len(smooth) == MOST_POINTS
    assert np.abs(np.diff(smooth[:, 1])).mean() < 0.3 * np.abs(np.diff(raw[:, 1])).mean()
    assert smooth[:, 1].mean() == pytest.approx(raw[:, 1].mean(), abs=0.5)


def test_a_single_point_is_a_dot():
    assert "<circle" in draw_chart(Chart("t", "step", {"AP": ([100], [0.5])}))


def test_several_curves_have_a_legend_and_one_has_none():
    curve = ([0, 1], [0, 1])
    assert "legend" not in draw_chart(Chart("t", "x", {"a": curve}))
    figure = draw_chart(Chart("t", "x", {str(i): curve for i in range(12)}))
    assert figure.count("<li") == 12
    assert 'class="line-1 dashed"' in figure


def test_a_curve_with_more_steps_than_values_is_refused():
    with pytest.raises(InputError, match="x and y of the curve loss must be equally long, got 3 and 2"):
        draw_chart(Chart("t", "x", {"loss": ([0, 1, 2], [0, 1])}))


def test_places_have_names_in_place_of_numbers_and_lie_within_the_axis():
    chart = Chart("Score", "windows", {"AP": ([0, 1, 2], [0.1, 0.5, 0.6])}, (0, 1), x_names=("1", "2", "never"))
    figure = lay_out(chart, width=600)
    assert [name for _, name in figure.x_ticks] == ["1", "2", "never"]
    places = [place for place, _ in figure.x_ticks]
    np.testing.assert_allclose(figure.curves[0].dots[:, 0], places)
    assert figure.left + 50 < places[0] < places[-1] < figure.width - figure.right - 50
