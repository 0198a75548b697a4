from typing import Any

import numpy as np
import pytest

from nsh.figures import PALETTE, information_plane

STEPS = [0, 10, 100, 1000]
INPUT = np.array([[0.1, 3], [1.0, 2.5], [1.8, 2.0], [1.0, 1.5]])
LABEL = np.array([[0.0, 1.0], [0.5, 0.9], [1.0, 0.8], [1.0, 0.7]])


@pytest.mark.parametrize("log", [False, True])
def test_trajectories_run_through_the_points_in_the_colours_of_their_steps(ax, log):
    plane: Any = information_plane(ax, INPUT, LABEL, STEPS, log=log)
    for level, line in enumerate(plane.trajectories):
        points = np.stack([INPUT[:, level], LABEL[:, level]], axis=-1)
        segments = np.asarray(line.get_segments())
        np.testing.assert_allclose(segments[:, 0], points[:-1])
        np.testing.assert_allclose(segments[:, 1], points[1:])
        assert line.get_array().tolist() == [5, 55, 550]
        start, end = plane.starts[level], plane.ends[level]
        assert [*start.get_xdata(), *start.get_ydata()] == points[0].tolist()
        assert [*end.get_xdata(), *end.get_ydata()] == points[-1].tolist()
        assert start.get_markerfacecolor() == "white"
        assert end.get_markerfacecolor() == list(PALETTE.values())[level]
        shades = line.norm(line.get_array())
        assert ((shades >= 0) & (shades <= 1)).all()
        expected = np.log([1, 11, 110]) / np.log(200) if log else np.array([5, 55, 550]) / 1000
        np.testing.assert_allclose(shades, expected, atol=1e-12)
    assert plane.ends[0].get_marker() != plane.ends[1].get_marker()


def test_labels_have_units(ax):
    plane: Any = information_plane(ax, INPUT, LABEL, STEPS, levels=["lower", "upper"])
    assert ax.get_xlabel() == "I(level; input) (bits)"
    assert ax.get_ylabel() == "I(level; label) (bits)"
    assert plane.colour_bar.ax.get_ylabel() == "training time (steps)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["lower", "upper"]
    ax.clear()
    information_plane(ax, INPUT, LABEL, STEPS)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["level 1", "level 2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_bits": INPUT[:, 0]}, "input_bits.shape"),
        ({"input_bits": INPUT[:1], "label_bits": LABEL[:1], "steps": [0]}, "at least two times"),
        ({"label_bits": LABEL[:, :1]}, r"label_bits.shape = \(4, 1\): must be \(4, 2\)"),
        ({"label_bits": np.where(LABEL == 0, np.nan, LABEL)}, r"label_bits\[0, 0\] = nan"),
        ({"input_bits": np.where(INPUT == 3, np.inf, INPUT)}, r"input_bits\[0, 1\] = inf"),
        ({"steps": [0, 1]}, r"steps.shape = \(2,\)"),
        ({"steps": [0, 2, 2, 3]}, r"steps\[2\] = 2.0: must be increasing"),
        ({"steps": [-1, 0, 1, 2]}, r"steps\[0\] = "),
        ({"steps": [0, 1, 2, np.inf]}, r"steps\[3\] = inf"),
        ({"levels": ["one"]}, "levels = .*2 names"),
    ],
)
def test_bad_planes(bare_ax, change, message):
    good = {"input_bits": INPUT, "label_bits": LABEL, "steps": STEPS}
    with pytest.raises(ValueError, match=message):
        information_plane(bare_ax, **(good | change))
