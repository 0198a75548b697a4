"""The figure of data augmentation."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.data_augmentation.claims import growth_correlation
from experiments.rare_features import DECAY, GROWTH
from nsh.figures import colour, curves, grouped_points, new_figure, panel_label, style


def figure(dataset: xr.Dataset) -> Figure:
    """Growth, lockstep, logit and accuracy in the model; accuracy and measures on the digits."""
    with style():
        drawn, axes = new_figure(2, 4, width="double", height=4.4)
        ax = axes.ravel()
        _growth(ax[0], dataset)
        _lockstep(ax[1], dataset)
        share = {f"{s:.0%} crops": dataset.carried.isel(batch=0).sel(crops=s).mean("class")
                 for s in dataset.crops.values[::2]}  # fmt: skip
        curves(ax[2], dataset.step, share, ylabel="share of logit by parts")
        ax[2].set_ylim(0, 1.05)
        ax[2].legend(loc="lower right")
        last = dataset.accuracy.isel(batch=0, step=-1)
        views = {"whole": last.sel(view="whole"), "one part": last.isel(view=[1, 2]).mean("view")}
        views = {name: values.transpose("seed", "crops") for name, values in views.items()}
        curves(
            ax[3], dataset.crops, views, ylabel="accuracy, model (share)", xlabel="share of crops"
        )
        names = ["whole", "crops", "scattered\npixels"]
        labels = {
            "half_accuracy": "accuracy on halves",
            "accuracy": "accuracy on whole images",
            "dependence": "units' dependence on one half",
            "elasticity": "elasticity between halves",
        }
        for panel, (field, label) in zip(ax[4:], labels.items(), strict=True):
            values = dataset[f"digits_{field}"]
            kind = values.dims[0]
            groups = {str(system): values.sel({kind: system}).T for system in values[kind].values}
            grouped_points(panel, names, groups, ylabel=label)
            panel.set_xlabel("trained on, digits")
            panel.set_ylim(0, 1.15 * float(values.mean("digits_seed").max()))
            if panel is not ax[4] and panel.get_legend():
                panel.get_legend().remove()  # the first panel's serves for all
        for panel, letter in zip(ax, "abcdefgh", strict=True):
            panel_label(panel, letter)
    return drawn


def _growth(ax: Axes, dataset: xr.Dataset) -> None:
    """Of the parts' nodes and the conjunction's at the end, over the law's lines."""
    steps = dataset.step.values[-1]
    growth = (dataset.nodes.isel(step=-1) - dataset.nodes.isel(step=0)).isel(batch=0).mean("class")
    law = dataset.q.isel(batch=0).mean("class")
    exact = steps * (law * np.log(GROWTH) + (1 - law) * np.log(DECAY))
    for i, (label, at) in enumerate({"one part": [1, 2], "both parts": [0]}.items()):
        values = growth.isel(view=at).mean("view")
        error = values.std("seed", ddof=1) / np.sqrt(values.sizes["seed"])
        points = {"fmt": "os"[i], "color": colour(i), "capsize": 2, "label": label}
        ax.errorbar(dataset.crops, values.mean("seed"), error, **points)
        ax.plot(dataset.crops, exact.isel(view=at).mean("view"), color=colour(i), linewidth=0.8)
    ax.plot([], [], color="black", linewidth=0.8, label="exact")
    ax.set(xlabel="share of crops", ylabel="growth of node (nats)")
    ax.legend()


def _lockstep(ax: Axes, dataset: xr.Dataset) -> None:
    found = growth_correlation(dataset)
    for i, batch in enumerate(dataset.batch.values):
        marker, label = "os^D"[i % 4], f"batch size {batch}"
        ax.plot(dataset.crops, found[i], marker, color=colour(i), label=label)
        ax.plot(dataset.crops, dataset.correlation[i], color=colour(i), linewidth=0.8)
    ax.plot([], [], color="black", linewidth=0.8, label="exact")
    ax.set(
        xlabel="share of crops",
        ylabel="correlation, head and tail",
        ylim=(-0.3, 2),
        yticks=[0, 0.5, 1],
    )
    ax.legend()
