from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import x64
from measure_tools import Growing, Linear, normal

from nsh import Geometric, Graph, Neurashed, Node, Rules
from nsh.measure import elasticity_matrix, observe, system_collapse
from nsh.neurashed import Constant

pytestmark = pytest.mark.core


def test_plain_systems_keep_their_numbers():
    system = Linear(classes=3)
    x = np.random.default_rng(0).normal(size=(5, 4))
    weights = np.random.default_rng(1).normal(size=(3, 4))
    seen = jax.jit(observe)(
        system, jnp.asarray(weights, float), system.prepare(x, np.zeros(5, int))
    )
    np.testing.assert_allclose(seen.outputs, x @ weights.T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(seen.features[0], x, rtol=1e-6)
    outer = np.stack([np.outer(row, row).ravel() for row in x])
    np.testing.assert_allclose(seen.features[1], outer, rtol=1e-5)
    np.testing.assert_array_equal(seen.log_units, [0, 0])


def test_scaled_levels_come_in_one_unit_and_finite():
    system = Growing()
    examples = system.prepare(np.ones((3, 4)), np.zeros(3, int))
    examples["unit"] = jnp.array([0.0, 1e5, 1e5 - 1])
    state = system.init(jax.random.key(0), 0.5)
    seen = jax.jit(observe)(system, state, examples)
    assert seen.log_units == (1e5,)
    expected = np.array([0, 1, np.exp(-1)])[:, None] * np.ones((1, 4))
    np.testing.assert_allclose(seen.features[0], expected, rtol=1e-5)
    assert np.isfinite(seen.outputs).all()


def test_seeds_by_vmap_and_gradients():
    system = Linear(classes=2)
    examples = system.prepare(np.eye(4), np.zeros(4, int))
    states = normal(0, 3, 2, 4)
    seen = jax.jit(jax.vmap(lambda state: observe(system, state, examples)))(states)
    np.testing.assert_allclose(seen.outputs, states.transpose(0, 2, 1), rtol=1e-6)
    slope = jax.jit(jax.grad(lambda state: observe(system, state, examples).outputs.sum()))(
        states[0]
    )
    np.testing.assert_allclose(slope, 1, rtol=1e-6)


class FromArrays(Linear):
    """Logits and features as given."""

    seen: Any = None

    def outputs(self, state, example):
        return self.seen[0](super().outputs(state, example))

    def features(self, state, example):
        return self.seen[1](super().features(state, example))


def same(given):
    return given


@pytest.mark.parametrize(
    ("logits", "features", "message"),
    [
        (same, lambda h: h[0], r"features\(...\) = an array of shape \(4,\): .*return \(h,\)"),
        (same, lambda h: tuple(h[0]), r"features\(...\)\[0\].shape = \(\): must be \(width,\)"),
        (same, lambda _: None, r"features\(...\) = NoneType: must be a tuple"),
        (lambda z: z[None], same, r"outputs\(...\).shape = \(1, 3\): must be \(classes,\)"),
        (lambda z: (z,), same, r"outputs\(...\) = 'tuple': must be an array"),
    ],
)
def test_what_an_own_system_gives_is_checked(logits, features, message):
    system = FromArrays(3, (logits, features))
    examples, state = system.prepare(np.ones((5, 4)), np.zeros(5, int)), jnp.zeros((3, 4))
    with pytest.raises(ValueError, match=message):
        observe(system, state, examples)
    if logits is not same:
        with pytest.raises(ValueError, match=message):
            elasticity_matrix(system, state, 0.1, examples, jax.random.key(0))


def test_a_system_without_levels_has_logits():
    system = FromArrays(3, (same, lambda _: ()))
    examples, state = system.prepare(np.ones((5, 4)), np.zeros(5, int)), jnp.zeros((3, 4))
    seen = observe(system, state, examples)
    assert seen.outputs.shape == (5, 3)
    assert seen.features == seen.log_units == ()
    with pytest.raises(ValueError, match=r"features\(...\) = \(\): must be at least one level"):
        system_collapse(system, state, examples, examples["y"], classes=3)


def test_the_state_of_an_ensemble_is_met_with_a_hint():
    system = Linear(classes=3)
    examples = system.prepare(np.ones((5, 4)), np.zeros(5, int))
    with pytest.raises(ValueError, match=r"outputs\(...\).shape = \(8, 3\)") as caught:
        observe(system, jnp.zeros((8, 3, 4)), examples)
    assert "state of one seed; for an ensemble's: jax.vmap" in caught.value.__notes__[-1]


@pytest.mark.long
def test_slopes_of_units_and_scales_are_those_of_their_numbers():
    """Two nodes that always fire below one: after T steps from 1 the score is 2 g^(3T)."""
    steps, g = 3, 1.25
    with x64(True):
        graph = Graph.from_nodes(2, [[Node((0, 1))]], [[0]])
        system = Neurashed(graph, Constant(1.0), Constant(1.0))
        # the last fires nothing, and has no part in a unit
        examples = system.prepare([[1, 1], [1, 1], [0, 0]], [0, 0, 0])

        def seen(growth):
            state = system.init(jax.random.key(0), Rules(Geometric(1.1), Geometric(0.9)))
            up = steps * jnp.log(growth)
            state = type(state)(
                state.log_amplification + up[:3], state.log_weight + up[3:], state.iteration
            )
            found = observe(system, state, examples)
            one, none = (jax.tree.map(lambda leaf, i=i: leaf[i], examples) for i in (0, 2))
            logits, silent = system.outputs(state, one), system.outputs(state, none)
            low = system.features(state, one)[0]
            return {
                "units": jnp.stack(found.log_units),
                "scale": logits.log_scale,
                "value": logits.value,
                "true": jnp.log(logits.value[0]) + logits.log_scale,
                "low": low.value * jnp.exp(low.log_scale),
                "silent": jnp.append(silent.value, silent.log_scale),
                "features": found.features[1],
            }

        at = jnp.full(4, g)
        both = jax.jit(lambda x: (jax.jacrev(seen)(x), jax.hessian(seen)(x)))(at)
        first, second = jax.tree.map(np.asarray, both)
    for leaf in jax.tree.leaves((first, second)):
        assert np.all(np.isfinite(leaf))
    # log of 2 g^(3T): the amplification factors below tie, and each has half of it
    share = np.array([0.5, 0.5, 1, 1])
    slope, bend = steps / g * share, -steps / g**2 * share
    np.testing.assert_allclose(first["scale"], slope, rtol=1e-12)
    np.testing.assert_allclose(first["true"], slope, rtol=1e-12)
    np.testing.assert_allclose(first["units"][1], slope * [1, 1, 1, 0], rtol=1e-12)
    np.testing.assert_allclose(first["units"][0], slope * [1, 1, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(np.sum(second["units"][0], 1), bend * [1, 1, 0, 0], rtol=1e-12)
    # log (a + b) has slopes across the two as well
    across = (steps / g) ** 2 / 4
    curved = np.diag(bend)
    curved[:2, :2] += across * np.array([[1, -1], [-1, 1]])
    for name in ("scale", "true"):
        np.testing.assert_allclose(second[name], curved, rtol=1e-9, atol=1e-12)
    for name in ("value", "silent", "features"):
        np.testing.assert_allclose(first[name], 0, atol=1e-12)
        np.testing.assert_allclose(second[name], 0, atol=1e-10)
    # each in its unit: the product is g^T of its own node, whatever the unit's slope at a tie
    size = steps * g ** (steps - 1)
    np.testing.assert_allclose(first["low"], np.eye(2, 4) * size, rtol=1e-12, atol=1e-12)
    twice = np.zeros((2, 4, 4))
    twice[[0, 1], [0, 1], [0, 1]] = steps * (steps - 1) * g ** (steps - 2)
    np.testing.assert_allclose(second["low"], twice, rtol=1e-9, atol=1e-9)
