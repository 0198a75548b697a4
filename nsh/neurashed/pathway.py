"""Firing: from an input to its feature pathway, and pathways packed into words."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt32

from nsh._checks import require, require_integer
from nsh.neurashed.graph import Graph

WORD = 32


def feature_pathway(
    graph: Graph, x: Bool[Array, " inputs"], keep: Bool[Array, " nodes"] | None = None
) -> Bool[Array, " nodes"]:
    """Find the nodes that fire for an input, level by level (arXiv 2112.09741, Section 2).

    Level 1 fires as `x` says; a node above fires if the code of its firing dependents reaches its
    threshold or is true in its truth table. `keep`: nodes that may fire at all (default: every
    one). Jittable and vmappable; piecewise constant, so there is no derivative.

    Example:
        Nodes 0 and 1 of level 1 fire. So does the node that needs both, but not that on node 2:

        >>> from nsh.neurashed import feature_pathway
        >>> graph = nsh.Graph.from_nodes(3, [[nsh.Node((0, 1), "all"), nsh.Node((2,))]], [(0, 1)])
        >>> feature_pathway(graph, jnp.array([True, True, False])).tolist()
        [True, True, False, True, False]
    """
    require(x.shape == graph.widths[:1], "x.shape", x.shape, f"({graph.widths[0]},), as level 1")
    require(x.dtype == bool, "x.dtype", str(x.dtype), "bool")
    levels = [x if keep is None else x & keep[graph.node_slice(1)]]
    for level in range(2, len(graph.widths) + 1):
        edges, nodes = graph.edge_slice(level), graph.node_slice(level)
        below = graph.node_slice(level - 1)
        fired = levels[-1][graph.sources[edges] - below.start]
        code = jax.ops.segment_sum(
            jnp.where(fired, graph.strides[edges], 0),
            graph.targets[edges] - nodes.start,
            num_segments=graph.widths[level - 1],
            indices_are_sorted=True,
        )
        starts = graph.table_starts[nodes]
        in_table = graph.tables[jnp.maximum(starts, 0) + jnp.where(starts >= 0, code, 0)]
        fires = jnp.where(starts >= 0, in_table, code >= graph.thresholds[nodes])
        levels.append(fires if keep is None else fires & keep[nodes])
    return jnp.concatenate(levels)


def word_count(bits: int) -> int:
    """Count the words that hold so many bits."""
    return -(-bits // WORD)


def pack(bits: Bool[Array, "*n count"]) -> UInt32[Array, "*n words"]:
    """Bools along the last axis packed 32 to a word, bit i of word w = entry 32 w + i.

    Example:
        >>> from nsh.neurashed import pack
        >>> pack(jnp.array([True, False, True])).tolist()
        [5]
    """
    require(bits.dtype == bool, "bits.dtype", str(bits.dtype), "bool")
    missing = -bits.shape[-1] % WORD
    padded = jnp.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, missing)])
    grouped = padded.reshape(*bits.shape[:-1], -1, WORD).astype(jnp.uint32)
    shifts = jnp.arange(WORD, dtype=jnp.uint32)[(None,) * bits.ndim]
    return jnp.sum(grouped << shifts, axis=-1, dtype=jnp.uint32)


def unpack(words: UInt32[Array, "*n words"], count: int) -> Bool[Array, "*n count"]:
    """The first `count` bits of packed words; the inverse of `pack`.

    Example:
        >>> from nsh.neurashed import unpack
        >>> unpack(jnp.array([5], jnp.uint32), 3).tolist()
        [True, False, True]
    """
    require_integer("count", count, 0, WORD * words.shape[-1])
    shifts = jnp.arange(WORD, dtype=jnp.uint32)[(None,) * words.ndim]
    bits = (words[..., None] >> shifts) & jnp.uint32(1)
    return bits.reshape(*words.shape[:-1], -1)[..., :count].astype(bool)


def union(words: UInt32[Array, "batch words"]) -> UInt32[Array, " words"]:
    """Unite the pathways of a mini-batch: the bitwise or of their packed words.

    Example:
        >>> from nsh.neurashed import union
        >>> union(jnp.array([[5], [2]], jnp.uint32)).tolist()
        [7]
    """
    return jax.lax.reduce(words, jnp.uint32(0), jax.lax.bitwise_or, (0,))
