"""The figure of the experiment on repopulation, approximation and bounds."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.harness.figures import panels
from nsh.figures import PALETTE, band, colour, curves

LAWS = {"own": "own law", "optimal": "p*", "start": "start"}
DASHED = {"linewidth": 0.8, "linestyle": (0, (4, 2)), "zorder": 4}
VARIANCE = "$m$ E$|f_m - f|^2$ / mean square"
SHARE = "test error / mean square"


CAPTIONS = (
    "Variance of outputs when units are drawn, over their number.",
    "Error of networks of drawn units, over their number.",
    "Error through training of random features, for each way to draw them.",
    "Error through training of both layers.",
    "Variance of samples through training.",
    "Generalisation gap over training samples, with its bounds.",
)


@panels(2, 3, CAPTIONS, height=2.3)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Samples, alternation, variance through training, and the bounds."""
    _samples(ax[0], dataset)
    names = {"own": "drawn from own law", "optimal": "drawn from p*"}
    errors = {label: dataset.sample_error.sel(drawn=law).values for law, label in names.items()}
    curves(ax[1], dataset.unit, errors, log=True, xlabel="units drawn m", ylabel=SHARE)
    ax[1].set_yscale("log")
    ax[1].set_ylim(top=ax[1].get_ylim()[1] * 8)
    whole = float(dataset.source_error)
    ax[1].axhline(whole, color=PALETTE["black"], label="the network", **DASHED)
    ax[1].legend()
    ax[1].set_title("samples of a trained network")
    width = dataset.width.values[-1]
    for panel, name, test in (
        (ax[2], "random features", dataset.u_test.sel(width=width)),
        (ax[3], "both layers trained", dataset.both_test),
    ):
        after = test.isel(step=slice(1, None))
        variants = {way: after.sel(way=way).values for way in test.way.values}
        curves(panel, after.step, variants, ylabel=SHARE)
        panel.set_yscale("log")
        panel.set_title(f"{name}, width {width}")
    ax[2].set_ylim(top=ax[2].get_ylim()[1] * 2.2)
    ax[3].get_legend().remove()  # that of the panel before serves for both
    _variances(ax[4], dataset)
    _bounds(ax[5], dataset)


def _samples(ax: Axes, dataset: xr.Dataset) -> None:
    """Measured m E|f_m - f|^2, and lines at the exact values."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    for place, (law, label) in enumerate(LAWS.items()):
        square = dataset.square.sel(law=law).values
        band(ax, dataset.unit.values, square, label=label, colour=colour(place))
        exact = float(dataset.exact.sel(law=law))
        ax.axhline(exact, color=colour(place), label="exact" if place == 2 else None, **DASHED)
    ax.set(xlabel="units drawn m", ylabel=VARIANCE)
    ax.set_ylim(top=ax.get_ylim()[1] * 5)
    ax.margins(x=0)
    ax.legend(ncols=2, loc="upper right")
    ax.set_title("units drawn independently")


def _variances(ax: Axes, dataset: xr.Dataset) -> None:
    """The variance of a sample of one unit through training, by the units' own law and p*."""
    ax.set_yscale("log")
    after = dataset.isel(step=slice(1, None))
    random = after.isel(width=-1)
    cases = {
        "random": (random.u_variance, random.u_optimal),
        "both": (after.both_variance, after.both_optimal),
    }
    for place, (label, (own, best)) in enumerate(cases.items()):
        x, plain = after.step.values, colour(place)
        band(ax, x, own.sel(way="plain").values, label=label, colour=plain)
        ax.plot(x, best.sel(way="plain").mean("seed"), color=plain, **DASHED)
        alternating = own.sel(way="alternating").values
        band(ax, x, alternating, label=f"{label}, alternating", colour=colour(place + 2))
    ax.plot([], [], color="black", label="from p* instead", **DASHED)
    ax.set(xlabel="training time (steps)", ylabel=VARIANCE)
    ax.set_ylim(top=ax.get_ylim()[1] * 8)
    ax.set_title("variance of samples")
    ax.margins(x=0)
    ax.legend()


def _bounds(ax: Axes, dataset: xr.Dataset) -> None:
    """The measured gap and both bounds against n."""
    gaps = {
        "bound, analytic": dataset.gap_bound.values,
        "bound, by signs": dataset.gap_bound_signs.values,
        "measured gap": dataset.gap.values,
    }
    ylabel = "test − training loss"
    curves(ax, dataset.n, gaps, log=True, xlabel="training samples n", ylabel=ylabel)
    ax.set_yscale("log")
    ax.axhline(1.0, color=PALETTE["black"], label="largest loss", **DASHED)
    ax.set_ylim(bottom=ax.get_ylim()[0] / 60)
    ax.legend(loc="lower left")
    ax.set_title("generalisation gap")
    ax.set_xticks(dataset.n.values, [str(n) for n in dataset.n.values])
    ax.minorticks_off()
