"""Rules: against their formulas, the paper's conditions, schedules and derivatives."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import check_three_ways, x64
from hypothesis import given, settings
from hypothesis import strategies as st

from nsh import (
    Additive,
    Affine,
    FullBatch,
    Geometric,
    Neurashed,
    PerLevel,
    Rules,
    Saturating,
    TrainingProblem,
    train,
)
from nsh.neurashed import Constant, figure4

pytestmark = pytest.mark.core

GRAPH, INPUTS = figure4()


def model():
    """Made anew wherever 64-bit floats are on, since it holds floats of its own."""
    return Neurashed(GRAPH, Constant(1.0), Constant(2.0))


MODEL = model()
ONE_SAMPLE = MODEL.prepare(INPUTS.x[:1], INPUTS.y[:1])
FEW = settings(max_examples=25, deadline=None, derandomize=True)

# kind: (the class, its formula, parameters for g+, parameters for g-)
KINDS = {
    "geometric": (Geometric, lambda x, a: a * x, (1.3,), (0.7,)),
    "additive": (Additive, lambda x, c: np.maximum(x + c, 0), (0.4,), (-0.2,)),
    "affine": (Affine, lambda x, a, c: np.maximum(a * x + c, 0), (1.2, 0.3), (0.8, -0.1)),
    "saturating": (
        Saturating,
        lambda x, a, top: a * x / (1 + abs(a - 1) * x / top),
        (1.3, 50.0),
        (0.7, 50.0),
    ),
}
# the edges of the domains, where a plain log or a plain quotient would give NaN
EDGES = {
    "affine, step 0": ("affine", (1.2, 0.0), (0.8, 0.0)),
    "affine, factor 1": ("affine", (1.0, 0.3), (1.0, -0.1)),
    "identity": ("affine", (1.0, 0.3), (1.0, 0.0)),
    "additive, step 0": ("additive", (0.4,), (0.0,)),
    "saturating, factor 1": ("saturating", (1.3, 50.0), (1.0, 50.0)),
}
WHERE = {name: (name, *KINDS[name][2:]) for name in KINDS} | EDGES


def as_log(x):
    with np.errstate(divide="ignore"):
        return np.log(x)


@pytest.mark.long
@pytest.mark.parametrize("sign", ["growth", "decay"])
@pytest.mark.parametrize("where", WHERE)
def test_agrees_with_formula(where, sign, relative_tolerance):
    kind, growth, decay = WHERE[where]
    make, formula, *_ = KINDS[kind]
    parameters = growth if sign == "growth" else decay
    # 0; clipped to 0 by negative steps; below, at and above the ceiling; enormous
    x = np.array([0.0, 1e-30, 0.05, 0.25, 1.0, 7.0, 50.0, 400.0, 1e30])
    found = make(*parameters)(jnp.asarray(as_log(x), float))
    wanted = as_log(formula(x, *parameters))
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(wanted))
    np.testing.assert_allclose(found, wanted, rtol=relative_tolerance, atol=relative_tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_overflows(kind):
    make, _, growth, decay = KINDS[kind]
    far = jnp.array([-1e6, -5000.0, 5000.0, 1e6])
    for parameters in (growth, decay):
        moved = make(*parameters)(far)
        assert np.all(np.isfinite(moved) | (np.isneginf(moved) & (far < 0)))


@pytest.mark.long
@FEW
@given(
    kind=st.sampled_from(sorted(KINDS)),
    factor=st.floats(1.01, 3),
    step=st.floats(0.01, 2),
    x=st.floats(1e-3, 1e3),
    ratio=st.floats(1.01, 100),
)
def test_conditions_of_the_paper(kind, factor, step, x, ratio):
    ceiling = 1e5
    parameters = {
        "geometric": ((factor,), (1 / factor,)),
        "additive": ((step,), (-step,)),
        "affine": ((factor, step), (1 / factor, -step)),
        "saturating": ((factor, ceiling), (1 / factor, ceiling)),
    }
    growth, decay = (KINDS[kind][0](*given) for given in parameters[kind])
    Rules(growth, decay)
    log_x = jnp.log(jnp.array([x, x * ratio]))
    grown, decayed = growth(log_x), decay(log_x)
    assert grown[0] < grown[1]
    assert decayed[0] < decayed[1] or np.isneginf(decayed[0])
    assert np.all(grown > log_x)
    assert np.all(decayed <= log_x)


@FEW
@given(factor=st.floats(1.01, 3), share=st.floats(1e-4, 0.99))
def test_saturating_rises_to_its_ceiling_and_stays_there(factor, share):
    growth, top = Saturating(factor, 8.0), jnp.log(jnp.array([8.0]))
    log_x = jnp.log(jnp.array([8.0 * share]))
    for _ in range(3):
        higher = growth(log_x)
        assert log_x[0] < higher[0] < top[0] or np.isclose(higher[0], top[0], atol=1e-5)
        log_x = higher
    np.testing.assert_allclose(growth(top), top, atol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_three_ways(kind):
    given = [sign for name, *signs in WHERE.values() if name == kind for sign in signs]
    # each set of parameters at each x; above all at 0, since 0 times infinity is NaN
    x = np.array([0.0, 1e-2, 0.3, 2.0, 49.0])
    parameters = tuple(np.repeat(values, len(x)) for values in np.array(given).T)
    log_x = np.tile(as_log(x), len(given))
    positive = log_x > -np.inf
    alive = KINDS[kind][1](np.exp(log_x), *parameters) > 0
    weights = np.linspace(0.5, 1.5, log_x.size)

    def seen(parameters, log_positive):
        everything = jnp.full(log_x.shape, -jnp.inf).at[positive].set(log_positive)
        moved = KINDS[kind][0](*parameters)(everything)
        return jnp.sum(jnp.where(alive, moved, 0) * weights)

    check_three_ways(seen, parameters, log_x[positive], tolerance=1e-5)
    with x64(True):
        slopes = [np.asarray(s) for s in jax.jit(jax.grad(seen))(parameters, log_x[positive])]
    for slope in slopes:
        assert np.all(np.isfinite(slope))
        assert np.any(slope[alive])


@pytest.mark.parametrize("rule", [Additive(-0.5), Affine(0.5, -0.25)], ids=["additive", "affine"])
def test_clipped_to_zero_has_slope_zero(rule):
    log_x = jnp.log(jnp.array([0.5, 0.1, 2.0]))  # at the clip, below, above

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def seen(rule, log_x):
        moved = rule(log_x)
        return jnp.sum(jnp.exp(moved)[:2]), moved

    (total, moved), slopes = seen(rule, log_x)
    assert total == 0
    assert np.all(np.isneginf(moved[:2]))
    assert np.isfinite(moved[2])
    assert all(np.all(slope == 0) for slope in jax.tree.leaves(slopes))


def slowing(rate, iteration):
    return 1 + rate / (1 + iteration.astype(rate.dtype))


class Slowing(eqx.Module):
    rate: jax.Array

    def __call__(self, iteration):
        return slowing(self.rate, iteration)


@functools.cache
def trained(steps=7):
    """Gains in log of a node that always fires, of one that never does, and of their weights."""

    @eqx.filter_jit
    def run(rules):
        problem = TrainingProblem(MODEL, ONE_SAMPLE, rules, steps=steps, sampler=FullBatch())
        state = train(problem, jax.random.key(0)).state
        weights = state.log_weight - math.log(2)
        return jnp.stack([state.log_amplification[0], state.log_amplification[12]]), weights[:1]

    return run


SCHEDULES = {
    "exponential": optax.exponential_decay(1.9, 3, 0.8),
    "cosine": optax.cosine_decay_schedule(1.5, 20, alpha=0.5),
    "joined": optax.join_schedules(
        [optax.constant_schedule(1.5), optax.linear_schedule(1.5, 1.1, 3)], [2]
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_training_follows_an_optax_schedule(name):
    up = SCHEDULES[name]

    def down(iteration):
        return 0.5 * up(iteration)

    nodes, weights = trained()(Rules(Geometric(up), Geometric(down)))
    factors = np.array([up(t) for t in range(7)], np.float64)
    wanted = [np.log(factors).sum(), np.log(factors / 2).sum()]
    np.testing.assert_allclose(nodes, wanted, atol=1e-5)
    np.testing.assert_allclose(weights, wanted[:1], atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    "make",
    [lambda rate: jax.tree_util.Partial(slowing, rate), Slowing],
    ids=["Partial", "Module"],
)
def test_differentiable_through_a_schedule(make):
    def final(rate):
        rules = Rules(Geometric(make(rate)), Geometric(0.5), Geometric(1.5), Geometric(0.5))
        start = model().init(jax.random.key(0), rules)

        def step(state, _):
            return model().step(state, ONE_SAMPLE, rules, jax.random.key(0)), None

        return jax.lax.scan(step, start, length=7)[0].log_amplification[0]

    check_three_ways(final, np.float64(0.3))
    with x64(True):
        slope = np.asarray(jax.grad(final)(jnp.asarray(0.3)))
    wanted = sum(1 / (1 + t) / (1 + 0.3 / (1 + t)) for t in range(7))
    np.testing.assert_allclose(slope, wanted, rtol=1e-12)


def stepped(rules):
    state = MODEL.init(jax.random.key(0), rules)
    return eqx.filter_jit(MODEL.step)(state, ONE_SAMPLE, rules, jax.random.key(0))


@pytest.mark.parametrize("schedule", [False, True], ids=["values", "schedule"])
def test_per_level_is_per_node_with_repeated_values(schedule):
    factors, steps = np.array([1.5, 1.25, 1.125]), np.array([0.0, 0.5, 0.25])
    levels = GRAPH.node_levels()
    given_factors = (lambda t: jnp.asarray(factors, float)) if schedule else factors
    decay = Geometric(0.5)
    per_level = stepped(Rules(PerLevel(Affine(given_factors, steps)), decay))
    per_node = stepped(
        Rules(Affine(factors[levels], steps[levels]), decay, Affine(factors[2], steps[2]))
    )
    assert eqx.tree_equal(per_level, per_node)


def test_values_of_nodes_beside_schedules():
    """Checked over time and nodes together, whatever the number of steps."""
    factors, moves = np.linspace(1.1, 1.2, GRAPH.nodes), np.linspace(0.01, 0.02, GRAPH.nodes)

    def problem(factor, step, steps):
        rules = Rules(Affine(factor, step), Geometric(0.9), Geometric(1.1))
        return TrainingProblem(MODEL, ONE_SAMPLE, rules, steps=steps, sampler=FullBatch())

    def falling(t):
        return jnp.where(t < 4, 0.01, -0.01)

    for steps in (1, 5, GRAPH.nodes):
        problem(lambda t: factors, moves, steps)
        mixed = problem(factors, lambda t: jnp.asarray(moves, float), steps)
    with pytest.raises(ValueError, match=r"growth\.step.* = -0\.0"):
        problem(factors, falling, 5)
    found, wanted = (
        train(one, jax.random.key(0)).state.log_amplification
        for one in (mixed, problem(factors, moves, GRAPH.nodes))
    )
    np.testing.assert_array_equal(found, wanted)


def test_per_level_is_no_rule_by_itself():
    with pytest.raises(TypeError, match="resolved by at"):
        PerLevel(Geometric(np.array([1.5, 1.25])))(jnp.zeros(2))


def test_weights_have_the_nodes_rules_unless_given_their_own():
    growth, decay = Geometric(1.5), Geometric(0.5)
    default = stepped(Rules(growth, decay))
    same = stepped(Rules(growth, decay, growth, decay))
    own = stepped(Rules(growth, decay, Additive(3.0), Additive(-3.0)))
    assert eqx.tree_equal(default, same)
    np.testing.assert_array_equal(own.log_amplification, default.log_amplification)
    np.testing.assert_allclose(jnp.exp(default.log_weight), [3, 3, 1, 1, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(own.log_weight), [5, 5, 0, 0, 0, 0], rtol=1e-6)
