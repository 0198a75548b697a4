import numpy as np
import pytest

from nsh.figures import PALETTE, histograms


def test_densities_by_hand_on_given_edges(ax):
    groups = {"within": [0.1, 0.2, 0.6, 1.0], "across": [0.6, 0.7]}
    drawn = histograms(ax, groups, [0, 0.5, 1])
    # share of the group / width of the bin; the last bin holds its right edge
    assert drawn["within"].density.tolist() == [1, 1]
    assert drawn["across"].density.tolist() == [0, 2]
    for place, histogram in enumerate(drawn.values()):
        heights, edges, _ = histogram.area.get_data()
        assert heights.tolist() == histogram.density.tolist()
        assert edges.tolist() == [0, 0.5, 1]
        assert histogram.area.get_fill()
        assert not histogram.outline.get_fill()
        expected = tuple(int(list(PALETTE.values())[place][i : i + 2], 16) / 255 for i in (1, 3, 5))
        assert histogram.area.get_facecolor()[:3] == pytest.approx(expected)


def test_a_number_of_bins_spans_all_groups(ax):
    rng = np.random.default_rng(0)
    groups = {"within": rng.normal(1, 0.2, 50), "across": rng.normal(0, 0.1, 80)}
    drawn = histograms(ax, groups, 12)
    everything = np.concatenate(list(groups.values()))
    for histogram in drawn.values():
        np.testing.assert_allclose(
            histogram.edges, np.linspace(everything.min(), everything.max(), 13)
        )
        assert np.sum(histogram.density * np.diff(histogram.edges)) == pytest.approx(1)


def test_equal_values_still_make_a_histogram(ax):
    assert np.sum(histograms(ax, {"one": [0.3, 0.3]}, 4)["one"].density) > 0


def test_labels(ax):
    histograms(ax, {"within class": [0.0, 1.0], "across classes": [0.5]})
    assert ax.get_xlabel() == "local elasticity (ratio)"
    assert ax.get_ylabel() == "density (per unit of the x axis)"
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["within class", "across classes"]


@pytest.mark.parametrize(
    ("groups", "bins", "message"),
    [
        ({}, 5, "at least one"),
        ({"a": []}, 5, r"values of 'a'.shape = \(0,\)"),
        ({"a": [[1.0]]}, 5, r"values of 'a'.shape = \(1, 1\)"),
        ({"a": [1.0, np.nan]}, 5, r"values of 'a'\[1\] = nan"),
        ({"a": [1.0, np.inf]}, 5, r"values of 'a'\[1\] = inf"),
        ({"a": [1.0, 2.5]}, [0.0, 2.0], r"values of 'a'\[1\] = 2.5: must be within the edges"),
        ({"a": [1.0]}, 0, "bins = 0"),
        ({"a": [1.0]}, [1.0], "bins.shape"),
        ({"a": [1.0]}, [0.0, 2.0, 1.0], r"bins\[2\] = 1.0: must be increasing"),
    ],
)
def test_bad_histograms(bare_ax, groups, bins, message):
    with pytest.raises(ValueError, match=message):
        histograms(bare_ax, groups, bins)
