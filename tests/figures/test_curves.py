import statistics
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from nsh.figures import PALETTE, band, curves, grouped_points, reference


def edges_at(polygons, x):
    (path,) = polygons.get_paths()
    heights = path.vertices[np.isclose(path.vertices[:, 0], x), 1]
    return heights.min(), heights.max()


def plain(values):
    mean = statistics.fmean(values)
    return mean, statistics.stdev(values) / len(values) ** 0.5


def test_band_is_the_standard_error_and_range_the_quantiles(ax):
    values = np.random.default_rng(0).normal(size=(11, 3)) * [1, 2, 3]
    drawn: Any = band(ax, [0, 10, 30], values, label="I", colour=PALETTE["green"], show_range=True)
    for place, x in enumerate([0, 10, 30]):
        mean, error = plain(list(values[:, place]))
        assert drawn.line.get_ydata()[place] == pytest.approx(mean)
        low, high = edges_at(drawn.error, x)
        assert (low, high) == pytest.approx((mean - error, mean + error))
        ordered = sorted(values[:, place])
        # of 11 seeds, the second and the last but one are the 10% and 90% quantiles exactly
        assert edges_at(drawn.range, x) == pytest.approx((ordered[1], ordered[-2]))
    assert drawn.line.get_color() == PALETTE["green"]
    assert tuple(drawn.error.get_facecolor()[0][:3]) == to_rgba(PALETTE["green"])[:3]
    assert drawn.error.get_alpha() > drawn.range.get_alpha()


def test_missing_seeds_are_left_out_and_said(ax):
    values = np.array([[1.0, 2, np.nan, np.nan], [3, 6, 5, np.nan], [5, np.nan, np.nan, np.nan]])
    drawn: Any = band(ax, [1, 2, 3, 4], values, label="I", colour=PALETTE["blue"], show_range=True)
    numbers = drawn.statistics
    assert numbers.seeds.tolist() == [3, 2, 1, 0]
    assert numbers.mean[:3].tolist() == [3, 4, 5]
    assert np.isnan(numbers.mean[3])
    assert numbers.standard_error[:2] == pytest.approx([plain([1, 3, 5])[1], plain([2, 6])[1]])
    assert np.isnan(numbers.standard_error[2:]).all()
    assert drawn.line.get_label() == "I (0–3 of 3 seeds)"


def test_label_without_missing_seeds_and_with_equally_many_missing(ax):
    full: Any = band(ax, [1, 2], np.ones((2, 2)), label="I", colour="black")
    assert full.line.get_label() == "I"
    values = np.array([[1.0, 2], [np.nan, np.nan], [3, 4]])
    diverged: Any = band(ax, [1, 2], values, label="I", colour="black")
    assert diverged.line.get_label() == "I (2 of 3 seeds)"


def test_one_seed_has_a_line_and_no_band(ax):
    drawn: Any = band(ax, [1, 2], [[1.0, 2.0]], label="I", colour="black")
    assert drawn.line.get_ydata().tolist() == [1, 2]
    assert np.isnan(drawn.statistics.standard_error).all()
    assert drawn.range is None


def test_curves_label_axes_with_units_and_take_the_palette_in_order(ax):
    values = np.random.default_rng(1).normal(size=(4, 3))
    drawn: Any = curves(ax, [1, 10, 100], {"a": values, "b": -values}, ylabel="I (bits)", log=True)
    assert ax.get_xlabel() == "training time (steps)"
    assert ax.get_ylabel() == "I (bits)"
    assert ax.get_xscale() == "log"
    assert ax.get_xlim() == pytest.approx((1, 100))
    assert [drawn[label].line.get_color() for label in "ab"] == list(PALETTE.values())[:2]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_reference_line(ax):
    line: Any = reference(ax, 2.0, "2 bits")
    assert list(line.get_ydata()) == [2, 2]
    assert ax.texts[0].get_text() == "2 bits"
    with pytest.raises(ValueError, match="y = nan"):
        reference(ax, float("nan"), "?")


@pytest.mark.parametrize(
    ("x", "values", "message"),
    [
        ([1, 2, 3], np.ones((4, 2)), r"values of 'I'.shape = \(4, 2\): must be \(seeds, 3\)"),
        ([1, 2], np.ones(2), "shape"),
        ([1, 2], np.ones((0, 2)), "at least one seed"),
        ([1, 2], [[1, np.inf]], r"values of 'I'\[0, 1\] = inf"),
        ([1, 2], [[np.nan, np.nan]], "NaN everywhere"),
        ([1, 2], [["a", "b"]], "dtype"),
        ([2, 2], np.ones((1, 2)), r"x\[1\] = 2.0: must be increasing"),
        ([1, np.nan], np.ones((1, 2)), r"x\[1\] = nan"),
        ([1, np.inf], np.ones((1, 2)), r"x\[1\] = inf"),
        ([[1, 2]], np.ones((1, 2)), "x.shape"),
        ([0, 1], np.ones((1, 2)), r"x\[0\] = 0.0: must be above 0 on a logarithmic axis"),
    ],
)
def test_bad_curves(bare_ax, x, values, message):
    with pytest.raises(ValueError, match=message):
        curves(bare_ax, x, {"I": values}, ylabel="bits", log=True)


def test_no_groups(bare_ax):
    with pytest.raises(ValueError, match="at least one"):
        curves(bare_ax, [1, 2], {}, ylabel="bits")
    with pytest.raises(ValueError, match="at least one"):
        grouped_points(bare_ax, ["small"], {}, ylabel="bits")
    with pytest.raises(ValueError, match="conditions"):
        grouped_points(bare_ax, [], {"a": [[1.0]]}, ylabel="bits")


def test_grouped_points_stand_side_by_side_with_standard_errors(ax):
    rng = np.random.default_rng(2)
    groups = {"MLP": rng.normal(size=(6, 2)), "CNN": rng.normal(size=(6, 2))}
    groups["CNN"][0] = np.nan
    drawn: Any = grouped_points(ax, ["small batch", "large batch"], groups, ylabel="NC1 (ratio)")
    for place, (label, values) in enumerate(groups.items()):
        points, _, (bars,) = drawn[label].container
        kept = values[~np.isnan(values).any(axis=1)]
        for i, segment in enumerate(bars.get_segments()):
            mean, error = plain(list(kept[:, i]))
            assert points.get_ydata()[i] == pytest.approx(mean)
            assert segment[:, 1] == pytest.approx([mean - error, mean + error])
        assert points.get_color() == list(PALETTE.values())[place]
        assert np.round(points.get_xdata()).tolist() == [0, 1]
    first, second = (drawn[label].container[0] for label in groups)
    assert (first.get_xdata() < second.get_xdata()).all()
    assert first.get_marker() != second.get_marker()
    assert [text.get_text() for text in ax.get_xticklabels()] == ["small batch", "large batch"]
    assert ax.get_ylabel() == "NC1 (ratio)"
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["MLP", "CNN (5 of 6 seeds)"]
    with pytest.raises(ValueError, match=r"values of 'MLP'.shape"):
        grouped_points(ax, ["small"], groups, ylabel="NC1")
