"""Null models: what of a graph's behaviour follows from its size and degrees alone."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from nsh._checks import require_integer
from nsh.neurashed.graph import Graph

ROUNDS = 30


def shuffled_edges(graph: Graph, seed: int) -> Graph:
    """The graph with its edges rewired, fan-in and fan-out of every node kept, firing rules too.

    Edges of the same two levels swap their sources, two at a time, wherever that repeats no edge
    (Maslov and Sneppen, Science 296, 910 (2002)): 30 rounds in which each edge is offered a swap
    with chance 1/2. Edges to classes likewise. A level in which everything is wired to everything
    stays as it is. Deterministic in `seed`, an integer >= 0 (else `ValueError`); on the host.

    Example:
        >>> from nsh.correspondence import shuffled_edges
        >>> graph = nsh.neurashed.figure1().graph
        >>> shuffled = shuffled_edges(graph, seed=0)
        >>> fan_out = np.bincount(graph.sources, minlength=graph.nodes)
        >>> (np.bincount(shuffled.sources, minlength=graph.nodes) == fan_out).all().item()
        True
    """
    random = np.random.default_rng(require_integer("seed", seed, 0))
    sources, targets = np.array(graph.sources), np.asarray(graph.targets)
    for level in range(2, len(graph.widths) + 1):
        edges = graph.edge_slice(level)
        sources[edges] = _swapped(sources[edges], targets[edges], random)
    class_targets = np.asarray(graph.class_targets)
    class_sources = _swapped(np.array(graph.class_sources), class_targets, random)
    return _with_sources(graph, sources, class_sources)


def random_graph_like(graph: Graph, seed: int) -> Graph:
    """The graph with the dependents of each node, and of each class, drawn anew from the level.

    Fan-ins and firing rules are kept, fan-outs are not: a node may come to feed none. Deterministic
    in `seed`, an integer >= 0 (else `ValueError`); on the host.

    Example:
        >>> from nsh.correspondence import random_graph_like
        >>> graph = nsh.neurashed.figure1().graph
        >>> (random_graph_like(graph, seed=0).targets == graph.targets).all().item()
        True
    """
    random = np.random.default_rng(require_integer("seed", seed, 0))
    sources = np.array(graph.sources)
    for level in range(2, len(graph.widths) + 1):
        edges, below = graph.edge_slice(level), graph.node_slice(level - 1)
        targets = np.asarray(graph.targets)[edges]
        sources[edges] = below.start + _drawn(targets, below.stop - below.start, random)
    top = graph.node_slice(len(graph.widths))
    class_sources = top.start + _drawn(
        np.asarray(graph.class_targets), top.stop - top.start, random
    )
    return _with_sources(graph, sources, class_sources)


def _swapped(
    sources: Int[np.ndarray, " edges"],
    targets: Int[np.ndarray, " edges"],
    random: np.random.Generator,
) -> Int[np.ndarray, " edges"]:
    """Sources after swaps between random pairs of edges; targets are sorted and stay."""
    base, count = targets.max(initial=0) + 1, sources.size // 2
    for _ in range(ROUNDS):
        first, second = random.permutation(sources.size)[: 2 * count].reshape(2, count)
        made = sources[[second, first]] * base + targets[[first, second]]
        cells = np.concatenate([sources * base + targets, made.ravel()])
        # an edge is made once at most, and only where there is none
        _, place, times = np.unique(cells, return_inverse=True, return_counts=True)
        free = times[place[sources.size :]].reshape(made.shape) == 1
        # by chance: a fixed number of swaps would reach but half of all graphs, the even ones
        swap = free.all(axis=0) & (random.random(count) < 0.5)
        a, b = first[swap], second[swap]
        sources[a], sources[b] = sources[b], sources[a]
    return sources


def _drawn(
    targets: Int[np.ndarray, " edges"], below: int, random: np.random.Generator
) -> Int[np.ndarray, " edges"]:
    """For the sorted targets, as many distinct nodes of the level below each as it has edges."""
    _, fan_ins = np.unique(targets, return_counts=True)
    return np.concatenate([np.sort(random.choice(below, k, replace=False)) for k in fan_ins])


def _with_sources(graph: Graph, sources: np.ndarray, class_sources: np.ndarray) -> Graph:
    return eqx.tree_at(
        lambda g: (g.sources, g.class_sources),
        graph,
        (jnp.asarray(sources, jnp.int32), jnp.asarray(class_sources, jnp.int32)),
    )
