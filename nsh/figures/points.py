"""Means with error bars for a few conditions, such as small and large batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from numpy.typing import ArrayLike

from nsh._checks import require
from nsh.figures import styling
from nsh.figures._seeds import OverSeeds, over_seeds

_SPREAD = 0.5  # of the room of a condition, over which its groups stand side by side


class Points(NamedTuple):
    """One group's points as drawn, and their numbers."""

    container: ErrorbarContainer
    statistics: OverSeeds


def grouped_points(
    ax: Axes, conditions: Sequence[str], groups: Mapping[str, ArrayLike], *, ylabel: str
) -> dict[str, Points]:
    """Mean over seeds +- one standard error, for groups of values[seeds, condition].

    `conditions`: names on the x axis; `ylabel`: quantity and unit. NaN: that seed is missing; the
    legend then says how many seeds there are. Raises `ValueError` on bad shapes and infinities.

    Example:
        >>> from nsh.figures import grouped_points, new_figure
        >>> figure, axes = new_figure()
        >>> values = {"SGD": [[0.5, 0.75], [1.0, 0.75]]}
        >>> drawn = grouped_points(axes[0, 0], ["B = 1", "B = 64"], values, ylabel="accuracy")
        >>> drawn["SGD"].statistics.mean.tolist()
        [0.75, 0.75]
    """
    require(len(conditions) > 0, "conditions", list(conditions), "at least one")
    require(len(groups) > 0, "groups", dict(groups), "at least one")
    drawn = {}
    with styling.style():
        for i, (label, values) in enumerate(groups.items()):
            statistics = over_seeds(values, len(conditions), f"values of {label!r}")
            shift = _SPREAD * ((i + 0.5) / len(groups) - 0.5)
            container = ax.errorbar(
                np.arange(len(conditions)) + shift, statistics.mean, statistics.standard_error,
                fmt=styling.MARKERS[i], color=styling.colour(i), capsize=2, elinewidth=0.9,
                label=statistics.labelled(label),
            )  # fmt: skip
            drawn[label] = Points(container, statistics)
        ax.set_xticks(np.arange(len(conditions)), list(conditions))
        ax.set_xlim(-0.5, len(conditions) - 0.5)
        ax.set_ylabel(ylabel)
        if len(groups) > 1:
            ax.legend()
    return drawn
