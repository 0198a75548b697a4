"""Part of a graph, alone: a smaller graph of its own, or one of the same shape, the rest silent."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from nsh._checks import require
from nsh._types import ArrayLike
from nsh.neurashed.graph import Graph

# more firing dependents than any node has
NEVER = jnp.iinfo(jnp.int32).max


class Subgraph(NamedTuple):
    """A graph, and which `nodes` and `class_edges` of the larger one its own are, in order.

    So inputs are ``x[:, nodes[: graph.widths[0]]]``, factors ``log_amplification[nodes]``, weights
    ``log_weight[class_edges]``, and a rule's entries for each node likewise.
    """

    graph: Graph
    nodes: Int[np.ndarray, " nodes"]
    class_edges: Int[np.ndarray, " class_edges"]


def subgraph(graph: Graph, keep: ArrayLike) -> Subgraph:
    """The nodes to `keep` (bools [nodes]) and the edges among them, as a graph of its own.

    Such as what survives of training, alone: a lottery ticket (arXiv 2112.09741, Section 4). What
    is left of a node's dependents decides whether it fires: at least k of them, k clipped to their
    number (so "all" stays all); a truth table is read as if the others never fired. A node above
    level 1 that keeps no dependent is dropped too, and so on upward.

    On the host; `silenced` is the same under `jit`. Raises `ValueError` on a wrong shape or type,
    and where a level or a class is left without nodes.

    Example:
        Without node 1 of level 1, what needs nodes 0 and 1 needs node 0 alone:

        >>> from nsh.neurashed import subgraph
        >>> graph = nsh.Graph.from_nodes(3, [[nsh.Node((0, 1), "all"), nsh.Node((1, 2))]], [(0, 1)])
        >>> subgraph(graph, np.array([True, False, True, True, True])).graph
        Graph(levels=[2, 2], edges=2, classes=1, class_edges=2)
    """
    alive = np.asarray(able_to_fire(graph, keep))
    levels = range(1, len(graph.widths) + 1)
    for level in levels:
        left = int(alive[graph.node_slice(level)].sum())
        require(left > 0, f"nodes of level {level} to keep, with a dependent", left, "at least 1")
    # each kept node's number within its level
    place = np.concatenate([np.cumsum(alive[graph.node_slice(level)]) - 1 for level in levels])
    sources, targets = np.asarray(graph.sources), np.asarray(graph.targets)
    edges = np.flatnonzero(alive[sources] & alive[targets])
    limits = np.minimum(graph.thresholds, _dependents(graph, jnp.asarray(alive)))
    dependents, thresholds = [], []
    for level in levels[1:]:
        part = graph.edge_slice(level)
        chosen = edges[(edges >= part.start) & (edges < part.stop)]
        dependents.append((place[sources[chosen]], place[targets[chosen]]))
        nodes = graph.node_slice(level)
        thresholds.append(limits[nodes][alive[nodes]])
    class_sources, class_targets = np.asarray(graph.class_sources), np.asarray(graph.class_targets)
    class_edges = np.flatnonzero(alive[class_sources])
    wired = place[class_sources[class_edges]], class_targets[class_edges]
    inputs = int(alive[graph.node_slice(1)].sum())
    tables = _tables(graph, alive, place)
    smaller = Graph.from_arrays(inputs, dependents, thresholds, wired, graph.classes, tables)
    return Subgraph(smaller, np.flatnonzero(alive), class_edges)


def silenced(graph: Graph, keep: ArrayLike) -> Graph:
    """A graph of the same shape whose nodes not to `keep` never fire: `subgraph` under `jit`.

    Firing, scores and logits are those of `subgraph`, if level 1 is silenced in the inputs
    (``x & keep[: graph.widths[0]]``); a class left without nodes has logit 0. `keep` (bools
    [nodes]) may be traced and vmapped, so that one program trains many subgraphs. Raises
    `ValueError` on a wrong shape or type. Not differentiable (bools).

    Example:
        >>> from nsh.neurashed import feature_pathway, silenced
        >>> graph = nsh.Graph.from_nodes(2, [[nsh.Node((0,)), nsh.Node((1,))]], [(0, 1)])
        >>> silent = silenced(graph, jnp.array([True, True, True, False]))
        >>> feature_pathway(silent, jnp.array([True, True])).tolist()
        [True, True, True, False]
    """
    alive = able_to_fire(graph, keep)
    clipped = jnp.minimum(graph.thresholds, _dependents(graph, alive))
    return replace(
        graph,
        thresholds=jnp.where(alive, clipped, NEVER),
        table_starts=jnp.where(alive, graph.table_starts, -1),
    )


def able_to_fire(graph: Graph, keep: ArrayLike) -> Bool[Array, " nodes"]:
    """Find nodes to `keep` that are of level 1 or have a dependent that is itself able to fire.

    Jittable and vmappable. Raises `ValueError` on a wrong shape or type.

    Example:
        Node 3 depends on node 1 alone, which is not kept:

        >>> from nsh.neurashed import able_to_fire
        >>> graph = nsh.Graph.from_nodes(2, [[nsh.Node((0,)), nsh.Node((1,))]], [(0, 1)])
        >>> able_to_fire(graph, np.array([True, False, True, True])).tolist()
        [True, False, True, False]
    """
    alive = jnp.asarray(keep)
    require(alive.shape == (graph.nodes,), "keep.shape", alive.shape, f"({graph.nodes},)")
    require(alive.dtype == bool, "keep.dtype", str(alive.dtype), "bool")
    for level in range(2, len(graph.widths) + 1):
        nodes = graph.node_slice(level)
        alive = alive.at[nodes].set(alive[nodes] & (_dependents(graph, alive)[nodes] > 0))
    return alive


def _dependents(graph: Graph, alive: Bool[Array, " nodes"]) -> Int[Array, " nodes"]:
    """Count the dependents of each node that are alive."""
    return jax.ops.segment_sum(
        alive[graph.sources].astype(jnp.int32), graph.targets, num_segments=graph.nodes,
        indices_are_sorted=True,
    )  # fmt: skip


def _tables(
    graph: Graph, alive: np.ndarray, place: np.ndarray
) -> dict[tuple[int, int], np.ndarray]:
    """Truth tables of the kept nodes, without the dependents that are dropped."""
    sources, targets = np.asarray(graph.sources), np.asarray(graph.targets)
    starts, entries = np.asarray(graph.table_starts), np.asarray(graph.tables)
    found = {}
    for node in np.flatnonzero(alive & (starts >= 0)):
        bits = np.flatnonzero(alive[sources[targets == node]])
        # entry sum_i 2**i [kept dependent i fires] in the larger table
        codes = np.arange(2**bits.size)[:, None] >> np.arange(bits.size) & 1
        level = int(graph.node_levels()[node]) + 1
        found[level, int(place[node])] = entries[starts[node] + codes @ (1 << bits)]
    return found
