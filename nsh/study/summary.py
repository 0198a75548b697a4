"""How a study went: one line, and a figure of every recorded quantity with error bands."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nsh.figures import band, new_figure, style
from nsh.figures.styling import INK, WIDTHS, colour
from nsh.study.layout import OBJECTIVE, TUNED, TUNING_STATUS
from nsh.study.measurements import STANDARD_ERROR
from nsh.training import RunStatus

MOST_PANELS, MOST_CURVES, MOST_OVER_TIME = 24, 8, 6
# axes of whose entries each has a curve where there is no grid
APART = {"level": "levels", "class": "classes"}
WIDE = 100  # ratio of largest to smallest from which a logarithmic axis is better


class Panel(NamedTuple):
    """Groups of values[seeds, x] to be drawn against x.

    `of`: of which these groups are a choice, in words; empty if they are all.
    """

    xlabel: str
    x: np.ndarray
    ylabel: str
    groups: dict[str, np.ndarray]
    over_time: bool
    of: str


def draw(dataset: xr.Dataset) -> Figure:
    """A panel for each quantity: mean over seeds +- one standard error, without diverged runs.

    Against time (tuning: against the optimiser's steps) for each point of the grid, or, where
    these are more than 6, after the last step against the last axis of the grid. Of quantities
    with levels the top level is shown if there is a grid. Without a grid there is a curve for each
    level, and for each class by its name. Over other axes the mean is taken.
    At most 24 panels and 8 curves in each: what is left out is said.
    """
    starts = [dim for dim in dataset["status"].dims if f"{TUNED}{dim}" in dataset]
    dataset = dataset.rename({dim: f"first {dim}" for dim in starts})
    axes = [str(dim) for dim in dataset["status"].dims if dim != "seed"]
    diverged = dataset["status"] == RunStatus.DIVERGED
    recorded = _recorded(dataset)
    names, left_out = recorded[:MOST_PANELS], recorded[MOST_PANELS:]
    columns = {0: 1, 1: 1, 2: 2, 4: 2}.get(len(names), 3)
    rows = math.ceil(max(len(names), 1) / columns)
    panels = []
    for name in names:
        array = dataset[name].astype(float)
        array = array.where(~diverged) if "seed" in array.dims else array
        panels.append(_panel(array.where(np.isfinite(array)), axes))
    entries = _entries(panels)
    # room for the title, and for the legend's lines
    width, height = ("single", 2.4) if columns == 1 else ("double", 2.1 * rows + 0.3)
    legend_columns = _legend_columns(entries, width)
    height += 0.14 * math.ceil(len(entries) / legend_columns)
    with style():
        figure, grid = new_figure(rows, columns, width=width, height=height)
        used, empty = grid.ravel()[: len(names)], grid.ravel()[len(names) :]
        for panel, ax in zip(panels, used, strict=True):
            _draw(ax, panel, entries)
        for ax in empty:
            ax.set_axis_off()
        if entries:
            _legend(figure, entries, panels, legend_columns)
        figure.suptitle(_title(dataset, len(names), left_out), fontsize=8)
    return figure


def _recorded(dataset: xr.Dataset) -> list[str]:
    """Tuning first; standard errors of single runs are left out."""
    names = sorted(
        str(name)
        for name, array in dataset.data_vars.items()
        if name not in ("status", TUNING_STATUS)
        and array.dtype.kind != "c"
        and not array.attrs["long_name"].startswith(STANDARD_ERROR)
    )
    return sorted(names, key=lambda n: (n != OBJECTIVE, not n.startswith(TUNED)))


def _title(dataset: xr.Dataset, panels: int, left_out: list[str]) -> str:
    status = dataset["status"]
    bad = int((status == RunStatus.DIVERGED).sum())
    seeds = f"{status.sizes['seed']} seeds"
    points = status.size // status.sizes["seed"]
    what = seeds if points == 1 else f"{points} grid points × {seeds}"
    runs = "no run diverged" if bad == 0 else f"{bad} of {status.size} runs diverged, not drawn"
    rest = "" if panels else "; nothing else was recorded"
    if left_out:
        total = panels + len(left_out)
        rest = f"\nthe first {panels} of {total} quantities; the others are in the data"
    return f"{what}; {runs}{rest}"


def _panel(array: xr.DataArray, axes: list[str]) -> Panel:
    time = "iteration" if "iteration" in array.dims else "step"
    name = str(array.attrs.get("long_name", array.name))
    groups, of = {name: array}, ""
    if "level" in array.dims and axes:
        array, name = array.isel(level=-1), name.replace("level", "top level", 1)
        name = name if "top level" in name else f"{name}, top level"
    apart = next((dim for dim in APART if dim in array.dims), "") if not axes else ""
    if apart:
        values = array[apart].values
        chosen = _spread(len(values))
        groups = {f"{apart} {values[i]}": array.isel({apart: i}) for i in chosen}
        of = _choice(len(chosen), len(values), APART[apart])
    inner = {*map(str, array.dims)} - {*axes, "seed", time, apart}
    name += "".join(f", mean over {dim}" for dim in sorted(inner))
    units = array.attrs.get("units", "1")
    ylabel = name if units == "1" else f"{name} ({units})"
    if not axes:
        return _over(time, groups, ylabel, of)
    if math.prod(array.sizes[axis] for axis in axes) <= MOST_OVER_TIME:
        groups, of = _by_point(array, axes)
        return _over(time, groups, ylabel, of)
    last = array.isel({time: -1}).sortby(axes[-1])
    steps = f"after {int(last[time])} {'optimiser steps' if time == 'iteration' else 'steps'}"
    groups, of = _by_point(last, axes[:-1])
    return _over(axes[-1], groups, f"{ylabel}\n{steps}", of)


def _spread(count: int) -> list[int]:
    """Places among so many, evenly chosen where they are more than there can be curves."""
    chosen = np.linspace(0, count - 1, min(count, MOST_CURVES)).round()
    return np.unique(chosen).astype(int).tolist()


def _choice(shown: int, count: int, what: str) -> str:
    return "" if shown == count else f"{shown} of {count} {what}"


def _by_point(array: xr.DataArray, axes: list[str]) -> tuple[dict[str, xr.DataArray], str]:
    """One array for each point on some axes of the grid, or for some of many; and if so, that."""
    points = list(np.ndindex(*(array.sizes[axis] for axis in axes)))
    chosen, found = _spread(len(points)), {}
    for index in (points[i] for i in chosen):
        one = array.isel(dict(zip(axes, index, strict=True)))
        label = ", ".join(f"{axis} = {float(one[axis]):g}" for axis in axes)
        found[label or str(array.name)] = one
    return found, _choice(len(chosen), len(points), f"values of {', '.join(axes)}")


def _over(dim: str, groups: dict[str, xr.DataArray], ylabel: str, of: str) -> Panel:
    labels = {"step": "training time (steps)", "iteration": "optimiser steps"}
    x = next(iter(groups.values()))[dim].values
    seeds = {name: _seeds(array, dim) for name, array in groups.items()}
    return Panel(labels.get(dim, dim), x, ylabel, seeds, dim in labels, of)


def _seeds(array: xr.DataArray, dim: str) -> np.ndarray:
    """values[seeds, dim], averaged over all other axes; one seed where there is no such axis."""
    array = array if "seed" in array.dims else array.expand_dims("seed")
    others = [d for d in array.dims if d not in ("seed", dim)]
    return array.mean(others, skipna=False).transpose("seed", dim).values


def _entries(panels: list[Panel]) -> dict[str, str]:
    """The colours of all curves that share a panel with others, by label: one for each label."""
    labels = [label for panel in panels if len(panel.groups) > 1 for label in panel.groups]
    return {label: colour(i) for i, label in enumerate(dict.fromkeys(labels))}


def _draw(ax: Axes, panel: Panel, colours: dict[str, str]) -> None:
    groups = {label: v for label, v in panel.groups.items() if not np.isnan(v).all()}
    ax.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    if not groups:
        ax.annotate("no finite number", (0.5, 0.5), xycoords="axes fraction", ha="center")
        return
    if panel.x.min() > 0 and panel.x.max() / panel.x.min() >= WIDE:
        ax.set_xscale("log")
    bands = [
        band(
            ax,
            panel.x,
            values,
            label=label,
            colour=colours.get(label, INK if colours else colour(0)),
        )
        for label, values in groups.items()
    ]
    for label, one in zip(groups, bands, strict=True):
        one.line.set_label(label)  # without the number of seeds: it is in the title
    ax.margins(x=0)
    means = np.concatenate([one.statistics.mean for one in bands])
    means = means[np.isfinite(means)]
    if means.min() > 0 and means.max() / means.min() >= WIDE:
        ax.set_yscale("log")
    if len(panel.x) == 1 or not panel.over_time:
        for one in bands:
            one.line.set(marker="o", clip_on=False)
    fewest = min(int(one.statistics.seeds.min()) for one in bands)
    most = max(int(one.statistics.seeds.max()) for one in bands)
    total = bands[0].statistics.total
    if fewest < total:
        seeds = f"{fewest}" if fewest == most else f"{fewest}–{most}"
        ax.set_title(f"{seeds} of {total} seeds", fontsize=7)


def _legend(figure: Figure, entries: dict[str, str], panels: list[Panel], columns: int) -> None:
    """All curves of all panels, once, below them."""
    lines = [Line2D([], [], color=entry) for entry in entries.values()]
    title = "; ".join(dict.fromkeys(panel.of for panel in panels if panel.of))
    figure.legend(
        lines, list(entries), loc="outside lower center", ncols=columns, title=title or None,
        title_fontsize=7,
    )  # fmt: skip


def _legend_columns(entries: dict[str, str], width: str) -> int:
    """As many as there is room for: a letter is some 0.055 inches wide."""
    longest = max(map(len, entries), default=0)
    return max(1, min(len(entries), int(WIDTHS[width] / (0.055 * longest + 0.4))))


def in_words(dataset: xr.Dataset) -> str:
    """Runs, those that diverged and, of a study that tunes, gradients that were not finite."""
    status = dataset["status"]
    said = f"{status.size} runs, {int((status == RunStatus.DIVERGED).sum())} of them diverged"
    if TUNING_STATUS in dataset:
        found = dataset[TUNING_STATUS]
        lost = int((found == RunStatus.GRADIENT_NOT_FINITE).sum())
        said += f"; {lost} of {found.size} gradients were not finite" if lost else ""
    if not is_tuned(dataset):
        said = f"nothing was tuned: no run has a finite gradient; {said}"
    return said


def is_tuned(dataset: xr.Dataset) -> bool:
    """False for a study that tunes and had no finite gradient at all."""
    return TUNING_STATUS not in dataset or bool((dataset[TUNING_STATUS] == RunStatus.HEALTHY).any())
