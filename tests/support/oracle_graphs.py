"""The oracle's graphs as those of nsh."""

from nsh import Graph, Node


def to_nsh(graph):
    levels = [
        [
            Node([d for _, d in graph.dependents[level, i]], graph.fires[level, i])
            for i in range(graph.widths[level - 1])
        ]
        for level in range(2, len(graph.widths) + 1)
    ]
    classes = [[f for _, f in graph.class_nodes[j]] for j in range(graph.classes)]
    return Graph.from_nodes(graph.widths[0], levels, classes)
