"""The figures of the information bottleneck: still, and to be explored in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.harness.figures import panels
from nsh.figures import curves, draw_graph, information_plane, reference
from nsh.figures.interactive import explore_graph
from nsh.neurashed import feature_pathway, figure4

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure


CAPTIONS = (
    "Neurashed's graph; the area of a node is its final amplification.",
    "Information of level 2 about input and label through training.",
    "Neurashed's information plane, one curve for each level.",
    "Information of the last hidden layer about the input, networks on the digits.",
    "Information plane of networks with tanh.",
    "Information plane of networks with ReLU.",
)


@panels(2, 3, CAPTIONS, height=2.3)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """The graph, information against step, and the information planes."""
    shared, top = dataset.sel(reading="shared"), dataset.sel(level=2)
    _graph_panel(ax[0], shared.log_amplification.values)
    both = {
        f"{what}, {reading} node 7": top[what].sel(reading=reading).values
        for reading in dataset.reading.values
        for what in ("input", "label")
    }
    curves(ax[1], dataset.step, both, ylabel="I(level 2; input or label) (bits)")
    reference(ax[1], 1.0, "1 bit")
    mean = shared[["input", "label"]].mean("seed")
    information_plane(ax[2], mean.input, mean.label, dataset.step, log=True)
    ax[2].set_title("neurashed, shared node 7")
    last, later = dataset.network_input.isel(network_level=-1), dataset.network_step.values > 0
    names = [str(name) for name in dataset.activation.values]
    groups = {name: last.sel(activation=name).values[:, later] for name in names}
    steps, ylabel = dataset.network_step[later], "I(last hidden layer; input) (bits)"
    curves(ax[3], steps, groups, ylabel=ylabel, log=True)
    layers = [f"hidden layer {level}" for level in dataset.network_level.values]
    for panel, name in zip(ax[4:], names, strict=True):
        network = dataset.sel(activation=name)[["network_input", "network_label"]]
        mean, steps = network.mean("network_seed"), dataset.network_step
        bits = mean.network_input, mean.network_label
        information_plane(panel, *bits, steps, levels=layers, log=True)
        panel.set_title(f"{name} network, digits")


def _graph_panel(ax: Axes, log_amplification: np.ndarray) -> None:
    """Figure 4 after training, with the pathway of class 1's first pattern."""
    graph, inputs = figure4()
    pathway = np.asarray(feature_pathway(graph, jnp.asarray(inputs.x[0])))
    fired = np.concatenate([pathway, [True, False]])
    draw_graph(ax, graph, log_amplification=log_amplification[: graph.nodes], fired=fired)
    ax.set_title("area: final amplification")


def explore(dataset: xr.Dataset) -> PlotlyFigure:
    """Seed 0 of the shared reading, step by step."""
    graph, inputs = figure4()
    seed = dataset.sel(reading="shared").isel(seed=0)
    fired = jax.vmap(lambda x: feature_pathway(graph, x))(jnp.asarray(inputs.x))
    fired = np.concatenate([fired, inputs.y[:, None] == np.arange(graph.classes)], axis=1)
    names = [f"input {i}, class {label + 1}" for i, label in enumerate(inputs.y, 1)]
    return explore_graph(
        graph, seed.step, seed.log_amplification_course[:, : graph.nodes],
        pathways=dict(zip(names, fired, strict=True)),
        curves={
            f"I(level {level}; {what})": seed[what].sel(level=level).values
            for level, what in ((1, "input"), (2, "input"), (2, "label"))
        },
        ylabel="information (bits)",
    )  # fmt: skip
