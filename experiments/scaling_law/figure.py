"""The figure of `scaling_law`: information, elasticity and sparsity along each axis."""

from __future__ import annotations

from itertools import product

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from experiments.harness.figures import panels
from experiments.scaling_law.claims import AXES, along, early
from nsh.figures import curves

LABELS = {
    "size": "size (nodes)",
    "depth": "depth (levels)",
    "sharing": "sharing (share)",
    "batch": "batch (samples)",
}
ROWS = (
    "top level's\ninformation (bits)",
    "log of elasticity ratio,\nwithin / across",
    "share of\nall features",
)


CAPTIONS = tuple(
    f"{what}, over {over}."
    for what in (
        "Information of the top level",
        "Log of elasticity within classes over that across",
        "Share of features",
    )
    for over in ("the graph's size", "its depth", "the share of shared nodes", "the batch size")
)


@panels(len(ROWS), len(AXES), CAPTIONS, height=5.6 / 3, sharey="row")
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """A row for each phenomenon, a column for each thing that is varied.

    "Typical run": every batch comes up as often as expected. "Large graphs, endless": the limit of
    large graphs and of many steps.
    """
    bottom, last = len(ROWS) - 1, len(AXES) - 1
    drawn = product(enumerate((_information, _elasticity, _sparsity)), enumerate(AXES))
    for panel, ((row, measure), (column, axis)) in zip(ax, drawn, strict=True):
        part = along(dataset, axis)
        x = part[axis].values.astype(float)
        groups, theory = measure(part, early(dataset))
        xlabel = LABELS[axis] if row == bottom else ""
        ylabel = ROWS[row] if column == 0 else ""
        curves(panel, x, groups, log=axis in ("size", "batch"), xlabel=xlabel, ylabel=ylabel)
        for line, (label, values) in zip(("k--", "k:"), theory.items(), strict=False):
            panel.plot(x, values, line, linewidth=0.9, label=label, zorder=4)
        _ticks(panel, axis, x)
        handles, _ = panel.get_legend_handles_labels()
        panel.get_legend().remove()
        if column == last:  # one legend for a row, without the numbers of seeds
            beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
            panel.legend(handles, [*groups, *theory], **beside)
    ax[bottom * len(AXES)].set_yscale("log")


def _information(part: xr.Dataset, step: int) -> tuple[dict, dict]:  # noqa: ARG001
    last = part.isel(time=-1)
    groups = {
        "input, peak": _seeds(part.input.max("time")),
        "input, end": _seeds(last.input),
        "label, peak": _seeds(part.label.max("time")),
        "label, end": _seeds(last.label),
    }
    theory = {
        "input, typical run": part.input_typical.mean("seed"),
        "large graphs, endless": part.input_limit,
    }
    return groups, theory


def _elasticity(part: xr.Dataset, step: int) -> tuple[dict, dict]:
    groups = {
        f"after {step} steps": _seeds(part.log_elasticity_early),
        "end": _seeds(part.log_elasticity_final),
    }
    theory = {
        "typical run": part.log_elasticity_typical.mean("seed"),
        "large graphs, endless": part.log_elasticity_limit,
    }
    return groups, theory


def _sparsity(part: xr.Dataset, step: int) -> tuple[dict, dict]:
    now, last = part.sel(time=step), part.isel(time=-1)
    groups = {
        f"surviving, {step} steps": _seeds(now.survivors),
        f"effective, {step} steps": _seeds(now.effective_number / part["size"]),
        "effective, end": _seeds(last.effective_number / part["size"]),
    }
    theory = {
        "surviving, exact law": now.survivors_exact.mean("seed"),
        "always firing, law": (part.always_limit / part["size"]).where(part.always_limit > 0),
    }
    return groups, theory


def _seeds(values: xr.DataArray) -> np.ndarray:
    return values.transpose("seed", "condition").values


def _ticks(ax: Axes, axis: str, x: np.ndarray) -> None:
    if axis == "size":
        return
    ax.set_xticks(x, [f"{value:g}" for value in x])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
