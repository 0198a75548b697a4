"""The figures of the information bottleneck: still, and to be explored in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nsh.figures import (
    curves,
    draw_graph,
    information_plane,
    new_figure,
    panel_label,
    reference,
    style,
)
from nsh.figures.interactive import explore_graph
from nsh.neurashed import feature_pathway, figure4

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure


def figure(dataset: xr.Dataset) -> Figure:
    """The graph, information against step, and the information planes."""
    with style():
        drawn, axes = new_figure(2, 3, width="double", height=4.6)
        ax = axes.ravel()
        shared = dataset.sel(reading="shared")
        _graph_panel(ax[0], shared.log_amplification.values)
        top = dataset.sel(level=2)
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
        last = dataset.network_input.sel(network_level=dataset.network_level[-1])
        later = dataset.network_step.values > 0
        steps = dataset.network_step[later]
        names = [str(name) for name in dataset.activation.values]
        groups = {name: last.sel(activation=name).values[:, later] for name in names}
        curves(ax[3], steps, groups, ylabel="I(last hidden layer; input) (bits)", log=True)
        for panel, name in zip(ax[4:], names, strict=True):
            network = dataset.sel(activation=name)[["network_input", "network_label"]]
            mean = network.mean("network_seed")
            layers = [f"hidden layer {level}" for level in dataset.network_level.values]
            information_plane(
                panel, mean.network_input, mean.network_label, dataset.network_step,
                levels=layers, log=True,
            )  # fmt: skip
            panel.set_title(f"{name} network, digits")
        for panel, letter in zip(ax, "abcdef", strict=True):
            panel_label(panel, letter)
    return drawn


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
