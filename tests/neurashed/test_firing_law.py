"""Firing in mini-batches, alone and together, against the enumeration of all mini-batches."""

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh import Neurashed
from nsh.neurashed import exact, feature_pathway, figure1, figure4

pytestmark = pytest.mark.core


@eqx.filter_jit
def law(system, examples, size):
    probability = exact.firing_probability(system, examples, size)
    return probability, exact.firing_covariance(system, examples, size)


def all_batches(graph, inputs, size, edge_firing):
    """Which nodes and class edges fire in each of the n^B equally likely mini-batches."""
    nodes = np.stack([feature_pathway(graph, jnp.asarray(x)) for x in inputs.x])
    labels = np.asarray(inputs.y)
    edges = list(zip(np.asarray(graph.class_sources), np.asarray(graph.class_targets), strict=True))
    fired = []
    for batch in map(list, product(range(len(labels)), repeat=size)):
        if edge_firing == "batch":
            by_edge = [nodes[batch, f].any() and (labels[batch] == j).any() for f, j in edges]
        else:
            by_edge = [(nodes[batch, f] & (labels[batch] == j)).any() for f, j in edges]
        fired.append(np.append(nodes[batch].any(axis=0), by_edge))
    return np.array(fired, float)


@pytest.mark.long
@pytest.mark.parametrize("edge_firing", ["batch", "sample"])
@pytest.mark.parametrize(
    ("figure", "size"),
    [
        pytest.param(figure1, 1, marks=pytest.mark.thorough),
        pytest.param(figure1, 3, marks=pytest.mark.thorough),
        (figure4, 2),
    ],
)
def test_against_all_batches(figure, size, edge_firing, relative_tolerance):
    graph, inputs = figure()
    system = Neurashed(graph, edge_firing=edge_firing)
    examples = system.prepare(inputs.x, inputs.y)
    fired = all_batches(graph, inputs, size, edge_firing)
    found, covariance = law(system, examples, jnp.asarray(size, float))
    assert found.nodes.shape == (graph.nodes,)
    tolerance = {"rtol": 10 * relative_tolerance, "atol": relative_tolerance}
    np.testing.assert_allclose(np.concatenate(found), fired.mean(axis=0), **tolerance)
    np.testing.assert_allclose(covariance, np.cov(fired.T, bias=True), **tolerance)
    if size > 1:
        other = "sample" if edge_firing == "batch" else "batch"
        assert np.any(fired != all_batches(graph, inputs, size, other)) == (figure is figure1)


@pytest.mark.parametrize("edge_firing", ["batch", "sample"])
def test_the_full_batch_is_the_limit(edge_firing):
    graph, inputs = figure4()
    system = Neurashed(graph, edge_firing=edge_firing)
    examples = system.prepare(inputs.x, inputs.y)
    everything = all_batches(graph, inputs, 1, edge_firing).any(axis=0)
    for size in (np.inf, 1e4):
        found, covariance = law(system, examples, jnp.asarray(size))
        np.testing.assert_allclose(np.concatenate(found), everything, atol=1e-6)
        np.testing.assert_allclose(covariance, 0, atol=1e-6)


@pytest.mark.long
def test_jit_vmap_and_derivatives():
    graph, inputs = figure1()
    system = Neurashed(graph)
    examples = system.prepare(inputs.x, inputs.y)

    sizes = jnp.asarray([1.0, 2.5, 8.0])
    together = jax.vmap(lambda size: law(system, examples, size))(sizes)
    alone = law(system, examples, sizes[1])
    for found, wanted in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
        np.testing.assert_allclose(found[1], wanted, atol=1e-6)
    check_three_ways(lambda size: law(system, examples, size), np.float64(2.5))
