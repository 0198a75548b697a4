"""Prepared examples: what fires for each, in packed words, and how a union of them is read."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from nsh.neurashed.graph import Graph
from nsh.neurashed.pathway import feature_pathway, pack, word_count

SAMPLES_AT_ONCE = 64


class Pathways(eqx.Module):
    """Prepared examples: what fires for each, packed 32 to a word; leading axis = sample.

    Bits: feature nodes and class nodes; then, each from a new word on, for every edge to a class
    node whether its source and whether its target fires or, where edges fire by the sample,
    whether both do.
    """

    words: UInt32[Array, "*n words"]


@eqx.filter_jit
def pathways_of(
    graph: Graph, x: Bool[Array, "n inputs"], y: Int[Array, " n"], edge_firing: str
) -> Pathways:
    """The prepared examples x with labels y, a block of samples at a time."""

    def one(sample: tuple[Bool[Array, " inputs"], Int[Array, ""]]) -> UInt32[Array, " words"]:
        nodes = feature_pathway(graph, sample[0])
        label = jnp.arange(graph.classes, dtype=jnp.int32) == sample[1]
        sources, targets = nodes[graph.class_sources], label[graph.class_targets]
        # a union keeps them apart, so that an edge's source and target may fire in two samples
        edges = [sources & targets] if edge_firing == "sample" else [sources, targets]
        return jnp.concatenate([pack(bits) for bits in (jnp.concatenate([nodes, label]), *edges)])

    return Pathways(jax.lax.map(one, (x, y), batch_size=SAMPLES_AT_ONCE))


def split(
    graph: Graph, words: UInt32[Array, " words"], edge_firing: str
) -> tuple[UInt32[Array, " node_words"], UInt32[Array, " edge_words"]]:
    """What fires by one example or a union: nodes and classes, and edges to class nodes."""
    first, count = node_words(graph), word_count(graph.class_edges)
    nodes, edges = words[:first], words[first : first + count]
    return nodes, edges if edge_firing == "sample" else edges & words[first + count :]


def node_words(graph: Graph) -> int:
    """How many words hold the feature and class nodes."""
    return word_count(graph.nodes + graph.classes)
