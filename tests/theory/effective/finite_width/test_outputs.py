"""The near-Gaussian law of outputs: its moments by integration, and histograms of networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from preactivations import kernels
from untyped import special

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.outputs import NearlyGaussian, output_distribution

LAW = NearlyGaussian(jnp.asarray(1.7), jnp.asarray(0.6))
density_at = jax.jit(jax.vmap(LAW.density))


def test_density_has_the_stated_moments():
    z = jnp.linspace(-15.0, 15.0, 1501)
    density = np.asarray(density_at(z), float)
    z = np.asarray(z, float)
    moment = {k: np.sum(density * z**k) * (z[1] - z[0]) for k in (0, 1, 2, 4, 6)}
    np.testing.assert_allclose([moment[0], moment[1], moment[2]], [1, 0, 1.7], atol=1e-4)
    np.testing.assert_allclose(moment[4] - 3 * moment[2] ** 2, LAW.fourth_cumulant(), rtol=1e-3)
    np.testing.assert_allclose(
        moment[6] - 15 * moment[4] * moment[2] + 30 * moment[2] ** 3, 0, atol=1e-2
    )
    np.testing.assert_allclose(LAW.excess_kurtosis(), 1.8 / 1.7**2, rtol=1e-6)


def test_joint_density_of_two_outputs():
    z = jnp.linspace(-12.0, 12.0, 121)
    grid = jnp.stack(jnp.meshgrid(z, z, indexing="ij"), axis=-1)
    density = np.asarray(density_at(grid.reshape(-1, 2)), float).reshape(121, 121)
    z, cell = np.asarray(z, float), 0.2**2
    squares = z[:, None] ** 2 * z**2
    np.testing.assert_allclose(np.sum(density) * cell, 1, rtol=1e-5)
    np.testing.assert_allclose(np.sum(density * squares) * cell, 1.7**2 + 0.6, rtol=1e-4)
    marginal = np.asarray(density_at(grid[:, 0, 0]))
    np.testing.assert_allclose(density.sum(1) * 0.2, marginal, atol=1e-5)


def test_cdf_is_the_integral_of_the_density():
    at = jnp.asarray([-2.0, 0.3, 1.9])
    slope = jax.jit(jax.vmap(jax.grad(LAW.cdf)))
    np.testing.assert_allclose(slope(at), density_at(at), rtol=1e-4)
    np.testing.assert_allclose(LAW.cdf(jnp.asarray(0.0)), 0.5, rtol=1e-6)
    np.testing.assert_allclose(LAW.cdf(jnp.asarray(30.0)), 1.0, rtol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_histogram_of_finite_networks(activation):
    """Bin probabilities of z = sqrt(G) eps, averaged over eps exactly, so that errors are small."""
    width, depth, K1 = 40, 4, 1.0
    C_b, C_W = (0.0, 2.0) if activation == "relu" else (0.1, 1.5)
    function = np.tanh if activation == "tanh" else lambda z: np.maximum(z, 0)
    G, _ = kernels(function, (width,) * (depth - 1), K1, C_b=C_b, C_W=C_W, networks=40_000)
    x2 = (K1 - C_b) / C_W
    law = output_distribution(Architecture(activation, depth, width, C_b=C_b, C_W=C_W), x2)
    edges = np.sqrt(float(law.variance)) * np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])

    def probabilities(variance):
        return np.diff(special.erf(edges / np.sqrt(2 * variance)) / 2)

    samples = probabilities(G[:, None])
    found, error = samples.mean(0), samples.std(0) / np.sqrt(len(G))
    to_first_order = np.diff([float(law.cdf(jnp.asarray(e, law.V.dtype))) for e in edges])
    gaussian = probabilities(float(law.variance))
    second_order = (float(law.V) / float(law.variance) ** 2) ** 2
    assert np.all(np.abs(found - to_first_order) < 4 * error + 0.2 * second_order)
    gap = np.abs(found - gaussian)
    assert np.sum(np.abs(found - to_first_order)) < 0.4 * np.sum(gap)
    assert np.max(gap / error) > 8


@pytest.mark.core
def test_errors_are_those_of_the_recursion():
    with pytest.raises(ValueError, match="x2 = -1"):
        output_distribution(Architecture("relu", 3, 5), -1.0)
