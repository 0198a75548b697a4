"""One style for all figures: colours, sizes and fonts for a paper, and nothing set globally."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.text import Text

from nsh._checks import require, require_integer

PALETTE: Mapping[str, str] = MappingProxyType(
    {
        "blue": "#0072B2",
        "vermilion": "#D55E00",
        "green": "#009E73",
        "purple": "#CC79A7",
        "orange": "#E69F00",
        "sky": "#56B4E9",
        "black": "#000000",
        "yellow": "#F0E442",
    }
)
"""Okabe and Ito's colours, told apart with every kind of colour vision; in order of use.

Example:
    >>> from nsh.figures import PALETTE
    >>> PALETTE["blue"]
    '#0072B2'
"""
MARKERS = "osD^vP*X"  # in step with the palette, for print without colour
INK, TEXT_GREY, MID_GREY = "#222222", "#666666", "#8C8C8C"
EDGE_GREY, LIGHT_GREY = "#BBBBBB", "#D0D0D0"
WIDTHS: Mapping[str, float] = MappingProxyType({"single": 3.4, "double": 7.0})
SCREEN_DPI = 144
STEPS = "training time (steps)"

_STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.framealpha": 0.8,
    "legend.edgecolor": "none",
    "legend.borderpad": 0.2,
    "legend.handlelength": 1.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.h_pad": 0.03,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}


def style() -> AbstractContextManager[None]:
    """The style, on top of matplotlib's defaults, for the length of a ``with`` block.

    Example:
        Nothing stays set after the block:

        >>> import matplotlib
        >>> from nsh.figures import style
        >>> before = dict(matplotlib.rcParams)
        >>> with style():
        ...     inside = matplotlib.rcParams["axes.spines.top"]
        >>> inside, dict(matplotlib.rcParams) == before
        (False, True)
    """
    return matplotlib.style.context(["default", _STYLE])


class StyledFigure(Figure):
    """A figure that is drawn and saved in our style whenever that happens; a notebook shows it."""

    # Any: the renderer of PDF files is no RendererBase
    def draw(self, renderer: Any) -> None:
        """Draw in the style: ticks are made only now."""
        with style():
            super().draw(renderer)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save in the style: a PDF's fonts are embedded as TrueType (type 42)."""
        with style():
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        """Give IPython a picture: text as large as a page's own, without pyplot or any magic."""
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=SCREEN_DPI)
        return picture.getvalue()


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: str = "single",
    height: float | None = None,
    **subplots: Any,
) -> tuple[StyledFigure, np.ndarray]:
    """A figure and its axes[rows, columns], free of pyplot.

    `width`: one column of a paper (3.4 in) or two (7.0 in). `height`: inches; by default each
    panel is 3/4 as high as wide. `subplots`: as for ``Figure.subplots`` (``width_ratios`` etc.).
    Raises `ValueError` naming a bad size.

    Example:
        >>> from nsh.figures import new_figure
        >>> figure, axes = new_figure(1, 2, width="double")
        >>> axes.shape, float(figure.get_figwidth())
        ((1, 2), 7.0)
    """
    require_integer("rows", rows, 1)
    require_integer("columns", columns, 1)
    require(width in WIDTHS, "width", width, "'single' or 'double'")
    if height is None:
        height = 0.75 * WIDTHS[width] / columns * rows
    require(0 < height < 20, "height", height, "a number of inches above 0 and below 20")
    with style():
        figure = StyledFigure(figsize=(WIDTHS[width], height), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False, **subplots)


def colour(index: int) -> str:
    """The palette's colour number `index` (from 0): `ValueError` where it has no more.

    Example:
        >>> from nsh.figures import colour
        >>> colour(1)
        '#D55E00'
    """
    require_integer("number of the colour (groups in one panel)", index, 0, len(PALETTE) - 1)
    return list(PALETTE.values())[index]


def panel_label(ax: Axes, letter: str) -> Text:
    """A bold letter outside the panel's upper left corner.

    Example:
        >>> from nsh.figures import new_figure, panel_label
        >>> figure, axes = new_figure(1, 2)
        >>> panel_label(axes[0, 1], "b").get_text()
        'b'
    """
    return ax.annotate(
        letter, (0, 1), xytext=(-7, 5), xycoords="axes fraction", textcoords="offset points",
        ha="right", va="bottom", fontsize=9, fontweight="bold", annotation_clip=False,
    )  # fmt: skip


def colour_bar(ax: Axes, mappable: ScalarMappable, label: str) -> Colorbar:
    """A colour bar to the right of `ax`.

    Example:
        >>> from nsh.figures import colour_bar, new_figure
        >>> figure, axes = new_figure()
        >>> bar = colour_bar(axes[0, 0], axes[0, 0].imshow([[0.0, 1.0]]), "loss (nats)")
        >>> bar.ax.get_ylabel()
        'loss (nats)'
    """
    with style():
        bar = ax.figure.colorbar(mappable, ax=ax, label=label, pad=0.02, aspect=25)
        bar.outline.set_linewidth(mpl.rcParams["axes.linewidth"])  # pyright: ignore
    return bar
