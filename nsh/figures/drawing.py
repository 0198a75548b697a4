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

from nsh._checks import require
from nsh.figures import styling
from nsh.figures._graph_layout import all_edges, all_widths, gap, layout, on_path, shares
from nsh.neurashed.graph import Graph

_FILL, _FIRED, _SILENT = styling.PALETTE["sky"], styling.PALETTE["orange"], styling.LIGHT_GREY


class Drawing(NamedTuple):
    """The drawn artists; nodes in the graph's order, class nodes after the feature nodes.

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

    Example:
        >>> from nsh.figures import draw_graph, new_figure
        >>> figure, axes = new_figure()
        >>> drawn = draw_graph(axes[0, 0], nsh.neurashed.figure2().graph)
        >>> len(drawn.discs), len(drawn.outlines)  # nodes; nodes and classes
        (12, 15)
    """
    widths = all_widths(graph)
    share = shares(graph, log_amplification)
    lit = on_path(graph, fired)
    if names is not None:
        allowed = f"{sum(widths)}: one per node, then one per class"
        require(len(names) == sum(widths), "number of names", len(names), allowed)
    centres, radii = layout(widths)
    fills = np.where(lit, _FIRED, _FILL if fired is None else _SILENT)
    rims = np.where(lit | (fired is None), styling.INK, styling.MID_GREY)
    with styling.style():
        edges, pathway = _edges(ax, graph, centres, lit)
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


def _edges(
    ax: Axes, graph: Graph, centres: np.ndarray, lit: np.ndarray
) -> tuple[LineCollection, LineCollection]:
    """All edges off the pathway in light grey, those on it dark and above them."""
    sources, targets = all_edges(graph)
    dark = lit[sources] & lit[targets]
    segments = np.stack([centres[sources], centres[targets]], axis=1)
    light = LineCollection(
        list(segments[~dark]), colors=styling.EDGE_GREY, linewidths=0.5, zorder=1
    )
    strong = LineCollection(list(segments[dark]), colors=styling.INK, linewidths=0.9, zorder=2)
    ax.add_collection(light)
    ax.add_collection(strong)
    return light, strong


def _name_levels(ax: Axes, widths: Sequence[int]) -> None:
    names = [f"level {level}" for level in range(1, len(widths))] + ["classes"]
    for i, name in enumerate(names):
        place = (0, i * gap(widths))
        ax.annotate(
            name, place, xytext=(-4, 0), textcoords="offset points", ha="right", va="center",
            fontsize=7, annotation_clip=False,
        )  # fmt: skip
