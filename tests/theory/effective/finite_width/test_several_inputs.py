"""Expectations of several Gaussians against exact ones, and V of several inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh.activations import ACTIVATIONS
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.correlated import pair_nodes
from nsh.theory.effective.finite_width.fluctuations import fluctuations
from nsh.theory.effective.finite_width.several_inputs import (
    _fourth_moments,
    _pairs,
    four_point_vertex,
)

X = np.random.default_rng(1).normal(size=(3, 4))


def step(z):
    return jnp.where(z > 0, 1.0, 0.0).astype(z.dtype)


@jax.jit
def ramps_and_steps(K):
    nodes = pair_nodes(K, (0.0,))
    both = (jnp.stack([jax.nn.relu(z), step(z)]) for z in (nodes.z_a, nodes.z_b))
    return jnp.diagonal(nodes.means(*both))


@pytest.mark.parametrize("correlation", [0.3, 0.0, 0.99, 1.0, -1.0])
def test_two_ramps_and_two_steps_are_arc_cosine_kernels(correlation):
    K = jnp.asarray([[1.0, 1.5 * correlation], [1.5 * correlation, 2.25]])
    angle = np.arccos(correlation)
    ramps = 1.5 / (2 * np.pi) * (np.sin(angle) + (np.pi - angle) * correlation)
    steps = (np.pi - angle) / (2 * np.pi)
    x64 = jax.config.read("jax_enable_x64")
    np.testing.assert_allclose(ramps_and_steps(K), [ramps, steps], atol=1e-7 if x64 else 3e-4)


def fourth_moments(name):
    """<s_a s_b s_c s_d> of the kernel of four inputs."""
    activation = ACTIVATIONS[name]
    return jax.jit(lambda K: _fourth_moments(K, _pairs(K, activation)))


def test_four_different_linear_functions():
    """Wick's theorem, at a kernel without symmetry, and of rank 2."""
    W = np.random.default_rng(0).normal(size=(4, 6))
    of = fourth_moments("linear")
    for factor in (W, W[:, :2]):
        K = factor @ factor.T / 6
        pairs = np.einsum("ab,cd->abcd", K, K)
        wick = pairs + pairs.transpose(0, 2, 1, 3) + pairs.transpose(0, 3, 2, 1)
        rtol = 1e-9 if jax.config.read("jax_enable_x64") and factor is W else 1e-3
        atol = rtol * np.max(np.diagonal(K)) ** 2
        np.testing.assert_allclose(of(jnp.asarray(K)), wick, atol=atol)


@pytest.mark.long
def test_four_nearly_equal_inputs():
    """Kinks away from 0, where nested quadrature was off by 1e-3: against one of K = r + (1-r) I.

    Given the part common to all inputs they are independent: <g(x)^4>, g one integral.
    """
    of = fourth_moments("hard_tanh")
    x = np.linspace(-9, 9, 2001)
    bell = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    for r in (0.5, 0.97, 0.9999):
        K = 2 * (r + (1 - r) * np.eye(4))
        z = np.sqrt(2 * r) * x[:, None] + np.sqrt(2 * (1 - r)) * x[::2]
        s = np.clip(z, -1, 1)
        own = [2 * power @ bell[::2] for power in (s, s * s, s * s * s)]
        exact = [bell @ own[0] ** 4, bell @ (own[1] * own[0] ** 2), bell @ own[1] ** 2]
        M = np.asarray(of(jnp.asarray(K)))
        found = [M[0, 1, 2, 3], M[1, 0, 1, 2], M[2, 3, 2, 3]]
        np.testing.assert_allclose(found, exact, rtol=1e-4)
        np.testing.assert_allclose(M[3, 0, 3, 3], bell @ (own[2] * own[0]), rtol=1e-5)


@pytest.fixture(scope="module")
def relu_vertex():
    architecture = Architecture("relu", 3, (7, 9), C_W=jnp.asarray([1.0, 1.8, 2.2]), C_b=0.1)
    return architecture, np.asarray(four_point_vertex(architecture, jnp.asarray(X)))


@pytest.mark.long
def test_one_input_at_a_time_is_the_recursion(relu_vertex):
    architecture, V = relu_vertex
    for i in range(3):
        alone = fluctuations(architecture, np.sum(X[i] ** 2) / 4).V[-1]
        np.testing.assert_allclose(V[i, i, i, i], alone, rtol=1e-4)


def test_symmetries(relu_vertex):
    _, V = relu_vertex
    for axes in ((1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)):
        np.testing.assert_allclose(V, V.transpose(axes), rtol=1e-4, atol=1e-6)
    pairs = V.reshape(9, 9)  # a covariance matrix
    assert np.linalg.eigvalsh((pairs + pairs.T) / 2).min() > -1e-5


@pytest.mark.long
def test_finite_networks(relu_vertex):
    """The covariance of C_b + C_W mean(s_a s_b) with that of c, d, from the widths n and 2n."""
    architecture, V = relu_vertex
    C_b, C_W = np.asarray(architecture.C_b), np.asarray(architecture.C_W)
    random, networks, found = np.random.default_rng(3), 60_000, []
    K1 = C_b[0] + C_W[0] * X @ X.T / 4
    for scale in (6, 12):
        K = np.broadcast_to(K1, (networks, 3, 3))
        for width, b, W in zip((7, 9), C_b[1:], C_W[1:], strict=True):
            L = np.linalg.cholesky(K + 1e-9 * np.eye(3))
            s = np.maximum(L @ random.normal(size=(networks, 3, scale * width)), 0)
            K = b + W * s @ s.transpose(0, 2, 1) / (scale * width)
        pairs = (K - K.mean(0)).reshape(networks, 9)
        products = pairs[:, :, None] * pairs[:, None]
        found.append((scale * products.mean(0), scale * products.std(0) / np.sqrt(networks)))
    (narrow, narrow_error), (wide, wide_error) = found
    value, error = 2 * wide - narrow, np.hypot(2 * wide_error, narrow_error)
    assert np.max(np.abs(value - V.reshape(9, 9)) / error) < 4.5
    assert np.median(error / np.abs(value)) < 0.05


@pytest.mark.long
def test_equal_and_opposite_inputs():
    """A smooth activation; rows equal and opposite up to sign: V as of one input."""
    x = jnp.asarray([[1.0, 0.5], [1.0, 0.5], [-1.0, -0.5]])
    architecture = Architecture("tanh", 3, (5, 8), C_W=1.3)
    V = four_point_vertex(architecture, x)
    alone = fluctuations(architecture, 0.625).V[-1]
    np.testing.assert_allclose(V[0, 1, 0, 1], alone, rtol=1e-3)
    np.testing.assert_allclose(V[0, 2, 1, 2], alone, rtol=1e-3)
    np.testing.assert_allclose(V[0, 1, 0, 2], -alone, rtol=1e-3)


@pytest.mark.long
def test_differentiable():
    def of(C_W, x):
        return four_point_vertex(Architecture("relu", 3, (5, 8), C_W=C_W, C_b=0.1), x)

    check_three_ways(of, np.full(3, 1.6), X[:2], tolerance=1e-4)


@pytest.mark.core
def test_bad_input():
    architecture = Architecture("relu", 3, 5)
    with pytest.raises(ValueError, match=r"x\[0, 1\] = nan"):
        four_point_vertex(architecture, jnp.asarray([[1.0, jnp.nan]]))
    with pytest.raises(ValueError, match=r"x.shape = \(0, 2\)"):
        four_point_vertex(architecture, jnp.zeros((0, 2)))
    with pytest.raises(ValueError, match=r"n_0\[1\] = 0.0"):
        four_point_vertex(architecture, jnp.asarray([[1.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="gamma"):
        four_point_vertex(Architecture("relu", 3, 5, gamma=0.5), jnp.ones((1, 2)))
