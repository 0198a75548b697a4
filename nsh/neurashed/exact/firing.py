"""How likely nodes and edges are to fire in a mini-batch, alone and together."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nsh.neurashed.exact.feature import batch_firing_probability
from nsh.neurashed.model import Neurashed, Pathways
from nsh.neurashed.pathway import unpack


class Firing(NamedTuple):
    """A number for every feature node and for every edge to a class node."""

    nodes: Float[Array, " nodes"]
    class_edges: Float[Array, " class_edges"]


def firing_fractions(pathways: Pathways, nodes: int) -> Float[Array, " nodes"]:
    """p: the share of the samples on whose pathway each node is. Not differentiable (counts).

    Example:
        >>> from nsh.neurashed.exact import firing_fractions
        >>> graph, inputs = nsh.neurashed.figure3()
        >>> pathways = nsh.Neurashed(graph).prepare(inputs.x, inputs.y)
        >>> firing_fractions(pathways, nodes=10).tolist()
        [1.0, 0.75, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    """
    return jnp.mean(unpack(pathways.words, nodes), axis=0, dtype=float)


def firing_probability(system: Neurashed, pathways: Pathways, size: Float[Array, ""]) -> Firing:
    """q of every node and class edge: its chance to fire in a mini-batch of B i.i.d. samples.

    Nodes, and edges that fire by the sample: ``1 - (1-p)^B``. Edges f -> F that fire by the batch:
    ``1 - P(no f) - P(no F) + P(neither)``. `size` = inf: the full batch. Differentiable in `size`.

    Example:
        >>> from nsh.neurashed.exact import firing_probability
        >>> graph, inputs = nsh.neurashed.figure3()
        >>> system = nsh.Neurashed(graph)
        >>> pathways = system.prepare(inputs.x, inputs.y)
        >>> firing_probability(system, pathways, jnp.array(2.0)).nodes[:3].round(4).tolist()
        [1.0, 0.9375, 0.75]
    """
    first, second = _conditions(system, pathways)

    def fires(hit: Bool[Array, "samples events"]) -> Float[Array, " events"]:
        return batch_firing_probability(jnp.mean(hit, axis=0, dtype=float), size)

    probability = fires(first) + fires(second) - fires(first | second)
    return _split(system, probability)


def firing_covariance(
    system: Neurashed, pathways: Pathways, size: Float[Array, ""]
) -> Float[Array, "events events"]:
    """Covariance of the indicators of firing in one mini-batch: nodes, then class edges.

    ``P(both) - q_i q_j``, for two nodes ``P(both) = 1 - (1-p_i)^B - (1-p_j)^B +
    (1 - p_i - p_j + p_ij)^B``; edges by inclusion and exclusion over the nodes that must fire.
    `size` = inf: the full batch (all zeros). Rounding is of the order of the float type's unit,
    not relative to the entry. Memory: O(events^2). Differentiable in `size`.

    Example:
        A node that every sample fires does not vary; one that half of them fire has variance 1/4:

        >>> from nsh.neurashed.exact import firing_covariance
        >>> graph, inputs = nsh.neurashed.figure3()
        >>> system = nsh.Neurashed(graph)
        >>> pathways = system.prepare(inputs.x, inputs.y)
        >>> covariance = firing_covariance(system, pathways, jnp.array(1.0))
        >>> jnp.diagonal(covariance)[:3].round(4).tolist()
        [0.0, 0.1875, 0.25]
    """
    first, second = _conditions(system, pathways)
    # an event happens unless one of its conditions, or both, are met by no sample of the batch
    nobody = [(1, jnp.ones_like(first)), (-1, ~first), (-1, ~second), (1, ~(first | second))]
    counts = [(sign, missed.astype(float)) for sign, missed in nobody]
    samples = first.shape[0]
    both = jnp.zeros((first.shape[1],) * 2)
    for (sign, one), (other_sign, other) in product(counts, counts):
        hit = (samples - one.T @ other) / samples
        both -= sign * other_sign * batch_firing_probability(hit, size)
    q = jnp.concatenate(firing_probability(system, pathways, size))
    return both - q[:, None] * q[None]


def _conditions(
    system: Neurashed, pathways: Pathways
) -> tuple[Bool[Array, "samples events"], Bool[Array, "samples events"]]:
    """What must be met by some sample of a batch each, for every event; for nodes twice the same.

    Events: nodes, then class edges.
    """
    system.check_examples(pathways)
    graph = system.graph
    bits = unpack(pathways.words, graph.nodes + graph.classes)
    nodes = bits[:, : graph.nodes]
    sources, labels = bits[:, graph.class_sources], bits[:, graph.nodes + graph.class_targets]
    if system.edge_firing == "sample":
        sources = labels = sources & labels
    first, second = ([nodes, edges] for edges in (sources, labels))
    return jnp.concatenate(first, axis=1), jnp.concatenate(second, axis=1)


def _split(system: Neurashed, values: Float[Array, " events"]) -> Firing:
    return Firing(values[: system.graph.nodes], values[system.graph.nodes :])
