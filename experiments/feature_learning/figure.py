"""The figure of `experiments.feature_learning`."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.feature_learning.claims import (
    TASKS,
    at_equal_training_error,
    change,
)
from experiments.harness.statistics import over_seeds
from nsh.figures import PALETTE, colour, curves, new_figure, panel_label, style

ALPHA = "dial α"
BITS = {
    "input": "input",
    "label": "label",
    "input_fixed": "input, fixed noise",
    "label_fixed": "label, fixed noise",
}
SHARES = {
    "elasticity": "elasticity ratio",
    "input_fixed": "I(input), fixed",
    "label": "I(label)",
    "features": "eff. features",
}
LINE = {"color": PALETTE["black"], "linewidth": 0.8, "linestyle": (0, (4, 2)), "zorder": 1}


def figure(dataset: xr.Dataset) -> Figure:
    """Test errors, elasticity and information over the dial, and information through training."""
    with style():
        drawn, axes = new_figure(2, 3, width="double", height=4.6)
        ax = axes.ravel()
        for panel, task in zip(ax, TASKS, strict=False):
            _draw_errors(panel, dataset, task)
        ratios = {f"{when} of training": dataset.elasticity.sel(when=when).values
                  for when in ("end", "start")}  # fmt: skip
        curves(ax[2], dataset.alpha, ratios, log=True, xlabel=ALPHA,
               ylabel="elasticity, within / across")  # fmt: skip
        ax[2].set_title("local elasticity, test digits")
        _draw_course(ax[3], dataset)
        changes = {label: change(dataset, name).values for name, label in BITS.items()}
        curves(ax[4], dataset.alpha, changes, log=True, xlabel=ALPHA,
               ylabel="change of I(hidden; ·) (bits)")  # fmt: skip
        ax[4].legend(title="end − start, with", title_fontsize=7, loc="upper right")
        ax[4].axhline(0, **LINE)
        ax[4].set_title("information, test digits")
        _draw_shares(ax[5], dataset)
        for place, panel in enumerate(ax):
            if place != 3:
                _draw_dial(panel, dataset)
            panel_label(panel, "abcdef"[place])
    return drawn


def _draw_errors(ax: Axes, dataset: xr.Dataset, task: str) -> None:
    last = dataset.isel({f"{task}_step": -1})
    equal = at_equal_training_error(dataset, task)
    groups = {"equal steps": last[f"{task}_test"], "equal training error": equal}
    curves(ax, dataset.alpha, {k: v.values for k, v in groups.items()}, log=True, xlabel=ALPHA,
           ylabel="relative squared test error")  # fmt: skip
    kernel = over_seeds(last[f"{task}_kernel_test"])
    ax.axhline(kernel.mean, label="kernel, m = ∞, equal steps", **LINE)
    low, high = kernel.mean - kernel.error, kernel.mean + kernel.error
    ax.axhspan(low, high, color=PALETTE["black"], alpha=0.12, linewidth=0)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.35 * (top - bottom))
    ax.legend(loc="upper left")
    ax.set_title(TASKS[task])


def _draw_course(ax: Axes, dataset: xr.Dataset) -> None:
    """I(hidden; input) less that at the start, for some alpha."""
    later = dataset.isel(watched=slice(1, None))
    bits = later.input - dataset.input.isel(watched=0)
    groups = {f"α = {a:g}": bits.sel(alpha=a).values for a in dataset.alpha.values[:5]}
    curves(ax, later.watched, groups, log=True, ylabel="change of I(hidden; input) (bits)")
    ax.axhline(0, **LINE)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom - 0.35 * (top - bottom), top)
    ax.legend(ncols=2, loc="lower right")
    ax.set_title("information in training")


def _draw_shares(ax: Axes, dataset: xr.Dataset) -> None:
    """Changes relative to the mean field's, where they are above two standard errors."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    for place, (name, label) in enumerate(SHARES.items()):
        moved = change(dataset, name).transpose("digits_seed", "alpha").values
        shares = moved / moved[:, dataset.alpha.values == 1].mean()
        mean, error = shares.mean(0), shares.std(0, ddof=1) / np.sqrt(len(shares))
        seen = np.abs(mean) > 2 * error
        ax.errorbar(
            dataset.alpha.values[seen], np.abs(mean)[seen], error[seen], fmt="osD^"[place] + "-",
            color=colour(place), capsize=1.5, elinewidth=0.8, markersize=3, linewidth=0.8,
            label=label,
        )  # fmt: skip
    guide = dataset.alpha.values[dataset.alpha.values >= 4]
    ax.plot(guide, 4 * (guide / 4) ** -2.0, label="α⁻²", **LINE)
    ax.set(xlabel=ALPHA, ylabel="|change| / |change at α = 1|")
    ax.set_ylim(bottom=1e-5)
    ax.legend(loc="lower left")
    ax.set_title("what vanishes (above 2 SE)")


def _draw_dial(ax: Axes, dataset: xr.Dataset) -> None:
    """Where alpha is sqrt m."""
    place = np.sqrt(dataset.attrs["width"])
    ax.axvline(place, color=PALETTE["sky"], linewidth=0.8, zorder=0)
    ax.annotate(
        "√m", (place, 0), xytext=(1.5, 2), xycoords=ax.get_xaxis_transform(),
        textcoords="offset points", va="bottom", fontsize=7, color=PALETTE["sky"],
    )  # fmt: skip
