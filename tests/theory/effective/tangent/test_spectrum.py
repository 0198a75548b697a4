"""Spectra from products with vectors, against the matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.networks import MLP
from nsh.theory.effective import empirical_ntk, ntk_eigenvalues, ntk_spectral_density

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(20, 3))


def matrix(module, x):
    kernel = np.asarray(empirical_ntk(module, x), np.float64)
    size = kernel.shape[0] * kernel.shape[2]
    return kernel.transpose(0, 2, 1, 3).reshape(size, size)


@pytest.mark.parametrize("count", [3, 10])  # without the matrix, and by it
def test_largest_eigenvalues_and_vectors(count):
    module, x = MLP((3, 8, 2), jnp.tanh, key=KEY), jnp.asarray(X, float)
    whole = matrix(module, x)
    exact = np.linalg.eigvalsh((whole + whole.T) / 2)[::-1]
    found = ntk_eigenvalues(module, x, count)
    np.testing.assert_allclose(found.values, exact[:count], rtol=1e-4)
    assert np.max(found.error) < 1e-3 * exact[0]
    vectors = np.asarray(found.vectors, np.float64).reshape(count, -1)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(count), atol=1e-4)
    left = np.linalg.norm(vectors @ whole - exact[:count, None] * vectors, axis=1)
    np.testing.assert_allclose(left, 0, atol=1e-3 * exact[0])


def test_eigenvalues_that_occur_twice_are_found_twice():
    layer, x = eqx.nn.Linear(3, 2, use_bias=False, key=KEY), jnp.asarray(X, float)
    exact = np.linalg.eigvalsh(X.T @ X)[::-1]  # of X X^T, once for each output
    found = ntk_eigenvalues(layer, x, 4)
    np.testing.assert_allclose(found.values, np.repeat(exact, 2)[:4], rtol=1e-4)
    assert np.all(np.abs(found.values - np.repeat(exact, 2)[:4]) <= found.error + 1e-4 * exact[0])


def test_density_has_the_means_over_all_eigenvalues():
    module, x = MLP((3, 8, 2), jnp.tanh, key=KEY), jnp.asarray(X, float)
    whole = matrix(module, x)
    exact = np.clip(np.linalg.eigvalsh((whole + whole.T) / 2), 0, None)
    found = ntk_spectral_density(module, x, key=KEY, probes=40, steps=20)
    np.testing.assert_allclose(np.sum(found.weights, 1), 1, rtol=1e-4)
    for function in (lambda value: value, lambda value: jnp.log1p(jnp.clip(value, 0))):
        mean = found.mean(function)
        assert mean.count == 40
        assert abs(mean.mean - np.mean(function(exact))) < 3.5 * mean.standard_error


@pytest.mark.core
@pytest.mark.usefixtures("as_users_have_it")
def test_bad_input_of_spectra():
    module, x = MLP((3, 8, 2), jnp.tanh, key=KEY), jnp.asarray(X, float)
    for complaint, call in {
        "count = 41: must be at most 40": lambda: ntk_eigenvalues(module, x, 41),
        "count = 0": lambda: ntk_eigenvalues(module, x, 0),
        "steps = 41": lambda: ntk_spectral_density(module, x, key=KEY, steps=41),
        "probes = 0": lambda: ntk_spectral_density(module, x, key=KEY, probes=0),
    }.items():
        with pytest.raises(ValueError, match=complaint):
            call()
