"""The figure of `scaling_law`: information, elasticity and sparsity along each axis."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from experiments.scaling_law.claims import AXES, along, early
from nsh.figures import curves, new_figure, panel_label, style

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


def figure(dataset: xr.Dataset) -> Figure:
    """A row for each phenomenon, a column for each thing that is varied.

    "Typical run": every batch comes up as often as expected. "Large graphs, endless": the limit of
    large graphs and of many steps.
    """
    with style():
        drawn, axes = new_figure(len(ROWS), len(AXES), width="double", height=5.6, sharey="row")
        for column, axis in enumerate(AXES):
            part = along(dataset, axis)
            x = part[axis].values.astype(float)
            for row, panels in enumerate((_information, _elasticity, _sparsity)):
                ax = axes[row, column]
                groups, theory = panels(part, early(dataset))
                curves(
                    ax, x, groups, log=axis in ("size", "batch"),
                    xlabel=LABELS[axis] if row == len(ROWS) - 1 else "",
                    ylabel=ROWS[row] if column == 0 else "",
                )  # fmt: skip
                for line, (label, values) in zip(("k--", "k:"), theory.items(), strict=False):
                    ax.plot(x, values, line, linewidth=0.9, label=label, zorder=4)
                _ticks(ax, axis, x)
                handles, _ = ax.get_legend_handles_labels()
                ax.get_legend().remove()
                panel_label(ax, "abcdefghijkl"[row * len(AXES) + column])
                if column == len(AXES) - 1:  # one legend for a row, without the numbers of seeds
                    ax.legend(
                        handles, [*groups, *theory], loc="center left", bbox_to_anchor=(1, 0.5)
                    )
        axes[2, 0].set_yscale("log")
    return drawn


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
