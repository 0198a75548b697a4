"""Prepared examples: what fires for each, in packed words, and how a union of them is read."""

from __future__ import annotations

import dataclasses
import zlib
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt32

from nsh._checks import is_concrete, require, require_all
from nsh._shown import Summary
from nsh.neurashed.graph import Graph
from nsh.neurashed.pathway import feature_pathway, pack, unpack, word_count

SAMPLES_AT_ONCE = 64
# widths, classes, number of edges counted, how these fire
Form: TypeAlias = tuple[tuple[int, ...], int, int, str]


class Pathways(Summary):
    """Prepared examples: what fires for each, packed 32 to a word; leading axis = sample.

    Bits: feature nodes and class nodes; then, each from a new word on, for every edge that is
    counted (by default those to class nodes) whether its source and whether its target fires or,
    where edges fire by the sample, whether both do.

    `prepared_for`: the widths of the graph, its classes, edges counted and how these fire, lest
    another system misread the bits. `fingerprint`: a checksum of the graph's wiring and firing
    rules, for each sample the same; data, as graphs of one form share compiled programs. Both are
    None if not known.

    Example:
        >>> graph, inputs = nsh.neurashed.figure4()
        >>> nsh.Neurashed(graph).prepare(inputs.x, inputs.y)
        Pathways(examples=8, levels=[13, 6], classes=2)
    """

    words: UInt32[Array, "*n words"]
    prepared_for: Form | None = eqx.field(static=True, default=None)
    fingerprint: UInt32[Array, "*n"] | None = None

    def summary(self) -> str:
        """One line: how many examples, and the levels of the graph they are prepared for."""
        shape = jnp.shape(self.words)[:-1]
        count = "one example" if shape == () else f"examples={' x '.join(map(str, shape))}"
        if self.prepared_for is None:
            return f"Pathways({count})"
        widths, classes, *_ = self.prepared_for
        levels = ", ".join(map(str, widths))
        return f"Pathways({count}, levels=[{levels}], classes={classes})"


class Ends(NamedTuple):
    """The ends of edges, nodes being numbered through all levels, class nodes last."""

    sources: Int[Array, " ends"]
    targets: Int[Array, " ends"]


def class_ends(graph: Graph) -> Ends:
    """The ends of the edges to class nodes."""
    return Ends(graph.class_sources, graph.nodes + graph.class_targets)


def all_ends(graph: Graph) -> Ends:
    """The ends of all edges, those to class nodes last."""
    inner, last = (graph.sources, graph.targets), class_ends(graph)
    return Ends(*(jnp.concatenate(pair) for pair in zip(inner, last, strict=True)))


@eqx.filter_jit
def pathways_of(
    graph: Graph, ends: Ends, x: Bool[Array, "n inputs"], y: Int[Array, " n"], edge_firing: str
) -> Pathways:
    """The prepared examples x with labels y, a block of samples at a time."""

    def one(sample: tuple[Bool[Array, " inputs"], Int[Array, ""]]) -> UInt32[Array, " words"]:
        label = jnp.arange(graph.classes, dtype=jnp.int32) == sample[1]
        fires = jnp.concatenate([feature_pathway(graph, sample[0]), label])
        return words_of(ends, fires, edge_firing)

    words = jax.lax.map(one, (x, y), batch_size=SAMPLES_AT_ONCE)
    return Pathways(words, form(graph, ends, edge_firing))


def form(graph: Graph, ends: Ends, edge_firing: str) -> Form:
    """What the bits of a prepared example stand for, as far as shapes tell."""
    return graph.widths, graph.classes, ends.sources.shape[0], edge_firing


def prepared(graph: Graph, ends: Ends, x: np.ndarray, y: np.ndarray, edge_firing: str) -> Pathways:
    """`pathways_of` concrete x and y, with a fingerprint if the graph is concrete too."""
    known = is_concrete(graph)
    evaluated = jax.ensure_compile_time_eval if known else nullcontext
    with evaluated():  # not as constants of a jit around it, which JAX 0.7.2 folds wrongly
        found = pathways_of(graph, ends, jnp.asarray(x), jnp.asarray(y), edge_firing)
        if not known:
            return found
        whose = jnp.asarray(np.full(len(x), fingerprint_of(graph), np.uint32))
        return dataclasses.replace(found, fingerprint=whose)


def fingerprint_of(graph: Graph) -> int:
    """A checksum (CRC-32) of a concrete graph's wiring, firing rules and tables."""
    found = 0
    for leaf in jax.tree.leaves(graph):
        found = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), found)
    return found


def require_prepared_for(examples: Any, graph: Graph, ends: Ends, edge_firing: str) -> None:
    """Raise `ValueError` for examples known to be prepared for another graph, form or firing."""
    advice = "give system.prepare(x, y)"
    pathways = hasattr(examples, "words")
    require(pathways, "examples", type(examples).__name__, f"Pathways: {advice}")
    given, ours = examples.prepared_for, form(graph, ends, edge_firing)
    allowed = f"{ours} (widths, classes, edges, how they fire): {advice}"
    require(given in (None, ours), "examples, prepared for", given, allowed)
    if examples.fingerprint is None or not is_concrete((graph, examples.fingerprint)):
        return
    there, here = np.asarray(examples.fingerprint), fingerprint_of(graph)
    allowed = f"{here}, that of this system's graph: wiring or firing rules differ; {advice}"
    require_all(there == here, "examples.fingerprint", there, allowed)


def words_of(
    ends: Ends, fires: Bool[Array, " nodes_and_classes"], edge_firing: str
) -> UInt32[Array, " words"]:
    """The words of one example, from which of its nodes and classes fire."""
    sources, targets = fires[ends.sources], fires[ends.targets]
    # a union keeps them apart, so that an edge's source and target may fire in two samples
    edges = [sources & targets] if edge_firing == "sample" else [sources, targets]
    return jnp.concatenate([pack(bits) for bits in (fires, *edges)])


def recomputed(
    graph: Graph,
    ends: Ends,
    words: UInt32[Array, " words"],
    edge_firing: str,
    keep: Bool[Array, " nodes"] | None = None,
) -> UInt32[Array, " words"]:
    """An example's words from its level 1 and label alone, as `graph` has it.

    `keep`: nodes that may fire; what depends on the others does without them.
    """
    fires = unpack(words, graph.nodes + graph.classes)
    nodes = feature_pathway(graph, fires[: graph.widths[0]], keep)
    return words_of(ends, jnp.concatenate([nodes, fires[graph.nodes :]]), edge_firing)


def split(
    graph: Graph, edges: int, words: UInt32[Array, " words"], edge_firing: str
) -> tuple[UInt32[Array, " node_words"], UInt32[Array, " edge_words"]]:
    """Split the words of an example or a union: nodes and classes, and so many edges."""
    first, count = node_words(graph), word_count(edges)
    node_part, edge_part = words[:first], words[first : first + count]
    if edge_firing == "sample":
        return node_part, edge_part
    return node_part, edge_part & words[first + count :]


def node_words(graph: Graph) -> int:
    """Count the words that hold the feature and class nodes."""
    return word_count(graph.nodes + graph.classes)
