"""Where a graph's nodes are drawn and how large, for still and for moving pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nsh._checks import require, require_all, require_numeric
from nsh.neurashed.graph import Graph

MOST_NODES = 200


def all_widths(graph: Graph) -> tuple[int, ...]:
    """Nodes of each level, classes last; `ValueError` above 200."""
    widths = (*graph.widths, graph.classes)
    for level, width in enumerate(widths, 1):
        field = f"nodes of level {level}"
        require(width <= MOST_NODES, field, width, f"at most {MOST_NODES} to be drawn")
    return widths


def all_edges(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Sources and targets of all edges, class nodes numbered after the feature nodes."""
    sources = np.concatenate([graph.sources, graph.class_sources])
    targets = np.concatenate([graph.targets, np.asarray(graph.class_targets) + graph.nodes])
    return sources, targets


def shares(graph: Graph, log_amplification: ArrayLike | None) -> np.ndarray:
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


def on_path(graph: Graph, fired: ArrayLike | None) -> np.ndarray:
    """Return which nodes and classes fire; none of them where nothing is said."""
    count = graph.nodes + graph.classes
    if fired is None:
        return np.zeros(count, bool)
    bits = np.asarray(fired)
    require(bits.dtype == bool, "fired.dtype", str(bits.dtype), "bool")
    allowed = f"({count},): feature nodes, then classes"
    require(bits.shape == (count,), "fired.shape", bits.shape, allowed)
    return bits


def layout(widths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Centres and largest radii; the unit is the distance between nodes of the widest level."""
    widest, between = max(widths), gap(widths)
    centres, radii = [], []
    for level, width in enumerate(widths):
        spacing = widest / width
        x = (np.arange(width) + 0.5) * spacing
        centres.append(np.stack([x, np.full(width, level * between)], axis=-1))
        radii.append(np.full(width, min(0.85 * spacing, 0.075 * widest, 0.5 * between) / 2))
    return np.concatenate(centres), np.concatenate(radii)


def gap(widths: Sequence[int]) -> float:
    """Distance between levels."""
    return 0.85 * max(widths) / len(widths)
