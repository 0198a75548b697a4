"""Curves over training time with bands over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from nsh._checks import require, require_all, require_numeric
from nsh.figures import styling
from nsh.figures._seeds import OverSeeds, over_seeds


class Band(NamedTuple):
    """A curve as drawn, and its numbers.

    `line`: the mean; `error`: the band of one standard error; `range`: that of quantiles, if drawn.
    `statistics`: mean, standard error and number of `seeds` at each x.
    """

    line: Line2D
    error: PolyCollection
    range: PolyCollection | None
    statistics: OverSeeds


def band(
    ax: Axes, x: ArrayLike, values: ArrayLike, *, label: str, colour: str, show_range: bool = False
) -> Band:
    """Mean over seeds with a band of +- one standard error, of values[seeds, x].

    `show_range`: also a lighter band from the 10% to the 90% quantile of the seeds. NaN: that
    seed is missing at that x; it is left out and the label then says how many seeds there are.
    One seed alone has no band. Labels no axes (see `curves`). Raises `ValueError` on bad shapes,
    infinite values, x that does not increase, and x <= 0 on a logarithmic axis.

    Example:
        >>> from nsh.figures import band, new_figure
        >>> figure, axes = new_figure()
        >>> drawn = band(axes[0, 0], [0, 1], [[1.0, 2.0], [3.0, 4.0]], label="loss", colour="black")
        >>> drawn.statistics.mean.tolist(), drawn.statistics.standard_error.round(3).tolist()
        ([2.0, 3.0], [1.0, 1.0])
    """
    x = _increasing(x, ax.get_xscale())
    statistics = over_seeds(values, x.size, f"values of {label!r}")
    mean, error = statistics.mean, statistics.standard_error
    with styling.style():
        (line,) = ax.plot(x, mean, color=colour, label=statistics.labelled(label), zorder=3)
        shade = {"facecolor": colour, "linewidth": 0, "zorder": 2}
        inner = ax.fill_between(x, mean - error, mean + error, alpha=0.35, **shade)
        outer = None
        if show_range:
            outer = ax.fill_between(x, statistics.low, statistics.high, alpha=0.15, **shade)
    return Band(line, inner, outer, statistics)


def curves(
    ax: Axes,
    x: ArrayLike,
    groups: Mapping[str, ArrayLike],
    *,
    ylabel: str,
    xlabel: str = styling.STEPS,
    log: bool = False,
    show_range: bool = False,
) -> dict[str, Band]:
    """A `band` for each group of values[seeds, x], with axes labelled and a legend.

    `ylabel` names quantity and unit, as in "I(level 2; input) (bits)". `log`: logarithmic x axis,
    all of x above 0. Raises as `band`.

    Example:
        >>> from nsh.figures import curves, new_figure
        >>> figure, axes = new_figure()
        >>> groups = {"a": [[1.0, 2.0]], "b": [[3.0, 4.0]]}
        >>> drawn = curves(axes[0, 0], [0, 1], groups, ylabel="loss")
        >>> drawn["b"].line.get_ydata().tolist()
        [3.0, 4.0]
    """
    require(len(groups) > 0, "groups", dict(groups), "at least one")
    if log:
        ax.set_xscale("log")
    drawn = {
        label: band(ax, x, values, label=label, colour=styling.colour(i), show_range=show_range)
        for i, (label, values) in enumerate(groups.items())
    }
    ax.margins(x=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    with styling.style():
        ax.legend()
    return drawn


def reference(ax: Axes, y: float, label: str) -> Line2D:
    """A dashed horizontal line at `y` (in the axis's unit), its label above its right end.

    Example:
        >>> from nsh.figures import new_figure, reference
        >>> figure, axes = new_figure()
        >>> list(reference(axes[0, 0], 1.0, "H(Y)").get_ydata())
        [1.0, 1.0]
    """
    require(np.isfinite(y), "y", y, "finite")
    with styling.style():
        line = ax.axhline(y, color=styling.MID_GREY, linestyle=(0, (4, 2)), linewidth=0.8, zorder=1)
        ax.annotate(
            label, (1, y), xytext=(-2, 1.5), xycoords=ax.get_yaxis_transform(),
            textcoords="offset points", ha="right", va="bottom", fontsize=7,
            color=styling.TEXT_GREY,
        )  # fmt: skip
    return line


def _increasing(x: ArrayLike, scale: str) -> np.ndarray:
    array = require_numeric("x", x).astype(float)
    require(array.ndim == 1 and array.size > 0, "x.shape", array.shape, "(number of x,), not empty")
    require_all(np.isfinite(array), "x", array, "finite")
    require_all(np.diff(array, prepend=-np.inf) > 0, "x", array, "increasing")
    if scale == "log":
        require_all(array > 0, "x", array, "above 0 on a logarithmic axis")
    return array
