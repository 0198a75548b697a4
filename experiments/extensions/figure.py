"""The figure of `experiments.extensions`."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.extensions.claims import effects
from nsh.figures import curves, grouped_points, new_figure, panel_label, reference, style

LABELS = {
    "regularization": "implicit regularization",
    "compression": "compression",
    "label": "label kept",
    "elasticity": "local elasticity",
}


def figure(dataset: xr.Dataset) -> Figure:
    """The phenomena in all extensions, and their size over that in plain neurashed."""
    ways = [str(way) for way in dataset.way.values]
    found = effects(dataset)
    names = [way.replace(" ", "\n", 1) for way in ways]
    with style():
        drawn, axes = new_figure(3, 2, width="double", height=6.6)
        ax = axes.ravel()
        features = {
            f"batch size {size.batch_size.item()}": size.values.T
            for size in dataset.effective_features
        }
        grouped_points(ax[0], names, features, ylabel="effective features of level 2")
        ax[0].set_title("implicit regularization")
        grouped_points(
            ax[1], names, {"": found["elasticity"].values.T},
            ylabel="local elasticity, $(w - a) / (w + a)$",
        )  # fmt: skip
        ax[1].set_title("local elasticity, $w$ithin and $a$cross classes")
        reference(ax[1], 0.0, "no difference")
        for panel, what in zip(ax[2:4], ("input", "label"), strict=True):
            _draw_information(panel, dataset, what)
        last = dataset.input.isel(step=-1, drop=True)
        ends = {
            "peak of the mean": (found["compression"] + last).values.T,
            "end": last.values.T,
        }
        grouped_points(ax[4], names, ends, ylabel="I(level 2; input) (bits)")
        ax[4].set_title("information bottleneck, peak and end")
        shares = {
            LABELS[name]: (effect / max(effect.sel(way="plain").mean().item(), 0.01)).values.T
            for name, effect in found.items()
        }
        grouped_points(ax[5], names, shares, ylabel="effect / that in plain neurashed")
        ax[5].set_title("size of the effects")
        reference(ax[5], 1.0, "")
        reference(ax[5], 0.0, "none")
        for panel, letter in zip(ax, "abcdef", strict=True):
            panel_label(panel, letter)
    return drawn


def _draw_information(ax: Axes, dataset: xr.Dataset, what: str) -> None:
    groups = {str(way): dataset[what].sel(way=way).values for way in dataset.way.values}
    curves(ax, dataset.step, groups, ylabel=f"I(level 2; {what}) (bits)")
    ax.legend(ncols=2, loc="upper right")
    ax.set_title(f"information about the {what}")
    top, ticks = {"input": (4.2, [0, 1, 2, 3]), "label": (1.75, [0, 0.5, 1])}[what]
    ax.set_ylim(0, top)  # room for the legend
    ax.set_yticks(ticks)
