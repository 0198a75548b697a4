"""How good a graph made from data or a network is, before any training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from nsh._checks import require, require_all, require_labels, require_numeric
from nsh._types import ArrayLike
from nsh.neurashed.graph import Graph

# so many samples are looked at together
AT_ONCE = 4096


class Quality(NamedTuple):
    """How well a graph's wiring alone tells the labels, and its size.

    `recovered`: share of samples whose label has the largest logit with all amplification factors
    and weights equal (the first of equals; a sample with no logit above 0 counts as not recovered).
    `covered`: share that fires some node of the top feature level; a node may fire with score 0,
    where its truth table lets it fire on no dependents. `separable`: share
    recovered by the most frequent label of each firing pattern of that level, which is much where
    patterns are nearly as many as samples. `nodes`: feature nodes; `edges`: theirs and those to
    classes; `fan_in`: mean number of dependents of the nodes above level 1.
    """

    recovered: float
    covered: float
    separable: float
    nodes: int
    edges: int
    fan_in: float


def quality(graph: Graph, bits: ArrayLike, y: ArrayLike) -> Quality:
    """The quality of a graph on samples with firing `bits` [n, inputs] of level 1 and labels y [n].

    On the host, with a dense matrix for each level. Raises `ValueError` on a wrong shape or dtype
    and on labels out of range.

    Example:
        >>> from nsh.correspondence import quality
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> found = quality(graph, inputs.x, inputs.y)
        >>> found.recovered, found.nodes, found.edges
        (1.0, 12, 16)
    """
    bits = require_numeric("bits", bits)
    expected = f"(n, {graph.widths[0]}): level 1 has {graph.widths[0]} nodes"
    fits = bits.ndim == 2 and bits.shape[1] == graph.widths[0] and len(bits) > 0
    require(fits, "bits.shape", bits.shape, expected)
    require_all((bits == 0) | (bits == 1), "bits", bits, "0 or 1 (fires or not)")
    y = require_labels(y, len(bits), graph.classes)
    blocks = [_top(graph, bits[i : i + AT_ONCE] != 0) for i in range(0, len(bits), AT_ONCE)]
    fires, logits = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    known = logits.max(axis=1) > 0
    edges = graph.sources.size
    return Quality(
        recovered=float(np.mean(known & (np.argmax(logits, axis=1) == y))),
        covered=float(np.mean(fires.any(axis=1))),
        separable=_separable(fires, y),
        nodes=graph.nodes,
        edges=edges + graph.class_edges,
        fan_in=edges / max(graph.nodes - graph.widths[0], 1),
    )


def _top(
    graph: Graph, fires: Bool[np.ndarray, "n _"]
) -> tuple[Bool[np.ndarray, "n width"], Float[np.ndarray, "n classes"]]:
    """Compute the top level's firing and the logits, with all amplification factors 1."""
    scores = fires.astype(float)
    starts, tables = np.asarray(graph.table_starts), np.asarray(graph.tables)
    thresholds, strides = np.asarray(graph.thresholds), np.asarray(graph.strides)
    for level in range(2, len(graph.widths) + 1):
        nodes, edges = graph.node_slice(level), graph.edge_slice(level)
        place = (
            np.asarray(graph.sources)[edges] - graph.node_slice(level - 1).start,
            np.asarray(graph.targets)[edges] - nodes.start,
        )
        wired = np.zeros((graph.widths[level - 2], graph.widths[level - 1]))
        weighed = wired.copy()
        wired[place], weighed[place] = 1, strides[edges]
        code = (fires @ weighed).astype(int)
        first = starts[nodes]
        in_table = tables[np.where(first >= 0, first + code, 0)]
        fires = np.where(first >= 0, in_table, code >= thresholds[nodes])
        scores = fires * (scores @ wired)
    return fires, scores @ _class_matrix(graph)


def _class_matrix(graph: Graph) -> Float[np.ndarray, "width classes"]:
    wired = np.zeros((graph.widths[-1], graph.classes))
    first = graph.node_slice(len(graph.widths)).start
    wired[np.asarray(graph.class_sources) - first, np.asarray(graph.class_targets)] = 1
    return wired


def _separable(fires: Bool[np.ndarray, "n width"], y: Int[np.ndarray, " n"]) -> float:
    _, pattern = np.unique(fires, axis=0, return_inverse=True)
    counts = np.zeros((pattern.max() + 1, y.max() + 1), int)
    np.add.at(counts, (pattern.ravel(), y), 1)
    return float(counts.max(axis=1).sum() / len(y))
