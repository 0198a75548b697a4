"""The figure of effective sample sizes."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.effective_sample_size.claims import (
    PREDICTORS,
    falls,
    measured_size,
    rank_correlations,
)
from nsh.figures import colour, curves, grouped_points, new_figure, panel_label, reference, style

SYSTEMS = {"MLP": "network", "neurashed": "neurashed"}


def figure(dataset: xr.Dataset) -> Figure:
    """Effective sample size against its law, growth and recall, and the digits."""
    with style():
        drawn, axes = new_figure(2, 3, width="double", height=4.4)
        ax = axes.ravel()
        size, error = measured_size(dataset)
        ends = [0, dataset.sizes["sharing"] // 2, -1]
        rows = {f"shared {s:.0%}": {"batch": 0, "sharing": i}
                for i, s in zip(ends, dataset.sharing.values[ends], strict=True)}  # fmt: skip
        _against_law(ax[0], dataset, size, error, "own", rows)
        ax[0].set_ylim(top=1.35 * float(size.isel(batch=0).max()))  # room for the legend
        ax[0].set_xlabel("own samples, batch size 1")
        rows = {
            f"batch size {b}": {"batch": i, "own": 0} for i, b in enumerate(dataset.batch.values)
        }
        _against_law(ax[1], dataset, size, error, "sharing", rows)
        ax[1].set_xlabel(f"degree of sharing, {dataset.own.values[0]} own samples")
        rare = dataset.isel(batch=0, own=0)
        logit = rare.logit - rare.logit.isel(step=0)
        courses = {f"shared {dataset.sharing.values[i]:.0%}": logit.isel(sharing=i) for i in ends}
        curves(ax[2], dataset.step, courses, ylabel="growth of log logit (nats)")
        reference(ax[2], 0.0, "")
        early = dataset.recall.isel(batch=0, step=1)
        recalls = {f"shared {dataset.sharing.values[i]:.0%}": early.isel(sharing=i).T for i in ends}
        curves(
            ax[3], dataset.own, recalls, ylabel="recall of the rare class (share)",
            xlabel=f"own samples, batch size 1, step {early.step.item()}",
        )  # fmt: skip
        _digits(ax[4], ax[5], dataset)
        for panel, letter in zip(ax, "abcdef", strict=True):
            panel_label(panel, letter)
    return drawn


def _against_law(
    ax: Axes, dataset: xr.Dataset, size: xr.DataArray, error: xr.DataArray, x: str, rows: dict
) -> None:
    """Measured sizes as points over the law's lines."""
    for i, (label, place) in enumerate(rows.items()):
        points = {"color": colour(i), "capsize": 2, "label": label}
        ax.errorbar(size[x], size.isel(place), error.isel(place), fmt="os^D"[i % 4], **points)
        ax.plot(size[x], dataset.effective.isel(place), color=colour(i), linewidth=0.8)
    ax.plot([], [], color="black", linewidth=0.8, label="exact")
    ax.set_ylabel("effective sample size")
    ax.legend(loc="upper left")


def _digits(left: Axes, right: Axes, dataset: xr.Dataset) -> None:
    found = {name: falls(dataset, system) for name, system in SYSTEMS.items()}
    order = np.argsort(found["MLP"].mean(axis=0))
    names = [str(c) for c in dataset["class"].values[order]]
    grouped_points(
        left, names, {name: values[:, order] for name, values in found.items()},
        ylabel="recall lost when thinned (share)",
    )  # fmt: skip
    left.set_xlabel("digit thinned")
    correlations = {
        name: np.stack([rank_correlations(values, dataset[p].values) for p in PREDICTORS], axis=1)
        for name, values in found.items()
    }
    labels = ["sharing,\npixels", "sharing,\nrules", "sharing,\nunits", "isolation"]
    grouped_points(right, labels, correlations, ylabel="rank correlation with recall lost")
    reference(right, 0.0, "")
