"""The figure of a critical point: what is drawn is what was given."""

import numpy as np
import pytest

from nsh.figures import KernelProfile, criticality_figure

pytestmark = pytest.mark.core

K = np.geomspace(0.1, 10, 5)
COURSES = (
    KernelProfile("low", 0.5 * K, np.array([1.0, 0.5, 0.0])),
    KernelProfile("critical", K, np.ones(4)),
)


def test_draws_what_it_is_given():
    figure = criticality_figure(K, K / 2, K / 3, COURSES, K_star=2.0, title="name")
    chi, step, depth = figure.axes
    np.testing.assert_array_equal(chi.get_lines()[0].get_ydata(), K / 2)
    np.testing.assert_array_equal(chi.get_lines()[1].get_ydata(), K / 3)
    np.testing.assert_allclose(np.asarray(step.get_lines()[0].get_ydata(), float), 0.5)
    np.testing.assert_array_equal(depth.get_lines()[0].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(depth.get_lines()[0].get_ydata(), [1, 0.5, np.nan])
    legend = depth.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["low", "critical"]
    marks = [line.get_xdata() for line in chi.get_lines()[2:]]
    assert [2.0, 2.0] in marks
    unmarked = criticality_figure(K, K, K, COURSES)
    assert len(unmarked.axes[0].get_lines()) == len(chi.get_lines()) - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": -K}, r"K\[0\] = -0.1"),
        ({"K": K[::-1]}, r"K\[1\]"),
        ({"K": K[:1]}, r"K.shape = \(1,\)"),
        ({"parallel": K[1:]}, r"chi_par.shape = \(4,\)"),
        ({"perpendicular": K[None]}, r"chi_perp.shape = \(1, 5\)"),
        ({"courses": [KernelProfile("bent", K[1:], K)]}, r"mapped of 'bent'.shape = \(4,\)"),
    ],
)
def test_bad_input(changes, message):
    given = {"K": K, "parallel": K, "perpendicular": K, "courses": COURSES, **changes}
    with pytest.raises(ValueError, match=message):
        criticality_figure(**given)
