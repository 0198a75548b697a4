"""The figure of the elasticity fit."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.harness.figures import panels
from nsh.figures import colour, colour_bar, grouped_points

SHORT = {
    "before the fit": "before",
    "fitted": "fitted",
    "to target permuted within": "permuted within",
    "to target permuted across": "permuted across",
    "on shuffled edges": "shuffled edges",
    "same class": "same class",
    "same pixels": "same pixels",
    "other networks": "other networks",
}

PANELS = ("all",), ("within class", "across classes"), ("given class and pixels",)


CAPTIONS = (
    "Elasticity of the networks between all classes of updated input and probe.",
    "The same of the fitted neurashed.",
    "Distance of both through the fits.",
    "Rank correlation of each predictor with the network, over all pairs.",
    "The same, over pairs within a class and across classes.",
    "The same, with class and pixels given.",
)


@panels(2, 3, CAPTIONS, height=2.6)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Both elasticity matrices, the fits, and all predictors' rank correlations."""
    _matrix(ax[0], dataset.network_elasticity, dataset.class_of_probe, "networks")
    _matrix(ax[1], dataset.fitted_elasticity, dataset.class_of_probe, "neurashed, fitted")
    for place, name in enumerate(dataset.fit.values):
        line = dataset.distance.sel(fit=name)
        ax[2].plot(line, color=colour(place), label=SHORT[name])
    ax[2].set(xlabel="iteration of the fit", ylabel="1 − correlation of log elasticities")
    ax[2].set(title="probes of the fit", ylim=(0, None))
    ax[2].legend()
    rho = dataset.rank_correlation
    for panel, groups in zip(ax[3:], PANELS, strict=True):
        _predictors(panel, {pairs: rho.sel(pairs=pairs) for pairs in groups})


def _matrix(ax: Axes, elasticity: xr.DataArray, classes: xr.DataArray, title: str) -> None:
    image = ax.imshow(
        np.log10(elasticity + 1e-3), cmap="cividis", vmin=-1.5, vmax=0.5, interpolation="nearest"
    )
    labels = classes.values
    middles = [np.flatnonzero(labels == label).mean() for label in np.unique(labels)]
    for set_ticks in (ax.set_xticks, ax.set_yticks):
        set_ticks(middles, [str(label) for label in np.unique(labels)])
    ax.set(xlabel="class of probe", ylabel="class of updated input", title=title)
    colour_bar(ax, image, "log10 local elasticity")


def _predictors(ax: Axes, groups: dict[str, xr.DataArray]) -> None:
    names = [SHORT[name] for name in next(iter(groups.values())).predictor.values]
    values = {pairs: rho.transpose("seed", "predictor").values for pairs, rho in groups.items()}
    grouped_points(ax, names, values, ylabel="rank correlation with network")
    ax.axhline(0, color="0.7", linewidth=0.6, zorder=0)
    ax.set_xticks(range(len(names)), names, rotation=90)
    if len(groups) == 1:
        name = next(iter(groups))
        ax.set_title("all pairs" if name == "all" else name)
