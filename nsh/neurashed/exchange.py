"""Graphs to and from NetworkX (the extra ``nsh[graphs]``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nsh._checks import require
from nsh._extras import extra
from nsh.neurashed.graph import Graph, Node

if TYPE_CHECKING:
    import networkx


def to_networkx(graph: Graph) -> networkx.DiGraph:
    """A directed graph with nodes (level, index), edges from dependents upward.

    Node attributes: `level` (1 = lowest; classes at the top) and, on middle levels, `fires`: the
    threshold k (at least k dependents) or the truth table as a tuple of bools. Edge attribute
    `order`: place among the node's dependents, which a truth table refers to.
    """
    with extra("graphs", "nsh.neurashed.to_networkx"):
        import networkx

    levels = graph.node_levels()
    first = np.concatenate([[0], np.cumsum(graph.widths)])
    names = [(int(level) + 1, int(i - first[level])) for i, level in enumerate(levels)]
    result = networkx.DiGraph()
    starts, thresholds = np.asarray(graph.table_starts), np.asarray(graph.thresholds)
    tables, targets = np.asarray(graph.tables), np.asarray(graph.targets)
    fan_in = np.bincount(targets, minlength=graph.nodes)
    for i, name in enumerate(names):
        result.add_node(name, level=name[0])
        if name[0] > 1:
            table = tables[starts[i] : starts[i] + 2 ** fan_in[i]] if starts[i] >= 0 else None
            fires = int(thresholds[i]) if table is None else tuple(table.tolist())
            result.nodes[name]["fires"] = fires
    order = np.arange(len(targets)) - (np.cumsum(fan_in) - fan_in)[targets]
    for source, target, place in zip(graph.sources.tolist(), targets, order.tolist(), strict=True):
        result.add_edge(names[source], names[target], order=place)
    top = len(graph.widths) + 1
    result.add_nodes_from(((top, j) for j in range(graph.classes)), level=top)
    for source, target in zip(
        graph.class_sources.tolist(), graph.class_targets.tolist(), strict=True
    ):
        result.add_edge(names[source], (top, target))
    return result


def from_networkx(network: networkx.DiGraph) -> Graph:
    """A `Graph` from a directed graph with a node attribute `level` (1 = lowest, top = classes).

    Nodes of a level are numbered in the graph's own order; their names are not kept. `fires` is
    ``"any"`` (the default), ``"all"``, an integer or a truth table, whose bits follow the edges'
    `order` attribute where there is one, else the order of the edges. Raises `ValueError` naming
    the node: no level, an edge that skips or descends a level, and all that `Graph.from_nodes`
    rejects.
    """
    simple = network.is_directed() and not network.is_multigraph()
    require(simple, "network", type(network).__name__, "a DiGraph")
    by_level: dict[int, list[Any]] = {}
    for name, attributes in network.nodes(data=True):
        level: Any = attributes.get("level")
        ok = isinstance(level, int | np.integer) and level >= 1
        require(ok, f"node {name!r}: level", level, "an integer >= 1")
        by_level.setdefault(int(level), []).append(name)
    top = max(by_level, default=0)
    require(top >= 2, "number of levels", top, "at least 2, features and classes")
    for level in range(1, top + 1):
        require(level in by_level, f"level {level}", [], "not empty")
    place = {name: i for names in by_level.values() for i, name in enumerate(names)}
    for source, target in network.edges:
        rise = network.nodes[target]["level"] - network.nodes[source]["level"]
        require(rise == 1, f"edge {source!r} -> {target!r}: levels it climbs", rise, "1")

    def dependents(name: Any) -> list[int]:
        edges = list(network.in_edges(name, data="order"))
        if all(order is not None for *_, order in edges):
            edges.sort(key=lambda edge: edge[2])
        return [place[source] for source, *_ in edges]

    levels = [
        [Node(dependents(n), network.nodes[n].get("fires", "any")) for n in by_level[level]]
        for level in range(2, top)
    ]
    return Graph.from_nodes(len(by_level[1]), levels, [dependents(n) for n in by_level[top]])
