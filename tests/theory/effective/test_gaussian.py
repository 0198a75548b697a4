"""One-dimensional expectations against adaptive quadrature and exact values, small K to large."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untyped import integrate, stats

from nsh.activations import ACTIVATIONS, as_activation
from nsh.activations.gaussian import gaussian, legendre_nodes
from nsh.theory.effective.susceptibility import susceptibilities

pytestmark = pytest.mark.core

PLAIN = {
    "tanh": np.tanh,
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "relu": lambda z: max(z, 0.0),
    "softplus": lambda z: np.logaddexp(z, 0),
}


def adaptive(function, K):
    """<function> by scipy's adaptive quadrature, broken where the functions above change."""
    ends = 12 * np.sqrt(K) * np.array([-1, 1])
    places = [x for x in (-30.0, -10.0, -1.0, 0.0, 1.0, 10.0, 30.0) if ends[0] < x < ends[1]]
    breaks = [ends[0], *places, ends[1]]
    parts = [
        integrate.quad(
            lambda z: function(z) * stats.norm.pdf(z, scale=np.sqrt(K)),
            a,
            b,
            epsabs=1e-14,
            limit=400,
        )[0]
        for a, b in pairwise(breaks)
    ]
    return sum(parts)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("K", [1e-3, 1.0, 50.0, 1e5])
def test_second_moment(name, K):
    activation = ACTIVATIONS[name]
    nodes = gaussian(jnp.asarray(K), activation)
    rtol = 1e-11 if nodes.z.dtype == jnp.float64 else 1e-6
    exact = adaptive(lambda z: PLAIN[name](z) ** 2, K)
    np.testing.assert_allclose(nodes.mean(activation(nodes.z) ** 2), exact, rtol=rtol)


def test_steep_functions_of_enormous_variance():
    K = 1e8
    nodes = gaussian(jnp.asarray(K), ACTIVATIONS["tanh"])
    slope = nodes.mean(ACTIVATIONS["tanh"].derivative(nodes.z))
    # <sech^2> -> 2 density(0) (1 - pi^2 / 24 K)
    # in 32 bits, how far the sum over nodes rounds depends on its order, which is the compiler's
    rtol = 1e-7 if slope.dtype == jnp.float64 else 1e-5
    np.testing.assert_allclose(slope, 2 / np.sqrt(2 * np.pi * K), rtol=rtol)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["tanh", pytest.param("hard_tanh", marks=pytest.mark.thorough), "relu"]
)
def test_derivative_by_the_variance(name):
    """d<F>/dK = <F (z^2 - K)> / 2K^2, for the nodes that move with K and for fixed kinks."""
    activation = ACTIVATIONS[name]

    def mean(K):
        nodes = gaussian(K, activation)
        return nodes.mean(activation.derivative(nodes.z) ** 2)

    K = jnp.asarray(0.7)
    nodes = gaussian(K, activation)
    exact = nodes.mean(activation.derivative(nodes.z) ** 2 * (nodes.z**2 - K)) / (2 * K**2)
    rtol = 1e-10 if nodes.z.dtype == jnp.float64 else 2e-5
    for derivative in (jax.grad(mean), jax.jacfwd(mean)):
        np.testing.assert_allclose(derivative(K), exact, rtol=rtol, atol=1e-6)


def test_many_variances_in_one_compiled_call():
    relu = ACTIVATIONS["relu"]

    @jax.jit
    @jax.vmap
    def second_moment(K):
        nodes = gaussian(K, relu)
        return nodes.mean(relu(nodes.z) ** 2)

    K = jnp.asarray([0.5, 1.0, 8.0])
    np.testing.assert_allclose(second_moment(K), K / 2, rtol=1e-6)


@pytest.mark.parametrize("K", [0.0, -1.0, float("nan")])
def test_bad_variances(K):
    with pytest.raises(ValueError, match=r"variance K = .*: must be > 0"):
        gaussian(jnp.asarray(K), ACTIVATIONS["tanh"])


@pytest.mark.long
@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "hard_tanh"])
def test_susceptibilities_are_derivatives_of_the_recursion(name):
    activation, C_W, K = as_activation(name), 1.7, jnp.asarray(1.3)

    def kernel(K):
        nodes = gaussian(K, activation)
        return C_W * nodes.mean(activation(nodes.z) ** 2)

    def perpendicular(K):
        return susceptibilities(gaussian(K, activation), activation, C_W).perpendicular

    found = susceptibilities(gaussian(K, activation), activation, C_W)
    rtol = 1e-10 if K.dtype == jnp.float64 else 1e-5
    np.testing.assert_allclose(found.parallel, jax.grad(kernel)(K), rtol=rtol)
    np.testing.assert_allclose(found.h, jax.grad(perpendicular)(K) / 2, rtol=rtol, atol=1e-6)
    if name == "relu":
        np.testing.assert_allclose([found.parallel, found.perpendicular], C_W / 2, rtol=1e-6)


def test_traced_variances_below_zero_and_not_a_number_are_never_numbers():
    relu = ACTIVATIONS["relu"]

    @jax.jit
    @jax.vmap
    def slope(K):
        nodes = gaussian(K, relu)
        return nodes.mean(relu.derivative(nodes.z) ** 2)

    # s' of a place that is NaN is 0: a number that says nothing
    found = slope(jnp.asarray([0.0, -1.0, jnp.nan, 2.0]))
    np.testing.assert_allclose(found, [0.5, np.nan, np.nan, 0.5], rtol=1e-6)


@pytest.mark.parametrize(("name", "K", "exact"), [("tanh", 1e-9, -1), ("hard_tanh", 1e-3, 0)])
def test_curvature_of_small_kernels(name, K, exact):
    """h = (1/2) d<s'^2>/dK: s'^2 = 1 - 2 z^2 + .. of tanh; 1 where no kink is reached."""
    activation = ACTIVATIONS[name]
    found = susceptibilities(gaussian(jnp.asarray(K), activation), activation, 1.0)
    # s'' of a place z itself is a difference of 1 and 1: rounding over z
    rounding = 10 * jnp.finfo(found.h.dtype).eps / np.sqrt(K)
    # sech^4 z = 1 - 2 z^2 + 7 z^4 / 3, so that h = -1 + 7 K
    np.testing.assert_allclose(found.h, exact, rtol=rounding + 8 * K, atol=1e-12)
    np.testing.assert_allclose(found.parallel, 1, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 40, 800])
def test_nodes_of_legendre_integrate_polynomials(count):
    """P_j P_k is integrated to 2 / (2 k + 1) if j = k, else to 0, for j + k < 2 count."""
    node, weight = legendre_nodes(count)
    assert np.all(np.diff(node) > 0)
    rounding = 2.0**-52 * max(count, 20)  # of sums of so many terms
    some = sorted({0, count // 3, count // 2, count - 1})
    found = np.polynomial.legendre.legvander(node, count - 1)[:, some]
    exact = np.diag([2 / (2 * k + 1) for k in some])
    np.testing.assert_allclose(found.T @ (weight[:, None] * found), exact, atol=rounding)
    # each weight by itself, and at nodes with more digits: (2 - 2 z^2) / (n P_{n-1}(z))^2
    z: Any = node.astype(np.longdouble)
    before: Any = z
    for _ in range(2):
        before, now = np.ones_like(z), z
        for k in range(1, count):
            before, now = now, ((2 * k + 1) * z * now - k * before) / (k + 1)
        z = z - now * (1 - z**2) / (count * (before - z * now))
    np.testing.assert_allclose(node, z, atol=2e-16)
    # SciPy's weights lose digits at the ends, as the square of the count
    exact = 2 * (1 - z**2) / (count * before) ** 2
    np.testing.assert_allclose(weight, exact, rtol=40 * 2.0**-52 * count**2)
