"""Scores: how what fires at level 1 is amplified on its way up."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nsh.neurashed.graph import Graph
from nsh.neurashed.logspace import segment_logsumexp


def propagated(
    graph: Graph,
    fires: Bool[Array, " nodes"],
    log_nodes: Float[Array, " nodes"],
    log_edges: Float[Array, " edges"] | None = None,
) -> Float[Array, " nodes"]:
    """log S_F of every feature node: ``S_F = lambda_F sum_f lambda_fF S_f`` if F fires, else 0.

    At level 1, ``S_F = lambda_F``. `log_edges` default to 0. Differentiable in both logarithms.
    """
    own = jnp.where(fires, log_nodes, -jnp.inf)
    levels = [own[graph.node_slice(1)]]
    for level in range(2, len(graph.widths) + 1):
        edges, nodes = graph.edge_slice(level), graph.node_slice(level)
        below = graph.node_slice(level - 1)
        terms = levels[-1][graph.sources[edges] - below.start]
        if log_edges is not None:
            terms = terms + log_edges[edges]
        targets = graph.targets[edges] - nodes.start
        total = segment_logsumexp(terms, targets, graph.widths[level - 1])
        levels.append(jnp.where(fires[nodes], own[nodes] + total, -jnp.inf))
    return jnp.concatenate(levels)
