"""The figure of `experiments.feature_learning`."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.feature_learning.claims import TASKS, at_equal_training_error, change
from experiments.harness.figures import panels
from nsh.figures import PALETTE, colour, curves
from nsh.measure import estimate

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


CAPTIONS = (
    "Test error of the student over the dial α.",
    "Test error on the digits over the dial.",
    "Elasticity within classes over that across, at the start and the end of training.",
    "Change of the hidden layer's information about the input through training.",
    "Change of its information about input and label, over the dial.",
    "Each change over that at α = 1: what vanishes in the lazy regime.",
)


@panels(2, 3, CAPTIONS, height=2.3)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Test errors, elasticity and information over the dial, and information through training."""
    for panel, task in zip(ax, TASKS, strict=False):
        _draw_errors(panel, dataset, task)
    ratios = {f"{w} of training": dataset.elasticity.sel(when=w).values for w in ("end", "start")}
    _over_dial(ax[2], dataset, ratios, "elasticity, within / across")
    ax[2].set_title("local elasticity, test digits")
    _draw_course(ax[3], dataset)
    changes = {label: change(dataset, name).values for name, label in BITS.items()}
    _over_dial(ax[4], dataset, changes, "change of I(hidden; ·) (bits)")
    ax[4].legend(title="end − start, with", title_fontsize=7, loc="upper right")
    ax[4].axhline(0, **LINE)
    ax[4].set_title("information, test digits")
    _draw_shares(ax[5], dataset)
    for panel in ax[[0, 1, 2, 4, 5]]:
        _draw_dial(panel, dataset)


def _over_dial(ax: Axes, dataset: xr.Dataset, groups: dict[str, np.ndarray], ylabel: str) -> None:
    curves(ax, dataset.alpha, groups, log=True, xlabel=ALPHA, ylabel=ylabel)


def _draw_errors(ax: Axes, dataset: xr.Dataset, task: str) -> None:
    last = dataset.isel({f"{task}_step": -1})
    equal = at_equal_training_error(dataset, task)
    groups = {"equal steps": last[f"{task}_test"].values, "equal training error": equal.values}
    _over_dial(ax, dataset, groups, "relative squared test error")
    kernel = estimate(last[f"{task}_kernel_test"])
    ax.axhline(kernel.mean, label="kernel, m = ∞, equal steps", **LINE)
    low, high = (kernel.mean + side * kernel.standard_error for side in (-1, 1))
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
        found = estimate(shares, 0)
        size, error = np.abs(found.mean), found.standard_error
        seen = size > 2 * error
        looks = {"fmt": "osD^"[place] + "-", "color": colour(place), "capsize": 1.5, "label": label}
        looks |= {"elinewidth": 0.8, "markersize": 3, "linewidth": 0.8}
        ax.errorbar(dataset.alpha.values[seen], size[seen], error[seen], **looks)
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
    at = {"xycoords": ax.get_xaxis_transform(), "xytext": (1.5, 2), "textcoords": "offset points"}
    ax.annotate("√m", (place, 0), va="bottom", fontsize=7, color=PALETTE["sky"], **at)
