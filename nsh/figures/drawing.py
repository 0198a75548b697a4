"""Drawings of a neurashed graph: levels, amplification and feature pathway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle, Patch, Rectangle
from matplotlib.text import Text
from numpy.typing import ArrayLike

from nsh._checks import require, require_all, require_numeric
from nsh.figures import style as looks
from nsh.neurashed.graph import Graph

MOST_NODES = 200
_FILL, _FIRED, _SILENT = looks.PALETTE["sky"], looks.PALETTE["orange"], looks.LIGHT_GREY


class Drawing(NamedTuple):
    """What was drawn; nodes in the graph's order, class nodes after the feature nodes.

    `outlines` have the area of the level's largest amplification; `discs` lie inside them, with
    the share of that area that is the node's own.
    """

    outlines: tuple[Patch, ...]
    discs: tuple[Circle, ...]
    edges: LineCollection
    pathway: LineCollection
    names: tuple[Text, ...]


def draw_graph(
    ax: Axes,
    graph: Graph,
    *,
    log_amplification: ArrayLike | None = None,
    fired: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Drawing:
    """The graph with level 1 at the bottom and class nodes, as squares, on top.

    `log_amplification`[nodes]: natural logarithm of each node's amplification factor, as in
    `NeurashedState` (-inf: none). A node's disc has an area proportional to the amplification,
    relative to the largest of its level, inside an outline of that largest area; without it all
    discs are full. `fired`[nodes + classes], bool: what is on the pathway, orange with its edges
    dark; the rest is grey. `names`[nodes + classes]: written on the nodes. No axes, no units.
    Raises `ValueError` on bad shapes, NaN, +inf, and above 200 nodes a level.
    """
    widths = (*graph.widths, graph.classes)
    for level, width in enumerate(widths, 1):
        field = f"nodes of level {level}"
        require(width <= MOST_NODES, field, width, f"at most {MOST_NODES} to be drawn")
    share = _shares(graph, log_amplification)
    on_path = _on_path(graph, fired)
    if names is not None:
        allowed = f"{sum(widths)}: one per node, then one per class"
        require(len(names) == sum(widths), "number of names", len(names), allowed)
    centres, radii = _layout(widths)
    fills = np.where(on_path, _FIRED, _FILL if fired is None else _SILENT)
    rims = np.where(on_path | (fired is None), looks.INK, looks.MID_GREY)
    with looks.style():
        edges, pathway = _edges(ax, graph, centres, on_path)
        outlines, discs = [], []
        for i, (centre, radius) in enumerate(zip(centres, radii, strict=True)):
            rim = {"edgecolor": rims[i], "linewidth": 0.6, "zorder": 3}
            if i < graph.nodes:
                outlines.append(Circle(centre, radius, facecolor="white", **rim))
                inner = radius * np.sqrt(share[i])
                discs.append(Circle(centre, inner, facecolor=fills[i], linewidth=0, zorder=4))
            else:
                corner, side = centre - 0.9 * radius, 1.8 * radius
                outlines.append(Rectangle(corner, side, side, facecolor=fills[i], **rim))
        for patch in (*outlines, *discs):
            ax.add_patch(patch)
        middle = {"ha": "center", "va": "center", "fontsize": 7, "zorder": 5}
        places = zip(centres, names or (), strict=False)
        texts = [ax.text(x, y, name, **middle) for (x, y), name in places]
        _name_levels(ax, widths)
        ax.set_aspect("equal", adjustable="datalim")
        ax.autoscale_view()
        ax.set_axis_off()
    return Drawing(tuple(outlines), tuple(discs), edges, pathway, tuple(texts))


def _shares(graph: Graph, log_amplification: ArrayLike | None) -> np.ndarray:
    """Amplification of each node over the largest of its level; 0 throughout a dead level."""
    if log_amplification is None:
        return np.ones(graph.nodes)
    logs = require_numeric("log_amplification", log_amplification).astype(float)
    require(
        logs.shape == (graph.nodes,),
        "log_amplification.shape", logs.shape, f"({graph.nodes},), one per feature node",
    )  # fmt: skip
    require_all(logs < np.inf, "log_amplification", logs, "finite, or -inf for no amplification")
    slices = [graph.node_slice(level) for level in range(1, len(graph.widths) + 1)]
    tops = np.repeat([logs[nodes].max() for nodes in slices], graph.widths)
    return np.exp(logs - np.where(np.isneginf(tops), 0, tops))


def _on_path(graph: Graph, fired: ArrayLike | None) -> np.ndarray:
    count = graph.nodes + graph.classes
    if fired is None:
        return np.zeros(count, bool)
    bits = np.asarray(fired)
    require(bits.dtype == bool, "fired.dtype", str(bits.dtype), "bool")
    allowed = f"({count},): feature nodes, then classes"
    require(bits.shape == (count,), "fired.shape", bits.shape, allowed)
    return bits


def _layout(widths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Centres and largest radii; the unit is the distance between nodes of the widest level."""
    widest = max(widths)
    gap = _gap(widths)
    centres, radii = [], []
    for level, width in enumerate(widths):
        spacing = widest / width
        x = (np.arange(width) + 0.5) * spacing
        centres.append(np.stack([x, np.full(width, level * gap)], axis=-1))
        radii.append(np.full(width, min(0.85 * spacing, 0.075 * widest, 0.5 * gap) / 2))
    return np.concatenate(centres), np.concatenate(radii)


def _gap(widths: Sequence[int]) -> float:
    return 0.85 * max(widths) / len(widths)


def _edges(
    ax: Axes, graph: Graph, centres: np.ndarray, on_path: np.ndarray
) -> tuple[LineCollection, LineCollection]:
    """All edges off the pathway in light grey, those on it dark and above them."""
    sources = np.concatenate([graph.sources, graph.class_sources])
    targets = np.concatenate([graph.targets, np.asarray(graph.class_targets) + graph.nodes])
    dark = on_path[sources] & on_path[targets]
    segments = np.stack([centres[sources], centres[targets]], axis=1)
    light = LineCollection(list(segments[~dark]), colors=looks.EDGE_GREY, linewidths=0.5, zorder=1)
    strong = LineCollection(list(segments[dark]), colors=looks.INK, linewidths=0.9, zorder=2)
    ax.add_collection(light)
    ax.add_collection(strong)
    return light, strong


def _name_levels(ax: Axes, widths: Sequence[int]) -> None:
    names = [f"level {level}" for level in range(1, len(widths))] + ["classes"]
    for i, name in enumerate(names):
        place = (0, i * _gap(widths))
        ax.annotate(
            name, place, xytext=(-4, 0), textcoords="offset points", ha="right", va="center",
            fontsize=7, annotation_clip=False,
        )  # fmt: skip
