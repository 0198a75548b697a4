"""The figure of the lottery-ticket experiment."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.harness.figures import panels
from nsh.figures import grouped_points, reference

CAPTIONS = (
    "Neurashed: share of nodes that survive, over batch sizes.",
    "Neurashed: test accuracy of parts of the graph, the survivors of training.",
    "Neurashed: test accuracy of parts of the graph, the largest half.",
    "Neurashed: test loss of the survivors.",
    "Pruned networks: test accuracy over the share of weights kept.",
    "Pruned networks: test loss.",
)


@panels(2, 3, CAPTIONS, height=2.3)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Survivors by batch size, test results of all parts, and pruned networks."""
    _survivors(ax[0], dataset)
    for panel, selection in zip(ax[1:3], dataset.selection.values, strict=True):
        _parts(panel, dataset.accuracy.sel(selection=selection), "test accuracy (share right)")
        panel.set_title(f"neurashed, {selection}")
    _parts(ax[3], dataset.loss.sel(selection="survivors"), "test loss (Brier score)")
    ax[3].set_title("neurashed, survivors")
    _pruned(ax[4], dataset.network_accuracy, "test accuracy (share right)")
    reference(ax[4], dataset.dense_accuracy.mean().item(), "whole")
    _pruned(ax[5], dataset.network_loss, "test loss (nats)")
    reference(ax[5], dataset.dense_loss.mean().item(), "whole")
    for panel in ax[[2, 3, 5]]:
        panel.get_legend().remove()  # its neighbour's serves for both


def _survivors(ax: Axes, dataset: xr.Dataset) -> None:
    sizes = [str(size) for size in dataset.batch.values]
    share = dataset.survivors / dataset.nodes
    grouped_points(ax, sizes, {"simulated": share.values.T}, ylabel="surviving nodes (share)")
    law = (dataset.survivors_by_law / dataset.nodes).mean("seed")
    ax.plot(np.arange(len(sizes)), law, color="black", linewidth=0.8, label="exact law")
    ax.legend(loc="lower right")
    ax.set(xlabel="batch size (samples)", title="neurashed")


def _parts(ax: Axes, results: xr.DataArray, ylabel: str) -> None:
    sizes = [str(size) for size in results.batch.values]
    groups = {part: results.sel(part=part).values.T for part in results.part.values}
    grouped_points(ax, sizes, groups, ylabel=ylabel)
    ax.set_xlabel("batch size (samples)")
    ax.set_ylim(bottom=0)


def _pruned(ax: Axes, results: xr.DataArray, ylabel: str) -> None:
    shares = [f"{share:.0%}" for share in results.kept.values]
    groups = {kind: results.sel(kind=kind).values.T for kind in results.kind.values}
    grouped_points(ax, shares, groups, ylabel=ylabel)
    ax.set(xlabel="weights kept", title="MLP, digits")
    ax.set_ylim(bottom=0)
