"""The figure of effective sample sizes."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.effective_sample_size.claims import PREDICTORS, falls, measured_size
from experiments.harness.figures import panels
from experiments.rank_correlation import rank_correlation
from nsh.figures import colour, curves, grouped_points, reference

SYSTEMS = {"MLP": "network", "neurashed": "neurashed"}


CAPTIONS = (
    "Effective sample size over a class's own samples, with its law.",
    "Effective sample size over the degree of sharing, with its law.",
    "Growth of the rare class's log logit through training.",
    "Recall of the rare class early in training.",
    "Digits: recall lost when a class is thinned.",
    "Digits: rank correlation of predictors with the recall lost.",
)


@panels(2, 3, CAPTIONS, height=2.2)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Effective sample size against its law, growth and recall, and the digits."""
    own, ends = dataset.own.values[0], [0, dataset.sizes["sharing"] // 2, -1]
    shared = {f"shared {dataset.sharing.values[i]:.0%}": i for i in ends}
    rows = {label: {"batch": 0, "sharing": i} for label, i in shared.items()}
    _against_law(ax[0], dataset, "own", rows)
    ax[0].set_ylim(top=1.35 * float(measured_size(dataset)[0].isel(batch=0).max()))  # for legend
    ax[0].set_xlabel("own samples, batch size 1")
    rows = {f"batch size {b}": {"batch": i, "own": 0} for i, b in enumerate(dataset.batch.values)}
    _against_law(ax[1], dataset, "sharing", rows)
    ax[1].set_xlabel(f"degree of sharing, {own} own samples")
    logit = dataset.logit.isel(batch=0, own=0)
    growth = {label: (logit - logit.isel(step=0)).isel(sharing=i) for label, i in shared.items()}
    curves(ax[2], dataset.step, growth, ylabel="growth of log logit (nats)")
    reference(ax[2], 0.0, "")
    early = dataset.recall.isel(batch=0, step=1)
    recalls = {label: early.isel(sharing=i).T for label, i in shared.items()}
    xlabel = f"own samples, batch size 1, step {early.step.item()}"
    ylabel = "recall of the rare class (share)"
    curves(ax[3], dataset.own, recalls, ylabel=ylabel, xlabel=xlabel)
    _digits(ax[4], ax[5], dataset)


def _against_law(ax: Axes, dataset: xr.Dataset, x: str, rows: dict) -> None:
    """Measured sizes as points over the law's lines."""
    size, error = measured_size(dataset)
    for i, (label, place) in enumerate(rows.items()):
        points = {"color": colour(i), "capsize": 2, "label": label}
        ax.errorbar(size[x], size.isel(place), error.isel(place), fmt="os^D"[i % 4], **points)
        ax.plot(size[x], dataset.effective.isel(place), color=colour(i), linewidth=0.8)
    ax.plot([], [], color="black", linewidth=0.8, label="exact")
    ax.set_ylabel("effective sample size")
    ax.legend(loc="upper left")


def _digits(left: Axes, right: Axes, dataset: xr.Dataset) -> None:
    lost = {name: falls(dataset, system) for name, system in SYSTEMS.items()}
    order = np.argsort(lost["MLP"].mean(axis=0))
    names = [str(c) for c in dataset["class"].values[order]]
    ordered = {name: values[:, order] for name, values in lost.items()}
    grouped_points(left, names, ordered, ylabel="recall lost when thinned (share)")
    left.set_xlabel("digit thinned")
    correlations = {
        name: np.stack([rank_correlation(values, dataset[p].values) for p in PREDICTORS], axis=1)
        for name, values in lost.items()
    }
    labels = ["sharing,\npixels", "sharing,\nrules", "sharing,\nunits", "isolation"]
    grouped_points(right, labels, correlations, ylabel="rank correlation with recall lost")
    reference(right, 0.0, "")
