"""Null models keep what they must and change the rest."""

import numpy as np
import pytest
from small_graphs import some_graph

from nsh.correspondence.null_models import random_graph_like, shuffled_edges
from nsh.neurashed import Graph, Node


def edges(graph):
    own = np.stack([graph.sources, graph.targets], axis=1)
    return own, np.stack([graph.class_sources, graph.class_targets], axis=1)


@pytest.mark.parametrize("null", [shuffled_edges, random_graph_like])
def test_sizes_levels_fan_ins_and_firing_rules_stay(null):
    graph = some_graph()
    for seed in range(5):
        other = null(graph, seed)
        np.testing.assert_array_equal(other.targets, graph.targets)
        np.testing.assert_array_equal(other.thresholds, graph.thresholds)
        for name in ("widths", "edge_counts", "classes"):
            assert getattr(other, name) == getattr(graph, name)
        levels = graph.node_levels()
        for mine, theirs in zip(edges(graph), edges(other), strict=True):
            np.testing.assert_array_equal(levels[mine[:, 0]], levels[theirs[:, 0]])
            assert len(np.unique(theirs, axis=0)) == len(theirs)
            assert (mine[:, 0] != theirs[:, 0]).any()
        np.testing.assert_array_equal(null(graph, seed).sources, other.sources)
    assert not np.array_equal(null(graph, 0).sources, null(graph, 1).sources)
    with pytest.raises(ValueError, match="seed = -1"):
        null(graph, -1)


def test_shuffling_keeps_fan_outs_and_a_random_graph_does_not():
    graph = some_graph()

    def fan_outs(of):
        return [np.bincount(part[:, 0], minlength=graph.nodes) for part in edges(of)]

    for mine, theirs in zip(fan_outs(graph), fan_outs(shuffled_edges(graph, 0)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    pairs = zip(fan_outs(graph), fan_outs(random_graph_like(graph, 0)), strict=True)
    assert any((mine != theirs).any() for mine, theirs in pairs)


def test_where_all_are_wired_to_all_nothing_can_be_swapped():
    nodes = [Node(range(4)) for _ in range(3)]
    graph = Graph.from_nodes(4, [nodes], [range(3), range(3)])
    for null in (shuffled_edges, random_graph_like):
        for mine, theirs in zip(edges(graph), edges(null(graph, 0)), strict=True):
            assert set(map(tuple, mine.tolist())) == set(map(tuple, theirs.tolist()))


@pytest.mark.long
def test_shuffling_reaches_all_graphs_of_the_same_degrees_equally_often():
    # three nodes, each wired to one of three: 6 graphs
    graph = Graph.from_nodes(3, [[Node([i]) for i in range(3)]], [range(3)])
    seen = [np.asarray(shuffled_edges(graph, seed).sources) for seed in range(300)]
    _, times = np.unique(seen, axis=0, return_counts=True)
    assert times.size == 6
    assert ((times - 50) ** 2 / 50).sum() < 20.5  # 0.1% point of chi squared, 5 degrees of freedom
