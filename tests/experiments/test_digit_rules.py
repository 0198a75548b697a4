"""The parts of the experiment `digit_rules` against the model and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.digit_rules import Search
from experiments.digit_rules.search import RANGE, Training, grid_points, judge
from experiments.digit_rules.task import (
    LEVEL_RATES,
    Loss,
    Task,
    exponents_of,
    per_level,
    split,
)
from nsh import Neurashed, TrainingProblem, train
from nsh.data import digits
from nsh.measure import accuracy, cross_entropy, observe
from nsh.neurashed import Constant, Graph, Node, feature_pathway
from nsh.training import WithReplacement


@pytest.fixture(scope="module")
def task():
    """A small graph of three levels and random bits."""
    random = np.random.default_rng(0)
    middle = [Node([0, 1], "all"), Node([1, 2, 3], 2), Node([4, 5]), Node([2, 5], "all")]
    top = [Node([0, 1, 2], 2), Node([1, 3], "any"), Node([0, 3], "any")]
    graph = Graph.from_nodes(6, [middle, top], [[0, 1], [1, 2], [2]])
    bits, y = random.random((40, 6)) < 0.6, random.integers(3, size=40)
    fires = np.asarray(jax.jit(jax.vmap(feature_pathway, (None, 0)))(graph, bits))
    system = Neurashed(graph, Constant(0.4), Constant(0.4), edge_firing="sample")
    examples = system.prepare(bits[:20], y[:20])
    losses = [Loss.of(graph, fires[rows], y[rows]) for rows in (slice(20), slice(20, 40))]
    return Task(system, examples, *losses)


@pytest.mark.long
def test_points_are_judged_by_the_models_own_logits(task):
    training = Training(jax.random.key(0), 2, 30, 1)
    exponents = np.random.default_rng(1).normal(size=(2, 9, task.numbers))
    found = judge(task, task.validation, training, exponents)
    shifted = judge(task, task.validation, training, exponents[:, ::-1], shift=1)
    seed, point = 1, 8
    rules = task.per_node(jnp.asarray(exponents[seed, point]), 30)
    key = jax.random.fold_in(jax.random.key(0), seed)
    problem = TrainingProblem(
        task.system, task.examples, rules, steps=30, sampler=WithReplacement(1)
    )
    run = train(problem, key)
    logits = jax.jit(observe)(task.system, run.state, task.examples).outputs
    labels = task.validation.labels
    np.testing.assert_allclose(task.validation.logits(run.state), logits, rtol=1e-4)
    loss = float(cross_entropy(logits, labels))
    np.testing.assert_allclose(found.loss[seed, point], loss, rtol=1e-4)
    assert found.accuracy[seed, point] == pytest.approx(float(accuracy(logits, labels)))
    assert found.right[seed, point].mean() == pytest.approx(found.accuracy[seed, point])
    assert found.loss.shape == (2, 9)
    assert len(np.unique(found.loss)) == 18
    # seed 0 of the shifted ones trains on what seed 1 trained on, at other points
    assert abs(shifted.loss[0, 0] - loss) > 1e-4
    same = judge(task, task.validation, training, exponents[::-1], shift=1)
    np.testing.assert_allclose(same.loss[0, point], loss, rtol=1e-4)


@pytest.mark.long
def test_rates_of_levels_are_rates_of_nodes(task):
    exponents = np.linspace(-1, 1, LEVEL_RATES)
    levels, nodes = per_level(exponents, 50), task.per_node(jnp.asarray(task.spread(exponents)), 50)
    np.testing.assert_allclose(exponents_of(levels, 50), exponents, rtol=1e-3, atol=1e-4)
    spread = exponents_of(nodes, 50)
    np.testing.assert_allclose(spread, task.spread(exponents), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(task.per_level_of(task.spread(exponents)), exponents)
    run = [
        train(TrainingProblem(task.system, task.examples, rules, steps=50), jax.random.key(0)).state
        for rules in (levels, nodes)
    ]
    for one, other in zip(*map(jax.tree.leaves, run), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_grids_are_whole_and_tied():
    two, four = grid_points(128, 2), grid_points(128, 4)
    assert len(np.unique(two, axis=0)) == 11**2
    assert len(np.unique(four, axis=0)) == 3**4
    assert two.shape == four.shape == (128, LEVEL_RATES)
    assert np.all(two[:, :4] == two[:, :1])
    assert np.all(two[:, 4:] == two[:, 4:5])
    assert np.all(four[:, :3] == four[:, :1])
    assert np.any(four[:, 3] != four[:, 0])
    for points in (two, four):
        assert points.min() == -RANGE
        assert points.max() == RANGE
    np.testing.assert_array_equal(grid_points(3, 2), np.zeros((3, LEVEL_RATES)))


def test_best_so_far_and_what_it_was_found_at():
    losses = np.array([[3.0, 2.0, 2.5, 1.0], [1.0, 2.0, 0.5, 4.0]])
    points = np.arange(8.0).reshape(2, 4, 1)
    search, descent = Search(points, losses, 1), Search(points, losses, 4)
    np.testing.assert_array_equal(search.best(), [[3.0], [6.0]])
    np.testing.assert_array_equal(search.course(np.array([2, 4])), [[2.0, 1.0], [1.0, 0.5]])
    np.testing.assert_array_equal(descent.course(np.array([4, 12])), [[3.0, 2.0], [1.0, 0.5]])


@pytest.mark.long
def test_digits_come_in_three_parts_and_none_is_seen_twice():
    parts = split(8)
    sizes = {name: len(labels) for name, labels in parts.labels.items()}
    assert sizes == {"train": 897, "validation": 450, "test": 450}
    graph = parts.found.graph
    assert graph.widths[1] == 8
    for name, fires in parts.fires.items():
        assert fires.shape == (sizes[name], graph.nodes)
    data = digits()
    bits = {name: fires[:, graph.node_slice(1)] for name, fires in parts.fires.items()}
    np.testing.assert_array_equal(bits["test"], parts.found.encode(data.test_x))
    given = np.column_stack([parts.found.encode(data.train_x), data.train_y])
    kept = [np.column_stack([bits[n], parts.labels[n]]) for n in ("train", "validation")]
    every, given = np.concatenate(kept), np.unique(given, axis=0)
    assert len(every) == len(data.train_y)
    np.testing.assert_array_equal(np.unique(every, axis=0), given)
