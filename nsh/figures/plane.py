"""The information plane: what a level knows of the input against what it knows of the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from nsh._checks import require, require_all, require_numeric
from nsh.figures import styling


class Plane(NamedTuple):
    """The drawn artists, one entry a level: trajectories, their first and their last points."""

    trajectories: tuple[LineCollection, ...]
    starts: tuple[Line2D, ...]
    ends: tuple[Line2D, ...]
    colour_bar: Colorbar


def information_plane(
    ax: Axes,
    input_bits: ArrayLike,
    label_bits: ArrayLike,
    steps: ArrayLike,
    *,
    levels: Sequence[str] | None = None,
    log: bool = False,
) -> Plane:
    """Trajectories of I(level; label) against I(level; input), coloured by training step.

    `input_bits`, `label_bits`: [time, level], bits. `steps`: [time], increasing, from 0 or later.
    `levels`: names for the legend, "level 1", ... by default. `log`: logarithmic colour scale; a
    stretch has the colour of its middle, so step 0 is no trouble. Starts are open, ends filled;
    the colour beside a trajectory tells its level. Raises `ValueError` on bad shapes, NaN and
    infinite values.

    Example:
        >>> from nsh.figures import information_plane, new_figure
        >>> figure, axes = new_figure()
        >>> plane = information_plane(axes[0, 0], [[0.0], [2.0]], [[0.0], [1.0]], steps=[0, 100])
        >>> len(plane.trajectories)
        1
    """
    x, y = _bits("input_bits", input_bits), _bits("label_bits", label_bits)
    require(x.shape == y.shape, "label_bits.shape", y.shape, f"{x.shape}, as of input_bits")
    steps = require_numeric("steps", steps).astype(float)
    require(steps.shape == x.shape[:1], "steps.shape", steps.shape, f"({len(x)},), one per time")
    require_all(np.isfinite(steps), "steps", steps, "finite")
    require_all(np.diff(steps, prepend=-np.inf) > 0, "steps", steps, "increasing")
    require(steps[0] >= 0, "steps[0]", steps[0], "0 or later")
    levels = [f"level {i + 1}" for i in range(x.shape[1])] if levels is None else levels
    require(len(levels) == x.shape[1], "levels", list(levels), f"{x.shape[1]} names")
    middles = (steps[1:] + steps[:-1]) / 2
    norm = LogNorm(middles[0], steps[-1]) if log else Normalize(steps[0], steps[-1])
    lines, starts, ends = [], [], []
    with styling.style():
        for i, level in enumerate(levels):
            points = np.stack([x[:, i], y[:, i]], axis=-1)
            colour, marker = styling.colour(i), styling.MARKERS[i]
            ax.plot(*points.T, color=colour, linewidth=4, alpha=0.3, solid_capstyle="round")
            stretches = np.stack([points[:-1], points[1:]], axis=1)
            line = LineCollection(list(stretches), cmap="viridis", norm=norm, linewidths=1.4)
            line.set_array(middles)
            lines.append(ax.add_collection(line))
            look = {"marker": marker, "linestyle": "none", "markeredgecolor": colour, "zorder": 4}
            starts += ax.plot(*points[0], markerfacecolor="white", **look)
            ends += ax.plot(*points[-1], markerfacecolor=colour, label=level, **look)
        ax.set(xlabel="I(level; input) (bits)", ylabel="I(level; label) (bits)")
        ax.legend()
    bar = styling.colour_bar(ax, lines[0], styling.STEPS)
    return Plane(tuple(lines), tuple(starts), tuple(ends), bar)


def _bits(field: str, values: ArrayLike) -> np.ndarray:
    array = require_numeric(field, values).astype(float)
    right = array.ndim == 2 and array.shape[0] >= 2 and array.shape[1] >= 1
    require(right, f"{field}.shape", array.shape, "(time, level) with at least two times")
    require_all(np.isfinite(array), field, array, "finite")
    return array
