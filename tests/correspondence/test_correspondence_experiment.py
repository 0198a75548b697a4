"""Parts of the experiment `correspondence` that its claims rest on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from small_graphs import some_graph

from experiments.correspondence.graphs import room_for, stacked
from experiments.correspondence.measures import rank_correlation
from experiments.correspondence.training import Repeated
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


@pytest.mark.long
def test_repeated_batches_hold_the_distinct_samples_equally_often():
    key, first = jax.random.key(3), jnp.int32(5)
    for distinct in (1, 2, 4):
        sampler = Repeated(jnp.asarray(distinct, jnp.int32), 4)
        drawn, _ = sampler.draw(None, first, 6, key, 1000)
        whole, _ = Repeated(jnp.asarray(4, jnp.int32), 4).draw(None, first, 6, key, 1000)
        for row, all_four in zip(np.asarray(drawn), np.asarray(whole), strict=True):
            np.testing.assert_array_equal(
                np.sort(row), np.sort(np.repeat(all_four[:distinct], 4 // distinct))
            )


def test_rank_correlation_is_spearmans_with_ties():
    random = np.random.default_rng(0)
    a, b = random.integers(0, 4, (3, 12)), random.normal(size=(3, 12))
    for row in range(3):
        expected: Any = stats.spearmanr(a[0], b[row])
        found = rank_correlation(a[:, None], b)[0, row]
        assert abs(found - expected.statistic) < 1e-12
    np.testing.assert_array_equal(rank_correlation(np.ones(12), b), 0)
