"""Parts of the experiment `correspondence` that its claims rest on."""

from typing import Any

import jax
import numpy as np
from small_graphs import some_graph
from untyped import stats

from experiments.correspondence.graphs import room_for, stacked
from experiments.rank_correlation import rank_correlation
from nsh.neurashed import feature_pathway


def test_padding_changes_nothing_that_fires():
    graphs = [
        some_graph(1, (6, 5), 2, 10),
        some_graph(2, (9, 4), 3, 10),
        some_graph(3, (7, 8), 1, 10),
    ]
    room = room_for(graphs)
    stack = stacked(graphs, room)
    pathways = jax.jit(jax.vmap(feature_pathway, (None, 0)))
    for place, graph in enumerate(graphs):
        first, second = graph.widths
        bits = np.random.default_rng(place).random((20, first)) < 0.5
        padded = np.pad(bits, ((0, 0), (0, room.lower - first)))
        one = jax.tree.map(lambda leaf, place=place: leaf[place], stack)
        whole, fires = (np.asarray(pathways(*of)) for of in ((one, padded), (graph, bits)))
        np.testing.assert_array_equal(whole[:, :first], fires[:, :first])
        above = whole[:, room.lower :]
        np.testing.assert_array_equal(above[:, :second], fires[:, first:])
        assert not above[:, second:].any()
        assert not whole[:, first : room.lower].any()
        # every edge to a class node is there, and those added come from what never fires
        sources = np.asarray(one.class_sources)[: graph.class_edges]
        np.testing.assert_array_equal(sources - room.lower, np.asarray(graph.class_sources) - first)
        added = np.asarray(one.class_sources)[graph.class_edges :]
        assert (added == room.lower + room.upper - 1).all()


def test_rank_correlation_is_spearmans_with_ties():
    random = np.random.default_rng(0)
    a, b = random.integers(0, 4, (3, 12)), random.normal(size=(3, 12))
    for row in range(3):
        expected: Any = stats.spearmanr(a[0], b[row])
        found = rank_correlation(a[:, None], b)[0, row]
        assert abs(found - expected.statistic) < 1e-12
    np.testing.assert_array_equal(rank_correlation(np.ones(12), b), 0)
