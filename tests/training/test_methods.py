"""All exact methods compute the same run: 100 random graphs, all samplers, other systems."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from derivatives import QUICKLY, check_three_ways, x64
from oracle_graphs import to_nsh

from nsh import (
    Additive,
    Affine,
    Epochs,
    FullBatch,
    Geometric,
    Neurashed,
    PerLevel,
    Rules,
    Saturating,
    SaveAt,
    System,
    TrainingProblem,
    WithReplacement,
    ensemble,
    train,
)
from nsh.neurashed import Uniform, figure4, figure4_rules
from nsh.system import Transition
from nsh.training import ClosedForm, ParallelInTime, Sequential

KEY = jax.random.key(3)
GRAPHS, SAMPLES, STEPS, EVERY = 100, 12, 150, 7
WIDTHS, FAN_INS, TABLES, CLASSES = (9, 6, 4), (4, 3), 2, 3
NODES, EDGES = sum(WIDTHS), 2 * CLASSES


def geometric(rng):
    return Rules(
        Geometric(rng.uniform(1.001, 1.2, NODES)),
        Geometric(rng.uniform(0.8, 0.999, NODES)),
        Geometric(rng.uniform(1.001, 1.2)),
        Geometric(rng.uniform(0.8, 0.999)),
    )


def per_level(rng):
    levels = len(WIDTHS) + 1
    growth, decay = rng.uniform(1.001, 1.2, levels), rng.uniform(0.8, 0.999, levels)
    return Rules(PerLevel(Geometric(growth)), PerLevel(Geometric(decay)))


def affine(rng):
    return Rules(
        Affine(rng.uniform(1, 1.1, NODES), rng.uniform(0.001, 0.1, NODES)),
        Affine(rng.uniform(0.9, 1, NODES), -rng.uniform(0, 0.05, NODES)),
        Additive(rng.uniform(0.01, 0.1)),
        Geometric(rng.uniform(0.8, 0.999)),
    )


CASES = {
    "geometric, edges by batch": (geometric, "batch", 1),
    "per level, edges by sample": (per_level, "sample", 4),
    "affine, edges by batch": (affine, "batch", 3),
}


def random_run(seed, make_rules, reading):
    rng = random.Random(seed)
    graph = to_nsh(oracle.random_graph(rng.random(), WIDTHS, FAN_INS, TABLES, CLASSES))
    numbers = np.random.default_rng(seed)
    system = Neurashed(graph, edge_firing=reading)
    x = numbers.random((SAMPLES, WIDTHS[0])) < 0.5
    return system, system.prepare(x, numbers.integers(0, CLASSES, SAMPLES)), make_rules(numbers)


def assert_same(ours, theirs, tolerance):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_array_equal(np.isneginf(a), np.isneginf(b))
        np.testing.assert_allclose(
            np.where(np.isfinite(a), a, 0), np.where(np.isfinite(b), b, 0), rtol=0, atol=tolerance
        )


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_methods_agree_on_100_random_graphs_in_float64(case):
    make_rules, reading, batch = CASES[case]
    with x64(True):
        runs = [random_run(seed, make_rules, reading) for seed in range(GRAPHS)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)
        keys = jax.random.split(KEY, GRAPHS)

        def by(method, save):
            def one(run, key):
                sampler = WithReplacement(batch)
                problem = TrainingProblem(*run, steps=STEPS, sampler=sampler, save=save)
                return train(problem, key, method=method)

            found = jax.jit(jax.vmap(one), compiler_options=QUICKLY)(stacked, keys)
            assert np.all(np.asarray(found.status) == 0)
            return found

        save = SaveAt(every=EVERY)
        steps = by(Sequential(), save)
        final, recorded = steps.state, steps.saved
        assert len(np.unique(np.asarray(final.log_amplification), axis=0)) == GRAPHS
        parallel = by(ParallelInTime(), save)
        assert_same((parallel.state, parallel.saved), (final, recorded), 1e-9)
        if make_rules is not affine:
            closed = by(ClosedForm(), save)
            assert_same((closed.state, closed.saved), (final, recorded), 1e-9)


def figure4_run(rules=None):
    graph, inputs = figure4()
    system = Neurashed(graph)
    rules = figure4_rules(graph) if rules is None else rules
    return system, system.prepare(inputs.x, inputs.y), rules


SAMPLERS = [WithReplacement(1), WithReplacement(3), Epochs(3), FullBatch()]


@pytest.mark.long
@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_methods_agree_for_every_sampler(sampler, relative_tolerance):
    problem = TrainingProblem(*figure4_run(), steps=53, sampler=sampler, save=SaveAt(every=10))
    exact = train(problem, KEY)
    for method in (ParallelInTime(), ClosedForm()):
        found = train(problem, KEY, method=method)
        np.testing.assert_array_equal(found.times, exact.times)
        ours, theirs = (found.state, found.saved), (exact.state, exact.saved)
        assert_same(ours, theirs, 100 * relative_tolerance)


@pytest.mark.long
def test_parallel_in_time_in_blocks_and_at_irregular_times(relative_tolerance):
    rules = Rules(Affine(1.02, 0.013), Affine(0.97, -0.0017))
    save = SaveAt(times=(0, 4, 8, 12, 57))
    problem = TrainingProblem(*figure4_run(rules), steps=60, save=save)
    exact = train(problem, KEY)
    found = train(problem, KEY, method=ParallelInTime(1000))
    np.testing.assert_array_equal(found.times, exact.times)
    assert_same((found.state, found.saved), (exact.state, exact.saved), 100 * relative_tolerance)


@pytest.mark.long
@pytest.mark.parametrize("samples", [20, 50, 400])
def test_closed_form_counts_samples_however_many(samples, relative_tolerance):
    """Few are compared, more are scattered, and where there are more than steps, events are."""
    graph, inputs = figure4()
    system = Neurashed(graph)
    chosen = np.arange(samples) % len(inputs.x)
    examples = system.prepare(inputs.x[chosen], inputs.y[chosen])
    problem = TrainingProblem(system, examples, figure4_rules(graph), steps=300)
    found = train(problem, KEY, method=ClosedForm()).state
    assert_same(found, train(problem, KEY).state, 1000 * relative_tolerance)


def test_schedules_compose(relative_tolerance):
    def decay(iteration):
        return 0.99 - 0.001 * iteration.astype(float) / 50

    rules = Rules(Geometric(1.05), Geometric(decay))
    problem = TrainingProblem(*figure4_run(rules), steps=50)
    found = train(problem, KEY, method=ParallelInTime()).state
    assert_same(found, train(problem, KEY).state, 100 * relative_tolerance)


class LeastSquares(System):
    """Linear regression by SGD: a step is the affine map w -> w - rate (w.x - y) x."""

    def prepare(self, x, y):
        return jnp.asarray(x, float), jnp.asarray(y, float)

    def init(self, key, hyper):
        return jax.random.normal(key, (3,), float)

    def step(self, state, batch, hyper, key):
        x, y = batch
        return state - hyper * jnp.mean((x @ state - y)[:, None] * x, axis=0)

    def transition(self, batch, hyper, iteration, key):
        x, y = batch
        matrix = jnp.eye(3) - hyper * x.T @ x / len(x)
        return AffineMap(matrix, hyper * jnp.mean(y[:, None] * x, axis=0))

    def outputs(self, state, example):
        return state

    def features(self, state, example):
        return (state,)


class AffineMap(Transition):
    matrix: jax.Array
    offset: jax.Array

    def then(self, later):
        # as sums, since JAX 0.7.2 cannot compile this product of small matrices, vmapped thrice
        product = jnp.sum(later.matrix[:, :, None] * self.matrix[None], axis=1)
        return AffineMap(product, later.matrix @ self.offset + later.offset)

    def __call__(self, state):
        return self.matrix @ state + self.offset


@pytest.mark.long
def test_parallel_in_time_serves_any_system_that_composes(relative_tolerance):
    system, rng = LeastSquares(), np.random.default_rng(0)
    examples = system.prepare(rng.normal(size=(30, 3)), rng.normal(size=30))
    sampler, save = WithReplacement(2), SaveAt(every=4)
    problem = TrainingProblem(system, examples, 0.1, steps=40, sampler=sampler, save=save)
    exact = ensemble(problem, KEY, seeds=5)
    found = ensemble(problem, KEY, seeds=5, method=ParallelInTime())
    assert_same((found.state, found.saved), (exact.state, exact.saved), 10 * relative_tolerance)


@pytest.mark.long
def test_derivatives_through_composed_maps():
    graph, (_, examples, _) = figure4()[0], figure4_run()

    def recorded(factor, step):
        system = Neurashed(graph, Uniform(0.5, 1.0))  # a start in the floats of this moment
        rules = Rules(Affine(1.02, 0.013), Affine(factor, step))
        save = SaveAt(lambda now: now.state.log_amplification[:7], every=4)
        problem = TrainingProblem(system, examples, rules, steps=8, save=save)
        run = train(problem, KEY, method=ParallelInTime())
        return run.saved

    check_three_ways(recorded, np.array(0.97), np.array(-0.0017))
    with x64(True):  # at the edge: no step at all
        slope = jax.jacfwd(recorded, 1)(0.97, 0.0)
        difference = (recorded(0.97, 0.0) - recorded(0.97, -1e-7)) / 1e-7
        np.testing.assert_allclose(slope, difference, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "rules", "words"),
    [
        (ParallelInTime(), Rules(Saturating(1.1, 2.0), Geometric(0.9)),
         r"Saturating.*use Sequential\(\)"),
        (ClosedForm(), Rules(Saturating(1.1, 2.0), Geometric(0.9)),
         r"growth is Saturating.*Sequential\(\)"),
        (ClosedForm(), Rules(Geometric(1.1), Additive(-0.1)),
         r"decay is Additive.*use ParallelInTime\(\)"),
        (ClosedForm(), Rules(Geometric(1.1), Geometric(lambda i: 0.9)),
         r"decay.factor is a schedule.*ParallelInTime\(\)"),
    ],
)  # fmt: skip
def test_a_method_that_does_not_fit_names_one_that_does(method, rules, words):
    problem = TrainingProblem(*figure4_run(rules), steps=4)
    with pytest.raises(ValueError, match=words):
        train(problem, KEY, method=method)


@pytest.mark.parametrize("method", [ParallelInTime(), ClosedForm()], ids=repr)
def test_methods_refuse_systems_without_what_they_need(method):
    class Plain(LeastSquares):
        def transition(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, batch, hyper, iteration, key
        ):
            return System.transition(self, batch, hyper, iteration, key)

    system = Plain()
    examples = system.prepare(np.ones((4, 3)), np.ones(4))
    problem = TrainingProblem(system, examples, 0.1, steps=4)
    with pytest.raises(ValueError, match=r"Plain.*Sequential\(\)"):
        train(problem, KEY, method=method)
