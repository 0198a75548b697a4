from typing import Any

import numpy as np
import pytest

from nsh.figures import Features, draw_phase_diagram

P = np.geomspace(1e-3, 1, 31)
SIZES = 2 ** np.arange(9)
GROWTH, DECAY = 0.06, -0.005
Q = 1 - (1 - P[:, None]) ** SIZES
EXPONENT = Q * GROWTH + (1 - Q) * DECAY
CRITICAL = 1 - (1 - -DECAY / (GROWTH - DECAY)) ** (1 / SIZES)


def brightness(mesh, value):
    return sum(mesh.cmap(mesh.norm(value))[:3])


def test_cells_are_centred_on_their_values_on_logarithmic_axes(ax):
    drawn: Any = draw_phase_diagram(ax, P, SIZES, EXPONENT, CRITICAL)
    corners = np.log(drawn.mesh.get_coordinates())
    centres = (corners[1:, 1:] + corners[:-1, :-1]) / 2
    np.testing.assert_allclose(centres[..., 0], np.broadcast_to(np.log(SIZES), (31, 9)), atol=1e-9)
    np.testing.assert_allclose(centres[:, 0, 1], np.log(P), atol=1e-9)
    np.testing.assert_array_equal(np.ravel(drawn.mesh.get_array()), EXPONENT.ravel())


@pytest.mark.parametrize("exponent", [EXPONENT, np.abs(EXPONENT), -np.abs(EXPONENT), EXPONENT * 0])
def test_colours_diverge_from_white_at_zero(ax, exponent):
    mesh: Any = draw_phase_diagram(ax, P, SIZES, exponent, CRITICAL).mesh
    white = brightness(mesh, 0)
    assert white > 2.85
    assert brightness(mesh, mesh.norm.vmax) < 1.2
    assert brightness(mesh, mesh.norm.vmin) < 1.2
    red, _, blue, _ = mesh.cmap(mesh.norm(mesh.norm.vmin))
    assert red > blue  # fading is red, surviving blue
    assert mesh.norm.vmin <= exponent.min()
    assert mesh.norm.vmax >= exponent.max()


def test_critical_line_names_and_units(ax):
    drawn: Any = draw_phase_diagram(ax, P, SIZES, EXPONENT, CRITICAL)
    np.testing.assert_array_equal(drawn.boundary.get_xdata(), SIZES)
    np.testing.assert_array_equal(drawn.boundary.get_ydata(), CRITICAL)
    assert "critical p*(B)" in {text.get_text() for text in ax.texts}
    assert [text.get_text() for text in drawn.regions] == ["survives", "fades"]
    for text, sign in zip(drawn.regions, (1, -1), strict=True):
        size, p = text.get_position()
        critical = np.exp(np.interp(np.log(size), np.log(SIZES), np.log(CRITICAL)))
        assert sign * (p - critical) > 0
    assert ax.get_xlabel() == "batch size B (samples)"
    assert ax.get_ylabel() == "firing probability p (per sample)"
    assert drawn.colour_bar.ax.get_ylabel() == "growth exponent (per step)"
    ticks = drawn.colour_bar.get_ticks()
    assert min(ticks) < 0 < max(ticks)
    assert 0 in ticks
    ax.figure.draw_without_rendering()
    low, high = ax.get_xlim()
    shown = [
        text.get_text() for text in ax.get_xticklabels() if low < text.get_position()[0] < high
    ]
    assert shown == ["1", "2", "4", "8", "16", "32", "64", "128", "256"]


def test_no_name_where_there_is_no_region_and_no_line_in_sight(ax):
    high = P > 0.5
    drawn: Any = draw_phase_diagram(ax, P[high], SIZES, EXPONENT[high], CRITICAL)
    assert [text.get_text() for text in drawn.regions] == ["survives"]
    assert "critical p*(B)" not in {text.get_text() for text in ax.texts}


def test_features_are_points_filled_where_they_survived(ax):
    features = Features([0.01, 0.1, 0.5], [1, 8, 1], np.array([False, True, True]))
    drawn: Any = draw_phase_diagram(ax, P, SIZES, EXPONENT, CRITICAL, features=features)
    assert drawn.survived.get_offsets().tolist() == [[8, 0.1], [1, 0.5]]
    assert drawn.faded.get_offsets().tolist() == [[1, 0.01]]
    assert drawn.faded.get_facecolor()[0].tolist() == [1, 1, 1, 1]
    assert drawn.survived.get_facecolor()[0][:3].max() < 0.3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["survived", "faded"]


def features(p=(0.1,), sizes=(2,), survived=(True,)):
    return Features(np.array(p), np.array(sizes), np.array(survived))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": P[::-1]}, r"p\[1\] = .*increasing"),
        ({"p": np.append(P[:-1], 1.5)}, r"p\[30\] = 1.5: must be at most 1"),
        ({"p": [0.5]}, r"p.shape = \(1,\)"),
        ({"batch_sizes": np.arange(9)}, r"batch_sizes\[0\] = 0.0: must be above 0"),
        ({"growth_exponent": EXPONENT.T}, r"growth_exponent.shape = \(9, 31\): must be \(31, 9\)"),
        ({"growth_exponent": EXPONENT * np.nan}, r"growth_exponent\[0, 0\] = nan"),
        ({"growth_exponent": EXPONENT + np.inf}, r"growth_exponent\[0, 0\] = inf"),
        ({"boundary": CRITICAL[1:]}, r"boundary.shape = \(8,\): must be \(9,\)"),
        ({"boundary": CRITICAL * 0}, r"boundary\[0\] = 0.0: must be above 0"),
        ({"features": features(p=(1.2,))}, r"features.p\[0\] = 1.2"),
        ({"features": features(p=0.1)}, r"features.p.shape = \(\)"),
        ({"features": features(sizes=(0,))}, r"features.batch_sizes\[0\] = 0"),
        ({"features": features(sizes=(1, 2))}, r"features.batch_sizes.shape = \(2,\)"),
        ({"features": features(survived=(1,))}, "features.survived.dtype"),
        ({"features": features(survived=(True, True))}, "features.survived.shape"),
    ],
)
def test_bad_phase_diagrams(bare_ax, change, message):
    good = {"p": P, "batch_sizes": SIZES, "growth_exponent": EXPONENT, "boundary": CRITICAL}
    with pytest.raises(ValueError, match=message):
        draw_phase_diagram(bare_ax, **(good | change))
