"""Exact laws against scipy and against thousands of simulated seeds."""

from decimal import Decimal
from fractions import Fraction
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from untyped import stats

from nsh import Geometric, Graph, Neurashed, Rules, TrainingProblem, WithReplacement, ensemble
from nsh.neurashed import Constant, exact, figure3

pytestmark = pytest.mark.core

GROWTH, DECAY, STEPS, SEEDS = 1.3, 0.8, 60, 2048


def floats(*values):
    return tuple(jnp.asarray(value, float) for value in values)


@pytest.fixture(scope="module", params=[1, 3])
def simulated(request):
    """The batch size, gains in log of Figure 3's nodes over many seeds, and the nodes' p."""
    graph, inputs = figure3()
    model = Neurashed(graph, Constant(1.0), Constant(1.0))
    examples = model.prepare(inputs.x, inputs.y)
    problem = TrainingProblem(
        model,
        examples,
        Rules(Geometric(GROWTH), Geometric(DECAY)),
        steps=STEPS,
        sampler=WithReplacement(request.param),
    )
    run = ensemble(problem, jax.random.key(request.param), seeds=SEEDS)
    gains = np.asarray(run.state.log_amplification, np.float64)
    return request.param, gains, exact.firing_fractions(examples, graph.nodes)


def test_firing_shares_of_figure_3(simulated):
    # nodes that fire for 4, 3, 2 or 1 of the four samples, and one on top of each of them
    wanted = np.array([4, 3, 2, 2, 2, 2, 1, 1, 1, 1]) / 4
    np.testing.assert_array_equal(simulated[2], np.tile(wanted, 2))


def test_moments_agree_with_simulation(simulated):
    size, gains, p = simulated
    q = exact.batch_firing_probability(p, *floats(size))
    moments = exact.log_moments(q, *floats(GROWTH, DECAY, STEPS))
    mean, variance = (np.asarray(moment, np.float64) for moment in moments)
    np.testing.assert_allclose(gains.mean(axis=0)[0], STEPS * np.log(GROWTH), rtol=1e-5)
    assert variance[0] == 0
    assert np.all(np.abs(gains.mean(axis=0) - mean) <= 4 * np.sqrt(variance / SEEDS) + 1e-4)
    # standard error of a variance, from the binomial's own fourth moment
    jump = np.log(GROWTH / DECAY)
    rare = np.asarray(q) < 1
    kurtosis = np.asarray(stats.binom.stats(STEPS, np.asarray(q, float)[rare], moments="k"))
    error = variance[rare] * np.sqrt((kurtosis + 2) / SEEDS)
    np.testing.assert_allclose(variance, jump**2 * STEPS * (q * (1 - q)), rtol=1e-4)
    assert np.all(np.abs(gains.var(axis=0) - variance)[rare] <= 4 * error)


def test_survival_agrees_with_simulation(simulated):
    size, gains, p = simulated
    q = exact.batch_firing_probability(p, *floats(size))
    survival = np.asarray(exact.survival_probability(q, *floats(GROWTH, DECAY, STEPS)))
    share = (gains > 0).mean(axis=0)
    error = np.sqrt(survival * (1 - survival) / SEEDS)
    assert survival.min() < 0.2 or size > 1
    assert np.all(np.abs(share - survival) <= 4 * error + 1e-6)


@pytest.mark.long
def test_survival_is_the_binomial_tail(relative_tolerance):
    q, steps = np.linspace(0, 1, 21), np.array([1, 7, 60, 1000])
    for growth, decay in [(1.3, 0.8), (1.01, 0.5), (3.0, 0.99), (1.5, 1.0)]:
        least = -np.log(decay) / np.log(growth / decay) * steps[:, None]
        survival = exact.survival_probability(
            *floats(q[None], np.full((1, 1), growth), np.full((1, 1), decay), steps[:, None])
        )
        wanted = stats.binom.sf(np.floor(least), steps[:, None], q[None])
        np.testing.assert_allclose(survival, wanted, atol=20 * relative_tolerance)


def as_decimal(array):
    return [Decimal(float(value)) for value in np.ravel(array)]


@pytest.mark.long
def test_survival_of_long_runs_near_the_critical_line(relative_tolerance):
    # q* near 0, 1/12 and 1; for each T five q within 3 standard deviations of the line
    growth, decay = floats([1.4, 1.022**2.75, 1.00002], [0.9999996, 1.022**-0.25, 0.8])
    steps = jnp.asarray([1e2, 1e4, 1e5, 123_457, 1e6, 1e8, 1e10, 1e12], float)
    logs = [(a.ln(), b.ln()) for a, b in zip(as_decimal(growth), as_decimal(decay), strict=True)]
    critical = np.array([[float(-b / (a - b))] for a, b in logs])
    even = [[t * -b / (a - b) for t in as_decimal(steps)] for a, b in logs]
    spread = np.sqrt(critical * (1 - critical) / np.asarray(steps, np.float64))
    places = critical[None] + np.array([-3, -1, 0, 1, 3])[:, None, None] * spread
    q = jnp.asarray(np.clip(places, 0, 1), float)
    found = exact.survival_probability(
        q, growth[None, :, None], decay[None, :, None], steps[None, None]
    )
    most = np.array([[int(x) for x in row] for row in even], np.float64)
    wanted = stats.binom.sf(most, np.asarray(steps, np.float64), np.asarray(q, np.float64))
    # SciPy's own error, from 1 - q in its incomplete beta function, is 2e-8 here
    np.testing.assert_allclose(found, wanted, rtol=0, atol=max(relative_tolerance / 10, 5e-8))


def tail(q, trials, least, order):
    """P(n >= least) or one of its derivatives, by the polynomial in exact fractions."""
    x = np.polynomial.Polynomial([Fraction(0), Fraction(1)])
    terms = [comb(trials, n) * x**n * (1 - x) ** (trials - n) for n in range(least, trials + 1)]
    return float(sum(terms[1:], terms[0]).deriv(order)(Fraction(float(q))))


@pytest.mark.long
def test_slopes_of_survival_at_certainty_too(relative_tolerance):
    q = jnp.asarray([0.0, 0.0, 0.0, 0.3, 0.3, 0.9, 1.0, 1.0, 1.0, 1.0])
    trials = [1, 10, 5, 1, 10, 10, 1, 10, 9, 10]
    least = [1, 1, 2, 1, 2, 9, 1, 9, 9, 10]
    # decay such that T q* is just below `least`
    decay = np.exp(-np.log(1.05) / (np.array(trials) / (np.array(least) - 0.5) - 1))
    decay[np.array(least) == 1] = 1.0
    others = jnp.full(10, 1.05), jnp.asarray(decay, float), jnp.asarray(trials, float)

    def law(q):
        return exact.survival_probability(q, *others)

    def by_q(function):
        return lambda q: jax.jvp(function, (q,), (jnp.ones_like(q),))[1]

    for order, function in enumerate([law, by_q(law), by_q(by_q(law))]):
        wanted = [tail(*case, order) for case in zip(q, trials, least, strict=True)]
        np.testing.assert_allclose(function(q), wanted, rtol=relative_tolerance, atol=1e-6)


@pytest.mark.parametrize("periods", [1, 5, 100])
def test_survival_where_growth_and_decay_cancel_exactly(periods):
    # one growth undoes eleven decays: after 12 k steps with k firings lambda is where it began
    base = 1.022
    survival = exact.survival_probability(
        *floats(1 / 12, base ** (11 / 4), base ** (-1 / 4), 12 * periods)
    )
    wanted = stats.binom.sf(periods, 12 * periods, 1 / 12)
    np.testing.assert_allclose(survival, wanted, rtol=1e-5)


def test_critical_probability_divides_growing_from_fading():
    growth, decay = floats([1.1, 1.5, 4.0], [0.9, 0.99, 0.5])
    critical = exact.critical_firing_probability(growth, decay)
    np.testing.assert_allclose(
        exact.log_moments(critical, growth, decay, jnp.full(3, 9.0)).mean, 0, atol=1e-5
    )
    above = exact.log_moments(critical + 0.01, growth, decay, jnp.full(3, 9.0))
    assert np.all(above.mean > 0)
    assert exact.critical_firing_probability(*floats(1.5, 1.0)) == 0


def test_what_nearly_cancels_keeps_its_digits(relative_tolerance):
    # near the critical line the mean is a small difference of large terms
    growth, decay = floats([1.022**2.75, 1.3], [1.022**-0.25, 0.8])
    logs = [(a.ln(), b.ln()) for a, b in zip(as_decimal(growth), as_decimal(decay), strict=True)]
    q = jnp.asarray([float(-b / (a - b)) + 1e-6 for a, b in logs], float)
    wanted = [10**12 * (p * a + (1 - p) * b) for p, (a, b) in zip(as_decimal(q), logs, strict=True)]
    mean = exact.log_moments(q, growth, decay, jnp.full(2, 1e12)).mean
    np.testing.assert_allclose(mean, np.array(wanted, float), rtol=10 * relative_tolerance)
    # q* near 1: of its distance from 1 nothing may be lost
    growth, decay, size = floats(1 + 2.0**-20, 0.5, 3)
    (a,), (b,) = as_decimal(growth), as_decimal(decay)
    rare = a.ln() / (a.ln() - b.ln())
    wanted = 1 - float(rare) ** (1 / 3)
    found = exact.critical_firing_fraction(size, growth, decay)
    np.testing.assert_allclose(1 - found, 1 - wanted, rtol=10 * relative_tolerance)


@pytest.mark.long
@pytest.mark.thorough
def test_survival_phases_meet_at_the_critical_line():
    growth, decay, steps = floats(1.1, 0.95, 4000)
    sizes = jnp.asarray([1.0, 2.0, 8.0, 64.0])
    line = exact.critical_firing_fraction(sizes, growth, decay)
    shares = jnp.append(jnp.linspace(0.005, 0.995, 67), line[1])
    phases = jax.jit(exact.survival_phases)(shares, sizes, growth, decay, steps)
    assert phases.exponent.shape == phases.survival.shape == (68, 4)
    np.testing.assert_allclose(phases.critical_fraction, line, rtol=1e-5)
    q = exact.batch_firing_probability(line, sizes)
    np.testing.assert_allclose(q, exact.critical_firing_probability(growth, decay), rtol=1e-5)
    grows = np.asarray(shares)[:67, None] > np.asarray(line)[None]
    np.testing.assert_array_equal(phases.exponent[:67] > 0, grows)
    # after so many steps only what is near the line is undecided, and the line is at one half
    q = exact.batch_firing_probability(shares[:67, None], sizes[None])
    far = abs(q - exact.critical_firing_probability(growth, decay)) > 4 / np.sqrt(4000)
    np.testing.assert_allclose(phases.survival[:67][far], grows[far], atol=1e-4)
    np.testing.assert_allclose(phases.survival[67, 1], 0.5, atol=0.02)


def test_batch_firing_probability_at_its_limits():
    full = exact.batch_firing_probability(jnp.array([0.0, 1e-3, 1.0]), jnp.asarray(jnp.inf))
    np.testing.assert_array_equal(full, [0, 1, 1])
    p = jnp.array([0.0, 1e-6, 0.5, 1.0])
    for size in (1.0, 3.0, 1e4):
        found = exact.batch_firing_probability(p, jnp.asarray(size))
        wanted = -np.expm1(size * np.log1p(-np.asarray(p[:3], np.float64)))
        np.testing.assert_allclose(found, [*wanted, 1.0], rtol=1e-5)


@pytest.mark.long
def test_derivatives_three_ways():
    p, size, growth, decay, steps = map(np.float64, (0.2, 3.0, 1.4, 0.8, 50.0))
    check_three_ways(exact.batch_firing_probability, p, size)
    check_three_ways(
        lambda q, a, b: tuple(exact.log_moments(q, a, b, jnp.asarray(50.0))), p, growth, decay
    )
    check_three_ways(exact.critical_firing_probability, growth, decay)
    check_three_ways(exact.critical_firing_fraction, size, growth, decay)
    check_three_ways(
        lambda q: exact.survival_probability(q, *map(jnp.asarray, (growth, decay, steps))), 2 * p
    )
    with x64(True):
        p, size = floats([0.0, 0.0, 0.3, 1.0, 1.0, 1.0, 0.5], [1, 3, 4, 1, 2, 3, np.inf])
        slope = jax.vmap(jax.grad(exact.batch_firing_probability))
        np.testing.assert_allclose(slope(p, size), [1, 3, 4 * 0.7**3, 1, 0, 0, 0])
        bend = jax.vmap(jax.grad(jax.grad(exact.batch_firing_probability)))
        np.testing.assert_allclose(bend(p, size), [0, -6, -12 * 0.7**2, 0, -2, 0, 0], atol=1e-12)


def test_jit_and_vmap():
    graph, inputs = figure3()
    assert isinstance(graph, Graph)
    examples = Neurashed(graph).prepare(inputs.x, inputs.y)
    law = jax.jit(jax.vmap(exact.survival_probability, (0, None, None, None)))
    q = exact.firing_fractions(examples, graph.nodes)
    together = law(q, *floats(GROWTH, DECAY, STEPS))
    alone = exact.survival_probability(q[3], *floats(GROWTH, DECAY, STEPS))
    np.testing.assert_allclose(together[3], alone, rtol=1e-5)
