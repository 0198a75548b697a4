"""Pathways, amplification, elasticity, information and sparsity: neurashed beside the networks."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.correspondence.graphs import GRAPHS, KINDS
from experiments.harness.figures import panels
from nsh.figures import curves, grouped_points, reference

SHORT = [kind.replace(" ", "\n") for kind in KINDS]
NAMES = {"wired": "network's graph", "shuffled": "shuffled edges", "random": "random graph"}


CAPTIONS = (
    "Firing in graph and network, level 2 (phi coefficient), for each choice of nodes.",
    "Rank correlation of amplification and strength.",
    "Rank correlation of both local elasticities.",
    "Rank correlation with the norm of outgoing weights through training.",
    "Information of level 2 about the input through training.",
    "Effective number of features over batch sizes.",
)


@panels(2, 3, CAPTIONS, height=2.3)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """At the end for each choice of node, above; over training and batch sizes, below."""
    end = dataset.isel(step=-1).sel(edges="cofiring")
    top = end.sel(level=2, measure="strength")
    amplified = "amplification and strength,\nlevel 2 (rank correlation)"
    elastic = "local elasticity of both\n(rank correlation)"
    _by_kind(ax[0], end.pathways, None, "firing in graph and network,\nlevel 2 (phi)")
    _by_kind(ax[1], top.amplification, top.frequency, amplified)
    _by_kind(ax[2], end.elasticity, end.overlap, elastic)
    _outgoing(ax[3], dataset)
    _information(ax[4], dataset)
    _sparsity(ax[5], dataset)
    for panel in ax[:3]:
        panel.tick_params(axis="x", labelsize=6)
    for panel in ax[:2]:
        panel.get_legend().remove()  # the third panel's serves for all
    for panel, top in zip(ax[2:], (0.9, 1.15, 5.2, 34), strict=True):
        panel.set_ylim(top=top)  # room for the legend
        panel.legend(loc="upper right" if panel is ax[2] else "upper left")


def _by_kind(ax: Axes, values: xr.DataArray, without: xr.DataArray | None, ylabel: str) -> None:
    """`without`: what needs no neurashed, firing frequency or the overlap of level 1."""
    groups = {NAMES[graph]: _rows(values.sel(graph=graph), "kind") for graph in GRAPHS}
    if without is not None:
        groups["without neurashed"] = _rows(without, "kind")
    grouped_points(ax, SHORT, groups, ylabel=ylabel)
    reference(ax, 0.0, "")


def _rows(values: xr.DataArray, dim: str) -> np.ndarray:
    return values.transpose("seed", dim).values


def _outgoing(ax: Axes, dataset: xr.Dataset) -> None:
    """How the networks' outgoing weights come to follow firing, and amplification."""
    groups = {}
    for network in ("MLP", "CNN"):
        units = dataset.sel(kind=f"{network} units", level=2, measure="outgoing norm")
        amplified = units.amplification.sel(edges="cofiring", graph="wired")
        groups[f"{network}, firing frequency"] = _rows(units.frequency, "step")
        groups[f"{network}, amplification"] = _rows(amplified, "step")
    curves(
        ax, dataset.step, groups, ylabel="rank correlation with norm of\noutgoing weights, level 2"
    )


def _information(ax: Axes, dataset: xr.Dataset) -> None:
    groups = {}
    for network in ("MLP", "CNN"):
        ours = dataset.input.sel(kind=f"{network} units", graph="wired", level=2)
        theirs = dataset[f"{network}_input"].sel(level=2)
        groups[network] = _rows(theirs, "step")
        groups[f"neurashed, {network} units"] = _rows(ours, "step")
    curves(ax, dataset.step, groups, ylabel="I(level 2; input) (bits)")


def _sparsity(ax: Axes, dataset: xr.Dataset) -> None:
    order = np.argsort(dataset.batch.values)
    groups = {"MLP": dataset.network_effective.values[order].T}
    groups |= {
        f"neurashed, {NAMES[graph]}": dataset.neurashed_effective.sel(graph=graph).values[order].T
        for graph in GRAPHS
    }
    names = [str(size) for size in dataset.batch.values[order]]
    grouped_points(ax, names, groups, ylabel="effective number of features")
    ax.set_xlabel("batch size (samples)")
