"""The figure of `experiments.digit_rules`."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.digit_rules.claims import GRIDS, LEVEL, VARIANTS
from experiments.harness.figures import panels
from nsh.figures import PALETTE, band, colour, curves, grouped_points, reference
from nsh.measure import estimate

COST = "cost (evaluations of the loss)"
PER_LEVEL = (LEVEL, "random, level", *GRIDS)


CAPTIONS = (
    "Least validation loss so far over the cost, for each way to choose rates.",
    "The same closely, for rates of each level.",
    "The rates found, for each level.",
    "Accuracy on held-out digits, with that of common classifiers.",
)


@panels(2, 2, CAPTIONS, height=2.4)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Loss against cost, closely for rates per level; the rates found; accuracies held out."""
    losses = {name: dataset.course.sel(way=name).values for name in VARIANTS}
    ylabel = "least validation loss so far (nats)"
    curves(ax[0], dataset.cost, losses, log=True, xlabel=COST, ylabel=ylabel)
    ax[0].set_yscale("log")
    ax[0].legend(loc="upper right", ncols=2)
    ax[0].set_ylim(top=8 * losses["random, node"].mean(axis=0).max())
    for i, name in enumerate(VARIANTS):
        if name in PER_LEVEL:
            band(ax[1], dataset.cost, losses[name], label=name, colour=colour(i))
    ends = [losses[name][:, -1].mean() for name in PER_LEVEL]
    ax[1].set(xlabel=COST, ylabel=ylabel, ylim=(min(ends) - 0.02, max(ends) + 0.15))
    ax[1].legend(title="rates of each level, closely", title_fontsize=7)
    _draw_rates(ax[2], dataset)
    _draw_accuracies(ax[3], dataset)


def _draw_rates(ax: Axes, dataset: xr.Dataset) -> None:
    levels = [*map(str, range(1, dataset.sizes["level"])), "class weights"]
    rules = {str(rule): dataset.exponent.sel(rule=rule).values for rule in dataset.rule.values}
    grouped_points(ax, levels, rules, ylabel="tuned exponent, |log factor| × steps")
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend(loc="upper left", ncols=2)
    ax.set_xlabel("level")
    reference(ax, 1.0, "untuned")


def _draw_accuracies(ax: Axes, dataset: xr.Dataset) -> None:
    """A row for each way to choose rates, seeds as dots, and for each of scikit-learn's."""
    rates = [str(name) for name in dataset.rates.values]
    others = [str(name) for name in dataset.baseline.values]
    names = [*rates, *others]
    rows = dict(zip(names, range(len(names), 0, -1), strict=True))
    for name in rates:
        values = dataset.test_accuracy.sel(rates=name).values
        here = np.full(values.size, rows[name])
        ax.plot(values, here, "|", color=PALETTE["blue"], alpha=0.35)
        ax.plot(values.mean(), rows[name], "o", color=PALETTE["blue"])
    for name in others:
        right = estimate(dataset.baseline_right.sel(baseline=name))
        error, red = right.standard_error, PALETTE["vermilion"]
        ax.errorbar(right.mean, rows[name], xerr=error, fmt="s", color=red)
    ax.set_yticks(list(rows.values()), names)
    ax.set_xlabel("accuracy on held-out digits")
