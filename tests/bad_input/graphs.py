"""Bad graphs: (what is done, the place, the value, what is allowed)."""

# wrong types are the point here
# pyright: reportArgumentType=false
import networkx
import numpy as np
from bad_input.good import GRAPH, Cases

from nsh import Graph, Neurashed, Node
from nsh.neurashed import from_networkx, to_networkx

AND, OR = Node((0, 1), "all"), Node((1, 2))


def from_nodes(level2=(AND, OR), classes=((0,), (1,)), inputs=3):
    return Graph.from_nodes(inputs, [list(level2)], classes)


def from_arrays(**changes):
    """Two nodes on three, one class on each, with one thing changed."""
    good = {
        "inputs": 3,
        "dependents": [([0, 1, 1, 2], [0, 0, 1, 1])],
        "thresholds": [[2, 1]],
        "class_edges": ([0, 1], [0, 1]),
        "classes": 2,
    }
    return Graph.from_arrays(**{**good, **changes})


def wired(edges, fires=None, /, **levels):
    network = networkx.DiGraph()
    for name, level in levels.items():
        network.add_node(name, **({} if level is None else {"level": level}))
    network.add_edges_from(edges)
    networkx.set_node_attributes(network, fires or {}, "fires")
    return from_networkx(network)


def ordered(*edges, nodes=(0, 1)):
    """Two nodes below a third, with an `order` of these edges and nodes."""
    network = networkx.DiGraph()
    for name, place, order in zip("ab", nodes, edges, strict=True):
        network.add_node(name, level=1, order=place)
        network.add_edge(name, "c", **({} if order is None else {"order": order}))
    network.add_node("c", level=2)
    return from_networkx(network)


GRAPHS: Cases = {
    "no inputs": (lambda: from_nodes(inputs=0), "inputs", "0", ">= 1"),
    "empty level": (lambda: from_nodes(()), "level 2", "[]", "not empty"),
    "no dependents": (lambda: from_nodes([Node(())]), "level 2, node 0", "[]", "at least one"),
    "unknown dependent": (
        lambda: from_nodes([AND, Node((1, 3))]), "level 2, node 1: dependent", "3", "0..2",
    ),
    "negative dependent": (
        lambda: from_nodes([AND, Node((-1, 1))]), "level 2, node 1: dependent", "-1", "0..2",
    ),
    "repeated dependent": (
        lambda: from_nodes([Node((2, 1, 2)), OR]), "level 2, node 0: dependent", "2", "once",
    ),
    "dependent no integer": (
        lambda: from_nodes([AND, Node((0.5, 1))]), "level 2, node 1: dependents", "float64", "int",
    ),
    "dependent NaN": (
        lambda: from_nodes([AND, Node((np.nan,))]), "level 2, node 1: dependents", "nan", "NaN",
    ),
    "dependent a word": (
        lambda: from_nodes([AND, Node(("a",))]), "level 2, node 1: dependents", "<U1", "int",
    ),
    "threshold 0": (
        lambda: from_nodes([AND, Node((1, 2), 0)]), "level 2, node 1: fires", "0", "1..2",
    ),
    "threshold above fan-in": (
        lambda: from_nodes([AND, Node((1, 2), 3)]), "level 2, node 1: fires", "3", "1..2",
    ),
    "threshold a fraction": (
        lambda: from_nodes([AND, Node((1, 2), 1.5)]), "level 2, node 1: fires", "1.5", "1..2",
    ),
    "threshold a bool": (
        lambda: from_nodes([AND, Node((1, 2), True)]), "level 2, node 1: fires", "True", "1..2",
    ),
    "unknown rule": (
        lambda: from_nodes([Node((1, 2), "most"), OR]), "level 2, node 0: fires", "most", "'all'",
    ),
    "table too short": (
        lambda: from_nodes([AND, Node((1, 2), [True, False])]),
        "level 2, node 1: truth table shape", "(2,)", "(4,)",
    ),
    "table of integers": (
        lambda: from_nodes([Node((1, 2), [0, 1, 2, 0]), OR]),
        "level 2, node 0: truth table[2]", "2", "True or False",
    ),
    "table of fractions": (
        lambda: from_nodes([Node((1, 2), [0.0, 1.0, 1.0, 0.0]), OR]),
        "level 2, node 0: truth table dtype", "float64", "bool",
    ),
    "level without brackets": (
        lambda: Graph.from_nodes(3, [AND], [(0,)]), "levels[0]", "Node(dependents=(0, 1)", "a list",
    ),
    "no node": (lambda: from_nodes([AND, (1, 2)]), "level 2, node 1", "(1, 2)", "a Node"),
    "dependents without brackets": (
        lambda: from_nodes([Node(1)]), "level 2, node 0: dependents", "1", "a list",
    ),
    "class without brackets": (
        lambda: from_nodes(classes=[0, 1]), "class 0: dependents", "0", "a list",
    ),
    "table too wide": (
        lambda: from_nodes([Node(range(21), [True] * 4)], [(0,)], 21),
        "level 2, node 0: fan-in", "21", "at most 20",
    ),
    "table with a threshold above fan-in": (
        lambda: from_nodes([Node((1, 2), np.ones(8, bool)), OR]),
        "level 2, node 0: truth table shape", "(8,)", "(4,)",
    ),
    "class without edges": (
        lambda: from_nodes(classes=[(0,), ()]), "class 1: dependents", "[]", "at least one",
    ),
    "class wired to nothing": (
        lambda: from_nodes(classes=[(0,), (2,)]), "class level, node 1: dependent", "2", "0..1",
    ),
    "class wired twice": (
        lambda: from_nodes(classes=[(0, 0), (1,)]), "class level, node 0", "0", "once",
    ),
    "no classes": (lambda: from_nodes(classes=()), "classes", "0", ">= 1"),
    "arrays: class without edges": (
        lambda: from_arrays(classes=3), "class 2", "[]", "wired to at least one",
    ),
    "arrays: negative class": (
        lambda: from_arrays(class_edges=([0, 1], [0, -1])), "class level", "-1", "0..1",
    ),
    "arrays: unknown node": (
        lambda: from_arrays(dependents=[([0, 1, 1, 9], [0, 0, 1, 1])]),
        "level 2, node 1: dependent", "9", "0..2",
    ),
    "arrays: node without dependents": (
        lambda: from_arrays(dependents=[([0, 1], [0, 0])]), "level 2, node 1", "[]", "at least one",
    ),
    "arrays: unpaired": (
        lambda: from_arrays(dependents=[([0, 1], [0])]), "level 2: number of targets", "1", "2",
    ),
    "arrays: two axes": (
        lambda: from_arrays(thresholds=[[[2, 1]]]), "level 2, thresholds", "(1, 2)", "one-dim",
    ),
    "arrays: threshold above fan-in": (
        lambda: from_arrays(thresholds=[[2, 4]]), "level 2, node 1: threshold", "4", "1..2",
    ),
    "arrays: fractions": (
        lambda: from_arrays(thresholds=[[1.0, 1.0]]), "level 2, thresholds", "float64", "int",
    ),
    "arrays: thresholds of another level": (
        lambda: from_arrays(thresholds=[[2, 1], [1]]), "levels of thresholds", "2", "1",
    ),
    "arrays: empty level": (lambda: from_arrays(thresholds=[[]]), "level 2", "[]", "not empty"),
    "arrays: table of no node": (
        lambda: from_arrays(tables={(2, 7): [True] * 4}), "truth table", "(2, 7)", "middle level",
    ),
    "arrays: table at level 1": (
        lambda: from_arrays(tables={(1, 0): [True] * 4}), "truth table", "(1, 0)", "middle level",
    ),
    "arrays: negative table": (
        lambda: from_arrays(tables={(2, -1): [True] * 4}), "truth table", "(2, -1)", "middle level",
    ),
    "arrays: table with NaN": (
        lambda: from_arrays(tables={(2, 1): [np.nan] * 4}), "level 2, node 1: truth table", "nan",
        "NaN",
    ),
    "level 0": (lambda: GRAPH.node_slice(0), "level", "0", "1..2"),
    "edges of level 3": (lambda: GRAPH.edge_slice(3), "level", "3", "1..2"),
    "networkx: no level": (
        lambda: wired([("a", "b")], a=1, b=None), "node 'b': level", "None", ">= 1",
    ),
    "networkx: undirected": (
        lambda: from_networkx(networkx.Graph()), "network", "Graph", "a DiGraph",
    ),
    "networkx: no network": (
        lambda: from_networkx(None), "network", "NoneType", "a DiGraph of NetworkX",
    ),
    "networkx: from no graph": (
        lambda: to_networkx(Neurashed(GRAPH)), "graph", "Neurashed", "an nsh.Graph",
    ),
    "networkx: a table by name": (  # of which only the names would be read
        lambda: wired([("a", "b"), ("b", "c")], {"b": {0: 1, 1: 0}}, a=1, b=2, c=3),
        "level 2, node 0: fires", "{0: 1, 1: 0}", "integer",
    ),
    "networkx: a class that fires with all": (
        lambda: wired([("a", "b")], {"b": "all"}, a=1, b=2), "node 'b': fires", "all", "left out",
    ),
    "networkx: an input that fires with all": (
        lambda: wired([("a", "b")], {"a": 1}, a=1, b=2), "node 'a': fires", "1", "left out",
    ),
    "networkx: edges given twice": (
        lambda: from_networkx(networkx.MultiDiGraph()), "network", "MultiDiGraph", "a DiGraph",
    ),
    "networkx: rule": (
        lambda: wired([("a", "b"), ("b", "c")], {"b": 2}, a=1, b=2, c=3),
        "level 2, node 0: fires", "2", "1..1",
    ),
    "networkx: level 0": (lambda: wired([("a", "b")], a=0, b=1), "node 'a': level", "0", ">= 1"),
    "networkx: one level": (lambda: wired([], a=1), "number of levels", "1", "at least 2"),
    "networkx: nothing": (lambda: wired([]), "number of levels", "0", "at least 2"),
    "networkx: level left out": (lambda: wired([], a=1, b=3), "level 2", "[]", "not empty"),
    "networkx: order NaN": (
        lambda: ordered(1.0, np.nan), "edge 'b' -> 'c': order", "nan", "an integer >= 0",
    ),
    "networkx: order twice": (
        lambda: ordered(1, "1.0"), "edge 'b' -> 'c': order", "1", "another than edge 'a' -> 'c'",
    ),
    "networkx: order for some": (
        lambda: ordered(1, None), "edge 'b' -> 'c': order", "None", "an integer >= 0",
    ),
    "networkx: order a fraction": (
        lambda: ordered(0, 1.5), "edge 'b' -> 'c': order", "1.5", "an integer >= 0",
    ),
    "networkx: order of nodes twice": (
        lambda: ordered(0, 1, nodes=(2, 2)), "node 'b': order", "2", "another than node 'a'",
    ),
    "networkx: level a bool": (
        lambda: wired([("a", "b")], a=True, b=2), "node 'a': level", "True", ">= 1",
    ),
    "networkx: a table in digits": (
        lambda: wired([("a", "b"), ("b", "c")], {"b": "01"}, a=1, b=2, c=3),
        "node 'b': fires", "01", "TFFT",
    ),
    "networkx: fires NaN": (
        lambda: wired([("a", "b"), ("b", "c")], {"b": np.nan}, a=1, b=2, c=3),
        "level 2, node 0: fires", "nan", "integer",
    ),
    "networkx: an edge skips a level": (
        lambda: wired([("a", "b"), ("a", "c"), ("b", "c")], a=1, b=2, c=3),
        "edge 'a' -> 'c'", "2", "1",
    ),
    "networkx: an edge descends": (
        lambda: wired([("a", "b"), ("b", "a")], a=1, b=2), "edge 'b' -> 'a'", "-1", "1",
    ),
}  # fmt: skip
