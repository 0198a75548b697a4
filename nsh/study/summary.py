"""The summary figure of a study: every recorded quantity, with error bands over seeds."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nsh.figures import curves, new_figure, style
from nsh.study.layout import OBJECTIVE, TUNED, TUNING_STATUS
from nsh.study.measurement import STANDARD_ERROR
from nsh.training import DIVERGED

MOST_PANELS, MOST_CURVES, MOST_OVER_TIME = 9, 8, 6
WIDE = 100  # ratio of largest to smallest from which a logarithmic axis is better


class Panel(NamedTuple):
    """Groups of values[seeds, x] to be drawn against x."""

    xlabel: str
    x: np.ndarray
    ylabel: str
    groups: dict[str, np.ndarray]
    over_time: bool


def draw(dataset: xr.Dataset) -> Figure:
    """A panel for each quantity: mean over seeds +- one standard error, without diverged runs.

    Against time (tuning: against the optimiser's steps) for each point of the grid, or, where
    these are more than 6, after the last step against the last axis of the grid. Of quantities
    with levels the top level is shown if there is a grid; over other axes the mean is taken.
    """
    starts = [dim for dim in dataset["status"].dims if f"{TUNED}{dim}" in dataset]
    dataset = dataset.rename({dim: f"first {dim}" for dim in starts})
    axes = [str(dim) for dim in dataset["status"].dims if dim != "seed"]
    diverged = dataset["status"] == DIVERGED
    names = _shown(dataset)
    columns = {0: 1, 1: 1, 2: 2, 4: 2}.get(len(names), 3)
    rows = math.ceil(max(len(names), 1) / columns)
    # room for the title, and for a legend of many lines
    width, height = ("single", 2.9) if columns == 1 else ("double", 2.3 * rows + 0.3)
    with style():
        figure, places = new_figure(rows, columns, width=width, height=height)
        used, empty = places.ravel()[: len(names)], places.ravel()[len(names) :]
        for name, ax in zip(names, used, strict=True):
            array = dataset[name].astype(float)
            if "seed" in array.dims:
                array = array.where(~diverged)
            _draw(ax, _panel(array.where(np.isfinite(array)), axes))
        for ax in empty:
            ax.set_axis_off()
        _one_legend(used, empty)
        figure.suptitle(_title(dataset, len(names)), fontsize=8)
    return figure


def _shown(dataset: xr.Dataset) -> list[str]:
    """Tuning first; standard errors of single runs are left out."""
    names = sorted(
        str(name)
        for name, array in dataset.data_vars.items()
        if name not in ("status", TUNING_STATUS)
        and array.dtype.kind != "c"
        and not array.attrs["long_name"].startswith(STANDARD_ERROR)
    )
    return sorted(names, key=lambda n: (n != OBJECTIVE, not n.startswith(TUNED)))[:MOST_PANELS]


def _title(dataset: xr.Dataset, panels: int) -> str:
    status = dataset["status"]
    bad = int((status == DIVERGED).sum())
    seeds = f"{status.sizes['seed']} seeds"
    points = status.size // status.sizes["seed"]
    what = seeds if points == 1 else f"{points} grid points × {seeds}"
    runs = "no run diverged" if bad == 0 else f"{bad} of {status.size} runs diverged, not drawn"
    return f"{what}; {runs}" + ("" if panels else "; nothing else was recorded")


def _panel(array: xr.DataArray, axes: list[str]) -> Panel:
    time = "iteration" if "iteration" in array.dims else "step"
    name = str(array.attrs.get("long_name", array.name))
    groups = {name: array}
    if "level" in array.dims and axes:
        array, name = array.isel(level=-1), name.replace("level", "top level", 1)
        name = name if "top level" in name else f"{name}, top level"
    elif "level" in array.dims:
        groups = {f"level {int(n)}": array.sel(level=n) for n in array["level"].values}
    inner = {*map(str, array.dims)} - {*axes, "seed", time, "level"}
    name += "".join(f", mean over {dim}" for dim in sorted(inner))
    units = array.attrs.get("units", "1")
    ylabel = name if units == "1" else f"{name} ({units})"
    if not axes:
        return _over(time, dict(itertools.islice(groups.items(), MOST_CURVES)), ylabel)
    if math.prod(array.sizes[axis] for axis in axes) <= MOST_OVER_TIME:
        return _over(time, _by_point(array, axes), ylabel)
    last = array.isel({time: -1}).sortby(axes[-1])
    steps = f"after {int(last[time])} {'optimiser steps' if time == 'iteration' else 'steps'}"
    return _over(axes[-1], _by_point(last, axes[:-1]), f"{ylabel}\n{steps}")


def _by_point(array: xr.DataArray, axes: list[str]) -> dict[str, xr.DataArray]:
    """One array for each point on some axes of the grid, evenly chosen where they are many."""
    points = list(np.ndindex(*(array.sizes[axis] for axis in axes)))
    chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_CURVES)).round())
    found = {}
    for index in (points[int(i)] for i in chosen):
        one = array.isel(dict(zip(axes, index, strict=True)))
        label = ", ".join(f"{axis} = {float(one[axis]):g}" for axis in axes)
        found[label or str(array.name)] = one
    return found


def _over(dim: str, groups: dict[str, xr.DataArray], ylabel: str) -> Panel:
    labels = {"step": "training time (steps)", "iteration": "optimiser steps"}
    x = next(iter(groups.values()))[dim].values
    seeds = {name: _seeds(array, dim) for name, array in groups.items()}
    return Panel(labels.get(dim, dim), x, ylabel, seeds, dim in labels)


def _seeds(array: xr.DataArray, dim: str) -> np.ndarray:
    """values[seeds, dim], averaged over all other axes; one seed where there is no such axis."""
    array = array if "seed" in array.dims else array.expand_dims("seed")
    others = [d for d in array.dims if d not in ("seed", dim)]
    return array.mean(others, skipna=False).transpose("seed", dim).values


def _draw(ax: Axes, panel: Panel) -> None:
    groups = {label: v for label, v in panel.groups.items() if not np.isnan(v).all()}
    if not groups:
        ax.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
        ax.annotate("no finite number", (0.5, 0.5), xycoords="axes fraction", ha="center")
        return
    wide = bool(panel.x.min() > 0 and panel.x.max() / panel.x.min() >= WIDE)
    bands = curves(ax, panel.x, groups, xlabel=panel.xlabel, ylabel=panel.ylabel, log=wide)
    means = np.concatenate([band.statistics.mean for band in bands.values()])
    means = means[np.isfinite(means)]
    if means.min() > 0 and means.max() / means.min() >= WIDE:
        ax.set_yscale("log")
    if len(panel.x) == 1 or not panel.over_time:
        for band in bands.values():
            band.line.set(marker="o", clip_on=False)


def _one_legend(used: np.ndarray, empty: np.ndarray) -> None:
    """The groups are the same in all panels: named once, where there is most room."""
    for ax in used:
        if (legend := ax.get_legend()) is not None:
            legend.remove()
    richest = max(used, key=lambda ax: len(ax.get_lines()), default=None)
    if richest is not None and len(richest.get_lines()) > 1:
        handles, labels = richest.get_legend_handles_labels()
        place = {"loc": "center left"} if len(empty) else {}
        (empty[0] if len(empty) else richest).legend(handles, labels, **place)
