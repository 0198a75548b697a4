from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from measure_tools import normal

from nsh.measure import Noise, noise_level

pytestmark = pytest.mark.core


def test_the_formula_in_the_features_units():
    features = jnp.array([[1.0, -4.0], [2.0, 0.5]])
    found = noise_level(features, Noise(0.3, 0.05), log_unit=2.0)
    np.testing.assert_allclose(found, np.hypot(0.3 * np.exp(-2.0), 0.05 * 4), rtol=1e-6)
    np.testing.assert_allclose(noise_level(features, Noise()), np.hypot(1e-4, 0.05 * 4), rtol=1e-6)


def test_silent_features_keep_the_fixed_part_only():
    np.testing.assert_allclose(noise_level(jnp.zeros((3, 2)), Noise(0.3, 0.5)), 0.3, rtol=1e-6)


value_and_slopes = jax.jit(jax.value_and_grad(noise_level, argnums=(0, 1, 2)))


@pytest.mark.parametrize("log_unit", [-1e30, -1e5, 1e5, 1e30])
@pytest.mark.parametrize("size", [0.0, 1e-20, 1.0, 1e20])
def test_finite_and_positive_at_any_unit(log_unit, size):
    features = jnp.array([[1.0], [0.5]]) * size
    value, slopes = value_and_slopes(features, Noise(), log_unit)
    assert np.isfinite(value)
    assert value > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_the_least_noise_grows_with_the_largest_feature():
    features = jnp.array([[1.0], [0.5]])
    value, (slopes, _, _) = value_and_slopes(features, Noise(0.0, 0.0), 0.0)
    np.testing.assert_allclose(slopes[:, 0], [value, 0], rtol=1e-6)
    assert value == jnp.finfo(features.dtype).eps


def test_gradients_three_ways():
    with x64(True):
        features = normal(0, 4, 3)
        noise = Noise(jnp.asarray(0.3), jnp.asarray(0.2))
        check_three_ways(noise_level, features, noise, jnp.asarray(0.7))


@pytest.mark.parametrize("field", ["fixed", "relative"])
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_negative_noise_is_refused(field, value):
    with pytest.raises(ValueError, match=rf"noise.{field} = {value}: must be a number >= 0"):
        Noise(**{field: value})
