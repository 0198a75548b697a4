import subprocess
import sys
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from nsh import figures
from nsh.figures import PALETTE, colour, new_figure, panel_label, style


def relative_luminance(name):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(name)]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@pytest.mark.long
def test_pyplot_is_never_imported():
    code = "import sys, nsh.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_setting_changes_outside_and_the_users_own_do_not_leak_in():
    with mpl.rc_context({"font.size": 20, "axes.grid": True, "pdf.fonttype": 3}):
        before = dict(mpl.rcParams)
        figure, axes = new_figure()
        figures.curves(axes[0, 0], [0, 1], {"one": [[1, 2], [3, 4]]}, ylabel="bits")
        figure.draw_without_rendering()
        assert dict(mpl.rcParams) == before
        assert axes[0, 0].xaxis.label.get_size() == 8
        assert all(tick.label1.get_size() == 7 for tick in axes[0, 0].xaxis.get_major_ticks())
        assert not axes[0, 0].xaxis.get_gridlines()[0].get_visible()
    before = dict(mpl.rcParams)
    with pytest.raises(RuntimeError), style():
        raise RuntimeError
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(("width", "inches"), [("single", 3.4), ("double", 7.0)])
def test_sizes_of_a_paper(width, inches):
    figure, axes = new_figure(2, 3, width=width)
    assert axes.shape == (2, 3)
    assert figure.get_size_inches() == pytest.approx([inches, inches / 3 * 0.75 * 2])
    figure, _ = new_figure(width=width, height=1.5)
    assert figure.get_size_inches() == pytest.approx([inches, 1.5])


def test_subplot_options_reach_the_axes():
    _, axes = new_figure(1, 2, sharey=True)
    assert axes[0, 0].get_shared_y_axes().joined(*axes[0])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rows": 0}, "rows = 0"),
        ({"columns": -1}, "columns = -1"),
        ({"width": "triple"}, "width = 'triple'"),
        ({"height": 0.0}, "height = 0"),
        ({"height": float("nan")}, "height = nan"),
    ],
)
def test_bad_sizes(options, named):
    with pytest.raises(ValueError, match=named):
        new_figure(**options)


def test_palette_is_okabe_ito_and_lines_show_on_white():
    published = {"#000000", "#E69F00", "#56B4E9", "#009E73"}
    published |= {"#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(PALETTE.values()) == published
    assert [colour(i) for i in range(8)] == list(PALETTE.values())
    # yellow, the one that vanishes on paper, comes last
    assert max(published, key=relative_luminance) == colour(7)
    with pytest.raises(ValueError, match=r"= 8: must be an integer in 0\.\.7"):
        colour(8)


def test_pdf_embeds_truetype_fonts_whatever_the_users_setting(tmp_path):
    figure, axes = new_figure()
    panel_label(axes[0, 0], "a")
    with mpl.rc_context({"pdf.fonttype": 3}):
        figure.savefig(tmp_path / "figure.pdf")
    written = (tmp_path / "figure.pdf").read_bytes()
    assert b"/CIDFontType2" in written
    assert b"/Type3" not in written


def test_panel_label_is_bold_and_outside_the_panel():
    figure, axes = new_figure()
    text: Any = panel_label(axes[0, 0], "b")
    figure.draw_without_rendering()
    place, panel = text.get_window_extent(), axes[0, 0].get_window_extent()
    assert (text.get_text(), text.get_weight()) == ("b", "bold")
    assert place.x1 < panel.x0
    assert place.y0 > panel.y1
    assert place.x0 >= 0
    assert place.y1 <= figure.bbox.height
