"""The graphs of the paper's figures (W. J. Su, arXiv 2112.09741), with inputs for each.

The paper lists firing patterns and rules for Figure 4 only. The other figures are drawings: ours
are graphs of the same make, each built to show what the paper says its figure shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nsh.neurashed.graph import Graph, Node
from nsh.neurashed.inputs import Prototypes
from nsh.neurashed.rule import Geometric
from nsh.neurashed.rules import Rules

# Figure 4: growth and decay are powers of this
BASE = 1.022


class GraphAndInputs(NamedTuple):
    """A graph and the inputs it is trained on."""

    graph: Graph
    inputs: Prototypes


def figure1() -> GraphAndInputs:
    """The structure: four levels, nodes that need any or all of their dependents, two classes.

    Level 3 has a node per class of the kind "cat = head or tail" (any) and one of the kind
    "panda head = dark circle and black ear and white face" (all), and a node both classes share.

    Example:
        >>> nsh.neurashed.figure1().graph
        Graph(levels=[8, 5, 5], edges=25, classes=2, class_edges=6)
    """
    level2 = [
        Node((0, 1), "any"),
        Node((1, 2, 3), "all"),
        Node((3, 4), "any"),
        Node((4, 5, 6), "all"),
        Node((6, 7), "any"),
    ]
    level3 = [
        Node((0, 1), "any"),
        Node((0, 1, 2), "all"),
        Node((1, 2, 3), 2),
        Node((2, 3, 4), "all"),
        Node((3, 4), "any"),
    ]
    graph = Graph.from_nodes(8, [level2, level3], [(0, 1, 2), (2, 3, 4)])
    patterns = [(0, 1, 2, 3), (1, 2, 3, 4), (0, 2), (3, 4, 5, 6), (4, 5, 6, 7), (5, 7)]
    return GraphAndInputs(graph, Prototypes(_firing(patterns, 8), [0, 0, 0, 1, 1, 1]))


def figure2() -> GraphAndInputs:
    """Feature pathways: three classes that share much at the low levels, nothing at the top.

    Every input fires the shared nodes of level 1; those of level 2 are shared by two classes
    each; each node of level 3 fires for one class alone.

    Example:
        >>> nsh.neurashed.figure2().graph
        Graph(levels=[5, 4, 3], edges=13, classes=3, class_edges=3)
    """
    level2 = [Node((0, 2), "all"), Node((0, 3), "all"), Node((1, 4), "all"), Node((1,), "any")]
    level3 = [Node((0, 3), "all"), Node((1, 3), "all"), Node((2, 3), "all")]
    graph = Graph.from_nodes(5, [level2, level3], [(0,), (1,), (2,)])
    patterns = [(0, 1, 2), (0, 1, 3), (0, 1, 4)]
    return GraphAndInputs(graph, Prototypes(_firing(patterns, 5), [0, 1, 2]))


def figure3() -> GraphAndInputs:
    """Implicit regularization: the part that belongs to one class, and four samples.

    Level-1 nodes fire for all four samples (node 0), three (1), two (2, 3, 4, 5) or one alone
    (6 to 9); level 2 has a node on top of each of them, firing with it.

    Example:
        Level-1 nodes fire for four, three, two or one of the four samples:

        >>> nsh.neurashed.figure3().inputs.x.sum(axis=0).tolist()
        [4, 3, 2, 2, 2, 2, 1, 1, 1, 1]
    """
    sets = [(0, 1, 2, 3), (0, 1, 2), (0, 1), (2, 3), (0, 2), (1, 3), (0,), (1,), (2,), (3,)]
    x = np.array([[sample in members for members in sets] for sample in range(4)])
    level2 = [Node((node,), "any") for node in range(len(sets))]
    graph = Graph.from_nodes(len(sets), [level2], [tuple(range(len(sets)))])
    return GraphAndInputs(graph, Prototypes(x, [0, 0, 0, 0]))


def figure4(shared_node: bool = True) -> GraphAndInputs:
    """Information bottleneck: two classes, eight inputs, levels of 13 (or 14) and 6 nodes.

    Class 1 has the patterns (1,2,7), (2,3,7), (4,5,7), (5,6,7), class 2 the mirror images. At
    level 2, for each class, the first and third node fire with any of (1,2,3) and (4,5,6), the
    second (dominant) with two or more of (2,5,7). The paper leaves open whether the 7th node is
    shared by both classes (`shared_node`, 13 nodes, the default) or has a twin (14 nodes).

    Example:
        >>> graph, inputs = nsh.neurashed.figure4()
        >>> graph
        Graph(levels=[13, 6], edges=18, classes=2, class_edges=6)
    """
    width = 13 if shared_node else 14
    ours = [(0, 1, 6), (1, 2, 6), (3, 4, 6), (4, 5, 6)]
    wiring: list[tuple[tuple[int, ...], str | int]] = [
        ((0, 1, 2), "any"),
        ((1, 4, 6), 2),
        ((3, 4, 5), "any"),
    ]

    def mirror(nodes: Sequence[int]) -> tuple[int, ...]:
        return tuple(width - 1 - node for node in nodes)

    level2 = [Node(nodes, fires) for nodes, fires in wiring]
    level2 += [Node(mirror(nodes), fires) for nodes, fires in reversed(wiring)]
    graph = Graph.from_nodes(width, [level2], [(0, 1, 2), (3, 4, 5)])
    x = _firing([*ours, *map(mirror, ours)], width)
    return GraphAndInputs(graph, Prototypes(x, [0, 0, 0, 0, 1, 1, 1, 1]))


def figure4_rules(graph: Graph) -> Rules:
    """Figure 4's rules: g-(x) = 1.022^(-1/4) x; g+(x) = 1.022^(11/4) x, the 7th node 1.022^(3/4).

    The 7th node's twin, where it has one, is as slow. The paper does not say how the class
    weights grow: here, as the other nodes.

    Example:
        >>> rules = nsh.neurashed.figure4_rules(nsh.neurashed.figure4().graph)
        >>> round(float(rules.growth.factor[0]), 4), round(float(rules.growth.factor[6]), 4)
        (1.0617, 1.0165)
    """
    return _rules(graph, slow_nodes=[6, graph.widths[0] - 7])


def figure6() -> GraphAndInputs:
    """Local elasticity: two classes of two subclasses, pathways shared the more the closer.

    Level 1 has a node that every input fires (0), one for each class (1, 2), each subclass (3 to
    6) and each of the eight samples (7 to 14). Level 2 has a node for each class, on top of its
    own and the common node, and for each subclass, on top of all its inputs' nodes but the common
    one; a class is wired to its own node and its subclasses'.

    Example:
        >>> graph, inputs = nsh.neurashed.figure6()
        >>> inputs.y.tolist(), inputs.subclass.tolist()
        ([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3])
    """
    samples = range(8)
    x = _firing([(0, 1 + i // 4, 3 + i // 2, 7 + i) for i in samples], 15)
    level2 = [Node((0, 1), "all"), Node((0, 2), "all")]
    level2 += [Node((1 + s // 2, 3 + s, 7 + 2 * s, 8 + 2 * s), 3) for s in range(4)]
    graph = Graph.from_nodes(15, [level2], [(0, 2, 3), (1, 4, 5)])
    return GraphAndInputs(
        graph, Prototypes(x, [i // 4 for i in samples], [i // 2 for i in samples])
    )


def figure6_rules(graph: Graph) -> Rules:
    """The rates of Figure 4, the node common to all inputs being the slow one.

    The paper gives no rates for Figure 6.

    Example:
        >>> rules = nsh.neurashed.figure6_rules(nsh.neurashed.figure6().graph)
        >>> int(jnp.argmin(rules.growth.factor))
        0
    """
    return _rules(graph, slow_nodes=[0])


def _rules(graph: Graph, slow_nodes: Sequence[int]) -> Rules:
    fast = BASE ** (11 / 4)
    growth = np.full(graph.nodes, fast)
    growth[list(slow_nodes)] = BASE ** (3 / 4)
    decay = Geometric(BASE ** (-1 / 4))
    return Rules(Geometric(growth), decay, weight_growth=Geometric(fast))


def _firing(patterns: Sequence[Sequence[int]], inputs: int) -> np.ndarray:
    x = np.zeros((len(patterns), inputs), bool)
    for row, pattern in zip(x, patterns, strict=True):
        row[list(pattern)] = True
    return x
