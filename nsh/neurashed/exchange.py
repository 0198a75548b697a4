"""Graphs to and from NetworkX (the extra ``neurashed[graphs]``), and with it to and from files."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nsh._checks import require
from nsh._extras import extra
from nsh.neurashed.graph import Graph, Node

if TYPE_CHECKING:
    import networkx

Item = TypeVar("Item")
TRUTH = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}


def to_networkx(graph: Graph) -> networkx.DiGraph:
    """A directed graph with nodes (level, index), edges from dependents upward.

    Node attributes: `level` (1 = lowest; classes at the top), `order`: place in its level, and, on
    middle levels, `fires`, a text: the threshold k (at least k dependents), or the truth table in
    letters T and F. Edge attribute `order`: place among the dependents of the node or class. Truth
    tables refer to it, and class weights are numbered by it.

    Attributes are integers and texts, which GraphML, GEXF, GML and JSON can hold. `from_networkx`
    reads the graph back from each of these, in whatever order they list nodes and edges.

    Example:
        >>> from nsh.neurashed import figure4, to_networkx
        >>> network = to_networkx(figure4().graph)
        >>> network.number_of_nodes(), network.number_of_edges()
        (21, 24)
        >>> network.nodes[2, 1]["fires"]
        '2'
    """
    with extra("graphs", "nsh.neurashed.to_networkx"):
        import networkx

    require(isinstance(graph, Graph), "graph", type(graph).__name__, "an nsh.Graph")
    levels, widths = graph.node_levels().tolist(), (*graph.widths, graph.classes)
    names = [(level, i) for level, width in enumerate(widths, 1) for i in range(width)]
    result = networkx.DiGraph()
    result.add_nodes_from((name, {"level": name[0], "order": name[1]}) for name in names)
    starts, thresholds = np.asarray(graph.table_starts), np.asarray(graph.thresholds)
    tables, targets = np.asarray(graph.tables), np.asarray(graph.targets)
    fan_in = np.bincount(targets, minlength=graph.nodes)
    for i, name in enumerate(names[: graph.nodes]):
        if levels[i] > 0:
            table = tables[starts[i] : starts[i] + 2 ** fan_in[i]] if starts[i] >= 0 else None
            letters = None if table is None else "".join("FT"[int(entry)] for entry in table)
            result.nodes[name]["fires"] = letters or str(thresholds[i])
    sources = [*graph.sources.tolist(), *graph.class_sources.tolist()]
    targets = np.concatenate([targets, graph.nodes + np.asarray(graph.class_targets)])
    fan_in = np.bincount(targets, minlength=len(names))
    order = np.arange(len(targets)) - (np.cumsum(fan_in) - fan_in)[targets]
    for source, target, place in zip(sources, targets, order.tolist(), strict=True):
        result.add_edge(names[source], names[target], order=place)
    return result


def from_networkx(network: networkx.DiGraph) -> Graph:
    """A `Graph` from a directed graph with a node attribute `level` (1 = lowest, top = classes).

    `order`, an attribute of nodes and edges, says in which order the nodes of a level are numbered,
    and the dependents of a node or class; where none of them has it, it is the order of the
    network. Names of nodes are not kept. `fires` is ``"any"`` (the default), ``"all"``, an integer
    or a truth table: a sequence, or a text such as ``TFFT`` or ``[True, False, False, True]``.
    Whole numbers may be written as other tools do: 2, 2.0, "2".

    Raises `ValueError` naming the node or edge: no level, an edge that skips or descends a level,
    an `order` that is no whole number, that is missing for some or the same for two, and all that
    `Graph.from_nodes` rejects.

    Example:
        >>> import networkx
        >>> from nsh.neurashed import from_networkx
        >>> network = networkx.DiGraph([("a", "A"), ("b", "A")])
        >>> networkx.set_node_attributes(network, {"a": 1, "b": 1, "A": 2}, "level")
        >>> from_networkx(network)
        Graph(levels=[2], edges=0, classes=1, class_edges=2)
    """
    with extra("graphs", "nsh.neurashed.from_networkx"):
        import networkx

    directed = isinstance(network, networkx.DiGraph) and not network.is_multigraph()
    require(directed, "network", type(network).__name__, "a DiGraph of NetworkX")
    level_of, by_level = {}, {}
    for name, level in network.nodes(data="level"):
        level_of[name] = _whole(level, f"node {name!r}: level", 1)
        by_level.setdefault(level_of[name], []).append(name)
    top = max(by_level, default=0)
    require(top >= 2, "number of levels", top, "at least 2, features and classes")
    for level in range(1, top + 1):
        require(level in by_level, f"level {level}", [], "not empty")
        places = {f"node {name!r}": network.nodes[name].get("order") for name in by_level[level]}
        by_level[level] = _ordered(by_level[level], places)
    place = {name: i for names in by_level.values() for i, name in enumerate(names)}
    for source, target in network.edges:
        rise = level_of[target] - level_of[source]
        require(rise == 1, f"edge {source!r} -> {target!r}: levels it climbs", rise, "1")

    def dependents(name: Hashable) -> list[int]:
        edges = network.in_edges(name, data="order")
        places = {f"edge {source!r} -> {name!r}": order for source, _, order in edges}
        return _ordered([place[source] for source, *_ in edges], places)

    def node(name: Hashable) -> Node:
        below = dependents(name)
        return Node(below, _fires(network.nodes[name].get("fires", "any"), f"node {name!r}: fires"))

    for name in (*by_level[1], *by_level[top]):
        fires = network.nodes[name].get("fires")
        allowed = "left out: inputs and classes fire by the data, not by others"
        default = fires is None or (isinstance(fires, str) and fires in ("", "any"))
        require(default, f"node {name!r}: fires", fires, allowed)
    levels = [[node(name) for name in by_level[level]] for level in range(2, top)]
    return Graph.from_nodes(len(by_level[1]), levels, [dependents(n) for n in by_level[top]])


def _ordered(items: Sequence[Item], places: Mapping[str, object]) -> list[Item]:
    """Items in the order of their places, which all of them have or none; by field, for errors."""
    if all(place is None for place in places.values()):
        return list(items)
    found: dict[int, str] = {}
    for field, place in places.items():
        place = _whole(place, f"{field}: order", 0)
        require(place not in found, f"{field}: order", place, f"another than {found.get(place)}'s")
        found[place] = field
    return [item for _, item in sorted(zip(found, items, strict=True), key=lambda pair: pair[0])]


def _whole(value: object, field: str, low: int) -> int:
    """A whole number >= low, also one written as a float or in digits."""
    number = _number(value)
    require(number is not None and number >= low, field, value, f"an integer >= {low}")
    assert number is not None
    return number


def _number(value: object) -> int | None:
    """The whole number that is meant, or None."""
    if isinstance(value, str):
        digits = value.strip().removesuffix(".0")
        # a leading 0 is of something else, such as a truth table
        plain = digits.isdecimal() and str(int(digits)) == digits
        return int(digits) if plain else None
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return int(value) if np.isfinite(value) and value == int(value) else None
    return None


def _fires(value: Any, field: str) -> Any:
    """As `Node.fires`, from what files hold."""
    number = _number(value)
    if number is not None:
        return number
    if isinstance(value, str):
        text = value.strip()
        if text in ("any", "all"):
            return text
        listed = text.strip("[]()").split(",")
        letters = len(listed) == 1 and set(text) <= {*"TF"}  # digits may have been a number
        return _table(text if letters else listed, value, field)
    listed = isinstance(value, Iterable) and not isinstance(value, Mapping | Set)
    return _table(value, value, field) if listed else value


def _table(entries: Iterable[object], value: object, field: str) -> list[bool]:
    words = [str(entry).strip().lower().removesuffix(".0") for entry in entries]
    known = len(words) > 1 and all(word in TRUTH for word in words)
    require(known, field, value, "'any', 'all', an integer, or a truth table such as TFFT")
    return [TRUTH[word] for word in words]
