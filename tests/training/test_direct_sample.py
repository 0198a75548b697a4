"""Final states drawn from their law, against stepping, enumeration and scipy."""

import re
from collections import Counter
from itertools import product
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways
from untyped import stats

from nsh import (
    Epochs,
    FullBatch,
    Geometric,
    Neurashed,
    Rules,
    Saturating,
    SaveAt,
    System,
    TrainingProblem,
    WithReplacement,
    ensemble,
    train,
)
from nsh.neurashed import Constant, exact, figure1, figure4, figure4_rules
from nsh.training import DirectSample, Sequential

DRAWS = 20_000


class Tally(System):
    """Counts in how many mini-batches each sample came up."""

    samples: int = eqx.field(static=True)

    def prepare(self, x, y):
        return jnp.uint32(1) << jnp.arange(self.samples, dtype=jnp.uint32)

    def init(self, key, hyper):
        return jnp.zeros(self.samples, jnp.int32)

    def step(self, state, batch, hyper, key):
        raise NotImplementedError("no step is taken")

    def outputs(self, state, example):
        return jnp.zeros(2)

    def features(self, state, example):
        return (jnp.zeros(1),)

    def events(self, batch):
        return jax.lax.reduce(batch, jnp.uint32(0), jax.lax.bitwise_or, (0,))[None]

    def state_from_counts(self, start, counts, steps, hyper):
        return start + counts[: self.samples]


def tallies(samples, sampler, steps, seeds=DRAWS, lanes=1000):
    system = Tally(samples)
    examples, key = system.prepare(None, None), jax.random.key(5)
    problem = TrainingProblem(system, examples, None, steps=steps, sampler=sampler)
    run = ensemble(problem, key, seeds=seeds, method=DirectSample(), vmap_size=lanes)
    return np.asarray(run.state)


@pytest.mark.long
def test_the_law_of_final_states_by_enumeration():
    samples, size, steps = 3, 2, 4
    batch_law = Counter(
        tuple(int(i in batch) for i in range(samples))
        for batch in product(range(samples), repeat=size)
    )
    law = Counter()
    for course in product(batch_law.items(), repeat=steps):
        final = tuple(np.sum([happened for happened, _ in course], axis=0).tolist())
        law[final] += np.prod([ways for _, ways in course]) / samples ** (size * steps)
    drawn = Counter(map(tuple, tallies(samples, WithReplacement(size), steps).tolist()))
    assert drawn.keys() <= law.keys()
    observed, expected = np.array([(drawn[k], DRAWS * law[k]) for k in law if law[k] > 5e-4]).T
    scale = observed.sum() / expected.sum()
    assert stats.chisquare(observed, expected * scale).pvalue > 1e-3


def test_the_full_batch():
    np.testing.assert_array_equal(tallies(4, FullBatch(), 77, seeds=5), 77)


@pytest.mark.long
def test_seeds_do_not_depend_on_how_many_there_are():
    steps = 2**31 - 1
    few, many = (tallies(4, WithReplacement(1), steps, seeds, lanes=8) for seeds in (3, 21))
    np.testing.assert_array_equal(few, many[:3])
    assert len(np.unique(many[:, 0])) > 15
    np.testing.assert_array_equal(many.sum(axis=1, dtype=np.int64), steps)


def gains(system, examples, rules, size, steps, seeds, method, seed):
    """log(lambda_T / lambda_0), then of eta, for each seed."""
    problem = TrainingProblem(system, examples, rules, steps=steps, sampler=WithReplacement(size))
    run = ensemble(problem, jax.random.key(seed), seeds=seeds, method=method)
    state = (run.state.log_amplification, run.state.log_weight)
    np.testing.assert_array_equal(run.status, 0)
    return np.concatenate([np.asarray(part, np.float64) for part in state], axis=1)


@pytest.mark.long
@pytest.mark.parametrize(("size", "edge_firing"), [(1, "batch"), (3, "batch"), (3, "sample")])
def test_agrees_in_law_with_stepping_and_with_the_moments(size, edge_firing):
    graph, inputs = figure1()
    system = Neurashed(graph, Constant(1.0), Constant(1.0), edge_firing=edge_firing)
    examples, steps = system.prepare(inputs.x, inputs.y), 50
    rules = Rules(Geometric(1.3), Geometric(0.8), Geometric(1.2), Geometric(0.9))
    drawn = gains(system, examples, rules, size, steps, DRAWS, DirectSample(), 1)
    floats = (jnp.asarray(number, float) for number in (size, steps))
    law = eqx.filter_jit(exact.joint_log_moments)(system, rules, examples, *floats)
    mean, covariance = (np.asarray(moment, np.float64) for moment in law)
    variance = np.diag(covariance)
    error = np.sqrt(variance / DRAWS)
    assert np.all(abs(drawn.mean(axis=0) - mean) <= 3.5 * error + 1e-4)
    # the error of a covariance of nearly normal variables
    both = np.outer(variance, variance) + covariance**2
    assert np.all(abs(np.cov(drawn.T) - covariance) <= 4 * np.sqrt(both / DRAWS) + 1e-4)
    if edge_firing == "sample":
        return
    stepped = gains(system, examples, rules, size, steps, 2048, Sequential(), 2)
    edges = len(mean) - graph.nodes
    shrunk, jump = np.repeat(np.log([[0.8, 0.9], [1.3 / 0.8, 1.2 / 0.9]]), [graph.nodes, edges], 1)
    counts = [np.round((sample - steps * shrunk) / jump) for sample in (drawn, stepped)]
    moving = np.flatnonzero(variance > 1e-3)
    assert moving.size > 10
    for i in moving:
        test: Any = stats.ks_2samp(*(c[:, i] for c in counts), method="asymp")
        assert test.pvalue > 1e-4


@pytest.mark.long
def test_a_million_steps_of_figure_4():
    graph, inputs = figure4()
    system = Neurashed(graph, Constant(1.0), Constant(1.0))
    examples, steps = system.prepare(inputs.x, inputs.y), 10**6
    rules = figure4_rules(graph)
    final = gains(system, examples, rules, 1, steps, DRAWS, DirectSample(), 3)
    decay = steps * np.log(1.022) / 4
    jumps = np.r_[np.full(graph.nodes, 3.0), np.full(graph.class_edges, 3.0)] * np.log(1.022)
    jumps[6] /= 3
    counts = np.round((final + decay) / jumps).astype(int)
    p = np.asarray(exact.firing_probability(system, examples, jnp.asarray(1.0)).nodes, float)
    for node in (0, 2, 15):
        q = round(p[node] * 8) / 8
        assert 0 < q < 1
        cut = stats.binom.ppf(np.linspace(0, 1, 41)[1:-1], steps, q)
        places = np.searchsorted(cut, counts[:, node])
        expected = DRAWS * np.diff(np.r_[0, stats.binom.cdf(cut, steps, q), 1])
        observed = np.bincount(places, minlength=40)
        assert stats.chisquare(observed, expected * (DRAWS / expected.sum())).pvalue > 1e-3
    # node 7 is on every pathway
    np.testing.assert_allclose(final[:, 6], steps * 0.75 * np.log(1.022), rtol=1e-5)


@pytest.mark.long
def test_derivatives_by_the_rates():
    graph, inputs = figure1()

    def final(growth, decay):
        system = Neurashed(graph)
        examples = system.prepare(inputs.x, inputs.y)
        problem = TrainingProblem(
            system, examples, Rules(Geometric(growth), Geometric(decay)), steps=100
        )
        run = train(problem, jax.random.key(0), method=DirectSample())
        return run.state.log_amplification, run.state.log_weight

    check_three_ways(final, np.float64(1.1), np.float64(0.9))


class Stepping(Tally):
    """Has no events."""

    events, state_from_counts = System.events, System.state_from_counts


FITTING = Rules(Geometric(1.1), Geometric(0.9))
MISFITS = {
    "recordings": ({"save": SaveAt(every=5)}, "`save` records before the end"),
    "epochs": ({"sampler": Epochs(2)}, "mini-batches of Epochs are not independent draws"),
    "order matters": (
        {"hyper": Rules(Saturating(1.1, 5.0), Geometric(0.9))}, "growth is Saturating",
    ),
    "no events": ({"system": Stepping(6), "hyper": None}, "Stepping has no `events`"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_refused_with_what_does(case):
    changes, complaint = MISFITS[case]
    graph, inputs = figure1()
    given = {"system": Neurashed(graph), "hyper": FITTING, "steps": 10, **changes}
    system = given.pop("system")
    problem = TrainingProblem(system, system.prepare(inputs.x, inputs.y), **given)
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        train(problem, jax.random.key(0), method=DirectSample())
    assert "DirectSample does not fit" in str(caught.value)
    assert "Sequential()" in str(caught.value)


def test_too_many_mini_batches_are_refused():
    system = Tally(20)
    examples, key = system.prepare(None, None), jax.random.key(0)
    problem = TrainingProblem(system, examples, None, steps=9, sampler=WithReplacement(7))
    with pytest.raises(ValueError, match=r"distinct mini-batches .*use ClosedForm\(\)"):
        ensemble(problem, key, seeds=2, method=DirectSample())
