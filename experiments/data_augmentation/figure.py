"""The figure of data augmentation."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.data_augmentation.claims import growth, growth_correlation
from experiments.harness.figures import panels
from experiments.rare_features import DECAY, GROWTH
from nsh.figures import colour, curves, grouped_points
from nsh.measure import estimate

CAPTIONS = (
    "Model: growth of nodes of one part and of both, over the share of crops.",
    "Model: correlation of the growth of both parts, with the exact law.",
    "Model: share of the logit that parts carry, through training.",
    "Model: accuracy on whole images and on parts.",
    "Digits: accuracy on halves.",
    "Digits: accuracy on whole images.",
    "Digits: how far units depend on one half.",
    "Digits: elasticity between halves.",
)
LABELS = {
    "half_accuracy": "accuracy on halves",
    "accuracy": "accuracy on whole images",
    "dependence": "units' dependence on one half",
    "elasticity": "elasticity between halves",
}


@panels(2, 4, CAPTIONS, height=2.2)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Growth, lockstep, logit and accuracy in the model; accuracy and measures on the digits."""
    _growth(ax[0], dataset)
    _lockstep(ax[1], dataset)
    carried = dataset.carried.isel(batch=0).mean("class")
    share = {f"{s:.0%} crops": carried.sel(crops=s) for s in dataset.crops.values[::2]}
    curves(ax[2], dataset.step, share, ylabel="share of logit by parts")
    ax[2].set_ylim(0, 1.05)
    ax[2].legend(loc="lower right")
    last = dataset.accuracy.isel(batch=0, step=-1).transpose("seed", "crops", "view")
    views = {"whole": last.sel(view="whole"), "one part": last.isel(view=[1, 2]).mean("view")}
    label = "accuracy, model (share)"
    curves(ax[3], dataset.crops, views, ylabel=label, xlabel="share of crops")
    names = ["whole", "crops", "scattered\npixels"]
    for panel, (field, label) in zip(ax[4:], LABELS.items(), strict=True):
        values = dataset[f"digits_{field}"]
        kind = values.dims[0]
        groups = {str(system): values.sel({kind: system}).T for system in values[kind].values}
        grouped_points(panel, names, groups, ylabel=label)
        panel.set_xlabel("trained on, digits")
        panel.set_ylim(0, 1.15 * float(values.mean("digits_seed").max()))
        if panel is not ax[4] and panel.get_legend():
            panel.get_legend().remove()  # the first panel's serves for all


def _growth(ax: Axes, dataset: xr.Dataset) -> None:
    """Of the parts' nodes and the conjunction's at the end, over the law's lines."""
    steps = dataset.step.values[-1]
    grown = growth(dataset).isel(batch=0).mean("class")
    law = dataset.q.isel(batch=0).mean("class")
    exact = steps * (law * np.log(GROWTH) + (1 - law) * np.log(DECAY))
    for i, (label, at) in enumerate({"one part": [1, 2], "both parts": [0]}.items()):
        found = estimate(grown.isel(view=at).mean("view").transpose("seed", "crops"), 0)
        points = {"fmt": "os"[i], "color": colour(i), "capsize": 2, "label": label}
        ax.errorbar(dataset.crops, found.mean, found.standard_error, **points)
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
    ax.set(xlabel="share of crops", ylabel="correlation, head and tail")
    ax.set(ylim=(-0.3, 2), yticks=[0, 0.5, 1])
    ax.legend()
