"""Random graphs of given sizes."""

import numpy as np

from nsh.neurashed import Graph, Node


def some_graph(seed=17, widths=(14, 9, 6), fan_in=3, classes=4):
    """A graph of `widths`, every node firing if all but one of its dependents do, or the one."""
    random = np.random.default_rng(seed)
    below, levels = widths[0], []
    for width in widths[1:]:
        levels.append(
            [
                Node(random.choice(below, fan_in, replace=False).tolist(), max(fan_in - 1, 1))
                for _ in range(width)
            ]
        )
        below = width
    wired = [random.choice(below, 2 + c % 2, replace=False).tolist() for c in range(classes)]
    return Graph.from_nodes(widths[0], levels, wired)
