"""Histograms of several groups on common bins, such as local elasticity by kind of pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch
from numpy.typing import ArrayLike

from nsh._checks import require, require_all, require_numeric
from nsh.figures import styling

LOCAL_ELASTICITY = "local elasticity (ratio)"


class Histogram(NamedTuple):
    """One group as drawn: a filled area, its outline, density per unit of the x axis, and bins."""

    area: StepPatch
    outline: StepPatch
    density: Float[np.ndarray, " bins"]
    edges: Float[np.ndarray, " bins+1"]


def histograms(
    ax: Axes,
    groups: Mapping[str, ArrayLike],
    bins: int | ArrayLike = 30,
    *,
    xlabel: str = LOCAL_ELASTICITY,
) -> dict[str, Histogram]:
    """Densities of each group's values[n] (each of area 1), step-filled, on common bins.

    `bins`: how many, over the range of all groups together, or their increasing edges, which must
    hold every value. `xlabel`: quantity and unit. Raises `ValueError` on empty groups, NaN,
    infinite values, and values outside the edges.

    Example:
        >>> from nsh.figures import histograms, new_figure
        >>> figure, axes = new_figure()
        >>> drawn = histograms(axes[0, 0], {"within": [0.25, 0.25, 0.75]}, bins=[0.0, 0.5, 1.0])
        >>> drawn["within"].density.round(3).tolist()
        [1.333, 0.667]
    """
    require(len(groups) > 0, "groups", dict(groups), "at least one")
    values = {label: _finite(f"values of {label!r}", group) for label, group in groups.items()}
    edges = _edges(bins, np.concatenate(list(values.values())))
    drawn = {}
    with styling.style():
        for i, (label, group) in enumerate(values.items()):
            inside = (group >= edges[0]) & (group <= edges[-1])
            allowed = f"within the edges of the bins, {edges[0]:g} to {edges[-1]:g}"
            require_all(inside, f"values of {label!r}", group, allowed)
            density, _ = np.histogram(group, edges, density=True)
            colour = styling.colour(i)
            area = ax.stairs(density, edges, fill=True, color=colour, alpha=0.3, label=label)
            outline = ax.stairs(density, edges, color=colour, linewidth=1.0)
            drawn[label] = Histogram(area, outline, density, edges)
        ax.set(xlabel=xlabel, ylabel="density (per unit of the x axis)")
        ax.set_xlim(edges[0], edges[-1])
        ax.legend()
    return drawn


def _finite(field: str, values: ArrayLike) -> np.ndarray:
    array = require_numeric(field, values).astype(float)
    require(array.ndim == 1 and array.size > 0, f"{field}.shape", array.shape, "(n,), not empty")
    require_all(np.isfinite(array), field, array, "finite")
    return array


def _edges(bins: int | ArrayLike, pooled: np.ndarray) -> np.ndarray:
    if isinstance(bins, int):
        require(bins >= 1, "bins", bins, "at least 1")
        return np.histogram_bin_edges(pooled, bins)
    edges = require_numeric("bins", bins).astype(float)
    require(edges.ndim == 1 and edges.size >= 2, "bins.shape", edges.shape, "two edges or more")
    require_all(np.diff(edges, prepend=-np.inf) > 0, "bins", edges, "increasing")
    return edges
