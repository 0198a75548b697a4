"""Rules as unconstrained numbers: there and back, always valid, differentiable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rules import Slowing

from nsh import Additive, Affine, Geometric, Neurashed, PerLevel, Rules, Saturating
from nsh.neurashed import Constant, Unconstrained, figure4

pytestmark = pytest.mark.core
FEW = settings(max_examples=25, deadline=None, derandomize=True)


def every_kind():
    levels = np.array([1.5, 1.25, 1.125])
    return {
        "geometric": Rules(Geometric(1.3), Geometric(0.7)),
        "additive, per node": Rules(Additive(np.full(19, 0.4)), Additive(-0.2), Geometric(1.1)),
        "affine": Rules(Affine(1.2, 0.3), Affine(0.8, -0.1)),
        "saturating": Rules(Saturating(1.3, 5.0), Saturating(0.7, 4.0)),
        "per level": Rules(PerLevel(Affine(levels, levels)), PerLevel(Geometric(1 / levels))),
        "own weights": Rules(Additive(1.0), Geometric(0.5), Affine(1.5, 0.5), Saturating(0.5, 2.0)),
        "schedule": Rules(Geometric(Slowing(jnp.array(0.5))), Geometric(0.5)),
    }


@pytest.mark.parametrize("kind", every_kind())
def test_unconstrained_round_trip(kind):
    rules = every_kind()[kind]
    free = Unconstrained.of(rules)
    back = free.rules()
    assert jax.tree.structure(back) == jax.tree.structure(rules)
    for found, wanted in zip(jax.tree.leaves(back), jax.tree.leaves(rules), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    # chain rule, leaf by leaf: of(p) and rules() are each other's inverse
    _, slopes = jax.jvp(lambda r: Unconstrained.of(r).rules(), (rules,), (rules,))
    for found, wanted in zip(jax.tree.leaves(slopes), jax.tree.leaves(rules), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


@FEW
@given(shift=st.floats(-5, 5), kind=st.sampled_from(sorted(every_kind())))
def test_any_unconstrained_number_is_a_valid_rule(shift, kind):
    free = Unconstrained.of(every_kind()[kind])
    moved = jax.tree.map(lambda leaf: leaf + jnp.asarray(shift, leaf.dtype), free)
    rules = moved.rules()
    if kind != "schedule":  # whose own numbers `Unconstrained` leaves as they are
        Rules(*vars(rules).values())


def test_derivatives_of_unconstrained_training_three_ways():
    with x64(True):
        rules = every_kind()["own weights"]
        free = jax.tree.map(np.asarray, Unconstrained.of(rules))

    def final(free):
        graph, inputs = figure4()
        model, key, rules = Neurashed(graph, Constant(1.0)), jax.random.key(0), free.rules()
        batch = model.prepare(inputs.x[:2], inputs.y[:2])
        state = model.step(model.init(key, rules), batch, rules, key)
        return jnp.sum(jnp.exp(state.log_amplification)) + jnp.sum(jnp.exp(state.log_weight))

    check_three_ways(final, free)
