"""Hyperparameters as unconstrained numbers: there and back, always valid, differentiable."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from hypothesis import given, settings
from hypothesis import strategies as st

from nsh import Additive, Affine, Geometric, Neurashed, PerLevel, Rules, Saturating
from nsh.bounds import REALS, constrain, unconstrain
from nsh.neurashed import Constant, figure4

pytestmark = pytest.mark.core
FEW = settings(max_examples=25, deadline=None, derandomize=True)
BOUNDS = Neurashed(figure4()[0]).bounds


def falling(start, iteration):
    return 1 + start / (1 + iteration)


def every_kind():
    levels = np.array([1.5, 1.25, 1.125])
    schedule = jax.tree_util.Partial(falling, jnp.array(0.5))
    return {
        "geometric": Rules(Geometric(1.3), Geometric(0.7)),
        "additive, per node": Rules(Additive(np.full(19, 0.4)), Additive(-0.2), Geometric(1.1)),
        "affine": Rules(Affine(1.2, 0.3), Affine(0.8, -0.1)),
        "saturating": Rules(Saturating(1.3, 5.0), Saturating(0.7, 4.0)),
        "per level": Rules(PerLevel(Affine(levels, levels)), PerLevel(Geometric(1 / levels))),
        "own weights": Rules(Additive(1.0), Geometric(0.5), Affine(1.5, 0.5), Saturating(0.5, 2.0)),
        "schedule": Rules(Geometric(schedule), Geometric(0.5)),
    }


@pytest.mark.parametrize("kind", every_kind())
def test_rules_there_and_back(kind):
    rules = every_kind()[kind]
    bounds = BOUNDS(rules)
    back = constrain(unconstrain(rules, bounds), bounds)
    assert jax.tree.structure(back) == jax.tree.structure(rules)
    for found, wanted in zip(jax.tree.leaves(back), jax.tree.leaves(rules), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    # chain rule, leaf by leaf: each is the other's inverse
    _, slopes = jax.jvp(lambda r: constrain(unconstrain(r, bounds), bounds), (rules,), (rules,))
    for found, wanted in zip(jax.tree.leaves(slopes), jax.tree.leaves(rules), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.long
@FEW
@given(shift=st.floats(-5, 5), kind=st.sampled_from(sorted(every_kind())))
def test_any_real_number_is_a_valid_rule(shift, kind):
    rules = every_kind()[kind]
    bounds = BOUNDS(rules)
    moved = jax.tree.map(lambda x: x + jnp.asarray(shift, x.dtype), unconstrain(rules, bounds))
    if kind != "schedule":  # whose own numbers have no bounds
        Rules(*vars(constrain(moved, bounds)).values())


def test_bounds_may_be_a_prefix_and_leave_alone_what_is_no_float():
    hyper = {"rates": (jnp.array(0.5), jnp.array([2.0, 3.0])), "count": 3, "free": jnp.array(-1.0)}
    bounds = {"rates": (0.0, math.inf), "count": (0, 1), "free": REALS}
    free = unconstrain(hyper, bounds)
    np.testing.assert_allclose(free["rates"][1], np.log([2, 3]), rtol=1e-6)
    assert free["count"] == 3
    assert free["free"] == -1
    assert jax.tree.structure(free) == jax.tree.structure(hyper)
    assert unconstrain(hyper, REALS) == hyper


@pytest.mark.parametrize(
    ("bounds", "named"),
    [
        ({"a": (1.0, 0.0)}, r"bounds\['a'\] = \(1.0, 0.0\): must be \(low, high\)"),
        ({"a": 1.0}, r"bounds\['a'\] = 1.0: must be \(low, high\)"),
        ({"b": REALS}, r"bounds = 'b': must be among a"),
        ({}, r"bounds = {}: must be given for \['a'\] too"),
        ({"a": (0.5, 1.0)}, r"hyper\['a'\] = 0.5: must be strictly inside \(0.5, 1.0\)"),
        ({"a": (-math.inf, 0.25)}, r"hyper\['a'\] = 0.5: must be strictly inside \(-inf, 0.25\)"),
    ],
)
def test_bad_bounds(bounds, named):
    with pytest.raises(ValueError, match=named):
        unconstrain({"a": jnp.array(0.5)}, bounds)


@pytest.mark.long
def test_derivatives_of_unconstrained_training_three_ways():
    with x64(True):
        rules = every_kind()["own weights"]
        free = jax.tree.map(np.asarray, unconstrain(rules, BOUNDS(rules)))

    def final(free):
        graph, inputs = figure4()
        model, key = Neurashed(graph, Constant(1.0)), jax.random.key(0)
        rules = constrain(free, model.bounds(free))
        batch = model.prepare(inputs.x[:2], inputs.y[:2])
        state = model.step(model.init(key, rules), batch, rules, key)
        return jnp.sum(jnp.exp(state.log_amplification)) + jnp.sum(jnp.exp(state.log_weight))

    check_three_ways(final, free)
