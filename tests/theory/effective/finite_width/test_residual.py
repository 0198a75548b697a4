"""Skips: the corrected recursion against finite networks, which refute the closed one for ReLU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways
from preactivations import kernels, relu

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.fluctuations import fluctuations
from nsh.theory.effective.finite_width.residual import (
    naive_residual_growth,
    naive_residual_vertex,
    residual_critical_C_W,
    residual_vertex,
)
from nsh.theory.effective.means import mean_kernels

corrected, closed = jax.jit(residual_vertex), jax.jit(naive_residual_vertex)


def test_reference_values():
    architecture = Architecture("relu", 6, 10, C_W=residual_critical_C_W("relu", 0.5), gamma=0.5)
    x2 = 1 / 1.5  # K = 1 in every layer
    np.testing.assert_allclose(mean_kernels(architecture, x2)[0], np.ones(6), rtol=1e-5)
    np.testing.assert_allclose(10 * corrected(architecture, x2)[-1], 26.85, rtol=1e-3)
    naive = 10 * closed(architecture, x2)
    growth = float(naive_residual_growth("relu", 0.5))
    np.testing.assert_allclose(naive, growth * np.arange(6), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(growth, 3.5625, rtol=1e-6)


def test_finite_networks_refute_the_closed_recursion_for_relu():
    """Cov(z1^2, z2^2), z = sqrt(.) eps + gamma z: of all neurons of the last layer, from n, 2n."""
    gamma, C_W, depth = 0.5, 1.5, 4
    networks, n, values, errors = 40_000, 32, [], []
    for seed, width in enumerate((n, 2 * n)):
        G, z = kernels(
            relu, (width,) * (depth - 1), 1.0, C_W=C_W, gamma=gamma, networks=networks, seed=seed
        )
        # given the last hidden layer, z'^2 has mean G + gamma^2 z^2; two neurons' covariance:
        squares = G[:, None] + gamma**2 * z**2
        total = np.sum(squares, axis=1)
        pairs = (total**2 - np.sum(squares**2, axis=1)) / (width * (width - 1))
        values.append(np.mean(pairs) - np.mean(squares) ** 2)
        errors.append(np.std(pairs - 2 * np.mean(squares, axis=1)) / np.sqrt(networks))
    value = 4 * n * values[1] - n * values[0]
    error = n * np.hypot(4 * errors[1], errors[0])
    architecture = Architecture("relu", 6, 10, C_W=C_W, gamma=gamma)
    assert abs(value - 10 * corrected(architecture, 1 / C_W)[depth - 1]) < 4 * error
    assert abs(value - 10 * closed(architecture, 1 / C_W)[depth - 1]) > 6 * error


def test_without_skips_all_recursions_are_one():
    C_W = jnp.asarray([1.5, 1.0, 2.0, 1.2, 1.4, 2.1])
    architecture = Architecture("relu", 6, 10, C_b=0.2, C_W=C_W)
    expected = fluctuations(architecture, 1.0).V
    np.testing.assert_allclose(corrected(architecture, 1.0), expected, rtol=1e-4)
    np.testing.assert_allclose(closed(architecture, 1.0), expected, rtol=1e-4)


def test_linear_networks_agree_with_the_closed_recursion():
    """Linear: the squares are all there is, whatever gamma."""
    architecture = Architecture("linear", 5, 20, C_W=0.7, C_b=0.1, gamma=0.8)
    np.testing.assert_allclose(
        residual_vertex(architecture, 1.0), naive_residual_vertex(architecture, 1.0), rtol=1e-4
    )


@pytest.mark.long
def test_tanh_deep_grows_as_the_closed_form_says():
    gamma, depth = 0.6, 400
    C_W = residual_critical_C_W("tanh", gamma)
    architecture = Architecture("tanh", depth, 1, C_W=C_W, gamma=gamma)
    K, _ = mean_kernels(architecture, 1.0)
    naive = naive_residual_vertex(architecture, 1.0)[-1] / K[-1] ** 2 / depth
    np.testing.assert_allclose(naive, naive_residual_growth("tanh", gamma), rtol=0.03)
    corrected = residual_vertex(architecture, 1.0)[-1] / K[-1] ** 2 / depth
    np.testing.assert_allclose(corrected, naive, rtol=0.03)


@pytest.mark.long
@np.errstate(over="ignore")
@pytest.mark.parametrize("C_W", [0.05, 30.0])
def test_far_off_criticality_it_leaves_the_range_of_floats_as_a_number(C_W):
    """ReLU: by scale invariance V / K^2 is that of the critical network of the same shares."""
    depth, n, gamma, x2 = 300, 10, 0.2, 0.5
    grows = C_W / 2 + gamma**2
    K = C_W * x2 * grows ** np.arange(depth)
    numbers = {"C_W": C_W, "gamma": gamma}
    critical = {"C_W": C_W / grows, "gamma": gamma / grows**0.5}
    alike = Architecture("relu", depth, n, **critical)
    ratio = np.asarray(corrected(alike, grows / C_W), float)  # K = 1 in every layer
    source = (1.25 * C_W**2 + 2 * gamma**2 * C_W) / grows**2
    architecture = Architecture("relu", depth, n, **numbers)
    found = corrected(architecture, x2), closed(architecture, x2)
    _same_in_range(found[0], ratio * K**2)
    _same_in_range(found[1], source * np.arange(depth) / n * K**2)
    _same_in_range(jax.jit(mean_kernels)(architecture, x2)[0], K)


def _same_in_range(found, exact):
    """Equal where floats reach, else 0 or infinity; a product of two may leave it a bit before."""
    limits = jnp.finfo(found.dtype)
    within = (exact > 1e3 * float(limits.tiny)) & (exact < float(limits.max) / 1e3)
    beyond = (exact < float(limits.tiny) / 1e3) | (exact > float(limits.max))
    np.testing.assert_allclose(found[within], exact[within], rtol=1e-3)
    gone = np.where(exact[beyond] < 1, 0.0, np.inf)
    np.testing.assert_array_equal(found[beyond], gone)


@pytest.mark.long
def test_differentiable():
    def both(C_W, gamma, x2):
        architecture = Architecture("tanh", 4, 6, C_W=C_W, gamma=gamma)
        return residual_vertex(architecture, x2, modes=4), naive_residual_vertex(architecture, x2)

    check_three_ways(both, np.full(4, 1.1), np.array(0.5), np.array(0.8))


@pytest.mark.core
def test_bad_input():
    with pytest.raises(ValueError, match=r"widths = \(4, 5\): must be equal"):
        residual_vertex(Architecture("relu", 3, (4, 5), gamma=0.5), 1.0)
    with pytest.raises(ValueError, match="modes = 1"):
        residual_vertex(Architecture("relu", 3, 4, gamma=0.5), 1.0, modes=1)
    with pytest.raises(ValueError, match="x2 = -1"):
        naive_residual_vertex(Architecture("relu", 3, 4, gamma=0.5), -1.0)
    with pytest.raises(ValueError, match="gelu"):
        residual_critical_C_W("gelu", 0.5)
