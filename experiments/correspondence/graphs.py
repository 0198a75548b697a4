"""The graphs of one trained network, by every choice of node and edge, and their null models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from nsh.correspondence.contributions import by_weights, phi
from nsh.correspondence.firing import FractionOfRange
from nsh.correspondence.null_models import random_graph_like, shuffled_edges
from nsh.correspondence.units import Partition, clusters, each_unit, filters, mean_over_members
from nsh.correspondence.wiring import wire
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import Graph

EDGES = ("weights", "cofiring")
GRAPHS = ("wired", "shuffled", "random")
KINDS = ("MLP units", "MLP clusters", "CNN units", "CNN filters", "CNN clusters")
FIRING = FractionOfRange(0.5)
Levels = Sequence[Float[np.ndarray, "n _"]]


class Nodes(NamedTuple):
    """A choice of nodes for one network.

    `partition`: the node of every unit, for each level; `thresholds`: above which a node's
    activation counts as firing; `fires`: what does for the training samples.
    """

    partition: tuple[Partition, ...]
    thresholds: tuple[Float[np.ndarray, " _"], ...]
    fires: tuple[Bool[np.ndarray, "n _"], ...]


def nodes_of(
    kind: str, levels: Levels, channels: tuple[int, ...], counts: tuple[int, ...]
) -> Nodes:
    """The nodes of one of `KINDS` from activations on the training set."""
    choose = {
        "units": lambda: each_unit(levels),
        "filters": lambda: filters(levels, channels),
        "clusters": lambda: clusters(levels, counts),
    }
    partition = choose[kind.split()[1]]()
    activations = tuple(map(mean_over_members, levels, partition))
    thresholds = tuple(map(FIRING.thresholds, activations))
    fires = tuple(a > limit for a, limit in zip(activations, thresholds, strict=True))
    return Nodes(partition, thresholds, fires)


def graphs_of(
    nodes: Nodes, levels: Levels, weights: Levels, labels: np.ndarray, fan_in: int, seed: int
) -> list[Graph]:
    """The network's graph for each of `EDGES`, each followed by its null models (`GRAPHS`)."""
    of_class = labels[:, None] == np.arange(CLASSES)
    above = (*nodes.partition[1:], np.arange(CLASSES))
    contributions = (
        list(map(by_weights, weights, levels, nodes.partition, above)),
        list(map(phi, nodes.fires, (*nodes.fires[1:], of_class))),
    )
    found = []
    for strength in contributions:
        edges = 2 * (nodes.fires[-1].shape[1] + CLASSES)
        graph = wire(nodes.fires, strength, fan_in=fan_in, class_edges=edges).graph
        found += [graph, shuffled_edges(graph, seed), random_graph_like(graph, seed)]
    return found


class Sizes(NamedTuple):
    """Of a graph with two feature levels: nodes of each, edges between them and to classes."""

    lower: int
    upper: int
    edges: int
    class_edges: int


def room_for(graphs: Sequence[Graph]) -> Sizes:
    """Sizes that all these graphs fit into, with a node to spare at each level."""
    sizes = [(*g.widths, g.edge_counts[1], g.class_edges) for g in graphs]
    lower, upper, edges, class_edges = np.max(sizes, axis=0).tolist()
    return Sizes(lower + 1, upper + 1, edges, class_edges)


def stacked(graphs: Sequence[Graph], sizes: Sizes) -> Graph:
    """Graphs as one pytree with a leading axis, padded to these sizes (`room_for`).

    What is added never fires: the edges added join the last nodes of each level, which are to
    spare.
    """
    padded = [_padded(graph, sizes) for graph in graphs]
    arrays = {name: jnp.asarray(np.stack([p[name] for p in padded])) for name in padded[0]}
    # shapes of a Graph are checked when it is made: of the first one's arrays
    first = Graph(
        **{name: array[0] for name, array in arrays.items()},
        widths=(sizes.lower, sizes.upper), edge_counts=(0, sizes.edges), classes=CLASSES,
    )  # fmt: skip
    return eqx.tree_at(lambda graph: [getattr(graph, n) for n in arrays], first, [*arrays.values()])


def _padded(graph: Graph, sizes: Sizes) -> dict[str, np.ndarray]:
    first, _ = graph.widths
    shift = sizes.lower - first  # of the numbers of nodes of level 2
    last = sizes.lower + sizes.upper - 1

    def fill(values: Any, size: int, value: int) -> np.ndarray:
        return np.pad(np.asarray(values), (0, size - len(values)), constant_values=value)

    below, above = np.split(np.asarray(graph.thresholds), [first])
    return {
        "sources": fill(graph.sources, sizes.edges, sizes.lower - 1),
        "targets": fill(np.asarray(graph.targets) + shift, sizes.edges, last),
        "strides": fill(graph.strides, sizes.edges, 1),
        "thresholds": np.concatenate([fill(below, sizes.lower, 0), fill(above, sizes.upper, 1)]),
        "table_starts": np.full(sizes.lower + sizes.upper, -1, np.int32),
        "tables": np.asarray(graph.tables),
        "class_sources": fill(np.asarray(graph.class_sources) + shift, sizes.class_edges, last),
        "class_targets": fill(graph.class_targets, sizes.class_edges, CLASSES - 1),
    }
