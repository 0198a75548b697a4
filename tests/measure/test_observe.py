from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from measure_tools import Growing, Linear, normal

from nsh.measure import observe

pytestmark = pytest.mark.core


def test_plain_systems_keep_their_numbers():
    system = Linear(classes=3)
    x = np.random.default_rng(0).normal(size=(5, 4))
    weights = np.random.default_rng(1).normal(size=(3, 4))
    seen = jax.jit(observe)(
        system, jnp.asarray(weights, float), system.prepare(x, np.zeros(5, int))
    )
    np.testing.assert_allclose(seen.logits, x @ weights.T, rtol=1e-4, atol=1e-6)
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
    assert np.isfinite(seen.logits).all()


def test_seeds_by_vmap_and_gradients():
    system = Linear(classes=2)
    examples = system.prepare(np.eye(4), np.zeros(4, int))
    states = normal(0, 3, 2, 4)
    seen = jax.jit(jax.vmap(lambda state: observe(system, state, examples)))(states)
    np.testing.assert_allclose(seen.logits, states.transpose(0, 2, 1), rtol=1e-6)
    slope = jax.jit(jax.grad(lambda state: observe(system, state, examples).logits.sum()))(
        states[0]
    )
    np.testing.assert_allclose(slope, 1, rtol=1e-6)
