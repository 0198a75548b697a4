"""Tangent kernels of two-layer networks: closed forms, quadrature, Monte Carlo and Jacobians."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways
from jax.tree_util import Partial

from nsh.theory.effective import empirical_ntk
from nsh.theory.two_layer import (
    FromArrays,
    Independent,
    Particles,
    Quadrature,
    Symmetric,
    TwoLayer,
)
from nsh.theory.two_layer.lazy.kernel import infinite_ntk, ntk

RANDOM = np.random.default_rng(0)
X, Z = RANDOM.normal(size=(5, 3)) / 2, RANDOM.normal(size=(4, 3)) / 2
KEY, HYPER = jax.random.key(0), {"alpha": 3.0, "learning_rate": 0.1}


def floats(a):
    return jnp.asarray(a, float)


def network(trained: Any = "both", start=None, **more):
    return TwoLayer(3, start or Independent(6), activation="erf", trained=trained, **more)


def of_erf(x, z):
    """k_u and k_theta of erf, by the formulas of Williams (1998)."""
    inner = x @ z.T
    q = np.outer(1 + 2 * np.sum(x**2, 1), 1 + 2 * np.sum(z**2, 1))
    readout = 2 / np.pi * np.arcsin(2 * inner / np.sqrt(q))
    return readout, inner * 4 / np.pi / np.sqrt(q - 4 * inner**2)


@pytest.mark.core
def test_infinite_width_has_the_closed_forms_of_erf(relative_tolerance):
    of_u, of_theta = of_erf(X, Z)
    wanted = {"u": of_u, "theta": of_theta, "both": of_u + of_theta}
    for trained, kernel in wanted.items():
        found = infinite_ntk(network(trained, Symmetric(6)), X, Z)
        np.testing.assert_allclose(found, kernel, rtol=10 * relative_tolerance, atol=1e-6)


def test_networks_approach_the_infinite_width():
    parts = ("u", "theta", "both")
    exact = np.stack([sum(of_erf(X, Z)[i] for i in which) for which in ((0,), (1,), (0, 1))])

    @jax.jit
    def kernels(particles):
        return jnp.stack([ntk(network(part), particles, X, Z) for part in parts])

    nodes = jax.vmap(lambda key: network(start=Quadrature(2**12)).init(key, HYPER))
    found = np.asarray(jax.jit(jax.vmap(kernels))(nodes(jax.random.split(KEY, 8))))
    spread = found.std(0, ddof=1) / np.sqrt(8)
    assert np.max(np.abs(found.mean(0) - exact) / spread) < 6  # t of 7 degrees, 60 of them
    draws = jnp.asarray(np.random.default_rng(1).normal(size=(400, 6, 4)), float)
    mass = jnp.full(6, 1 / 6)
    found = np.asarray(
        jax.jit(jax.vmap(lambda d: kernels(Particles(d[:, :1], d[:, 1:], mass, floats(3.0)))))(
            draws
        )
    )
    error = found.std(0, ddof=1) / np.sqrt(len(found))
    assert np.max(np.abs(found.mean(0) - exact) / error) < 4
    assert np.max(error) < 0.06  # so that the test can fail
    assert np.max(spread) < np.max(error) * np.sqrt(400 * 6 / (8 * 2**11)) / 2  # of as many draws


def test_nodes_converge_faster_than_draws_with_a_kink_too():
    """ReLU's kernel at the start, by arc-cosines (Cho and Saul, 2009)."""
    x = np.random.default_rng(3).normal(size=(6, 2))
    inner, size = x @ x.T, np.linalg.norm(x, axis=1)
    angle = np.arccos(np.clip(inner / np.outer(size, size), -1, 1))
    of_u = np.outer(size, size) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    exact = of_u + inner * (np.pi - angle) / (2 * np.pi)

    def errors(start):
        net = TwoLayer(2, start)
        kernels = jax.jit(jax.vmap(lambda key: ntk(net, net.init(key, HYPER), x)))
        apart = np.asarray(kernels(jax.random.split(KEY, 8))) - exact
        return np.sqrt(np.mean(apart**2)) / exact.max()

    few, many = errors(Quadrature(2**10)), errors(Quadrature(2**14))
    drawn = errors(Symmetric(2**14))
    assert many < few / 7  # 16 times the nodes: 4 for draws
    assert many < drawn / 5
    assert many < 1e-3


def test_own_kernel_is_that_of_jacobians():
    """Of particles of uneven mass: a particle's rate is 1 / (alpha^2 mass)."""
    mass = np.array([0.1, 0.3, 0.25, 0.35])
    start = FromArrays(RANDOM.normal(size=(4, 2)), RANDOM.normal(size=(4, 3)), mass)
    given = network(start=start, out_size=2)
    particles = given.init(KEY, HYPER)

    @jax.jit
    @jax.vmap
    def slopes(x):
        def output(u, theta):
            return given.output(Particles(u, theta, particles.mass, particles.alpha), x)

        return jax.jacobian(output, (0, 1))(particles.u, particles.theta)  # [outputs, width, ...]

    both = [np.asarray(part) for part in slopes(floats(np.concatenate([X, Z])))]
    parts = [np.einsum("napi,mbpi,p->nmab", part[:5], part[5:], 1 / (9 * mass)) for part in both]
    wanted = {"u": parts[0], "theta": parts[1], "both": sum(parts)}
    for trained, kernel in wanted.items():
        found = ntk(network(trained, start, out_size=2), particles, X, Z)
        np.testing.assert_allclose(found, kernel, atol=2e-6)


def test_own_kernel_is_the_empirical_ntk_and_maps_over_networks():
    net = network()
    draws = floats(RANDOM.normal(size=(2, 6, 4)))
    mass, alpha = jnp.full(6, 1 / 6), floats(3.0)

    def particles(place):
        return Particles(place[:, :1], place[:, 1:], mass, alpha)

    together = jax.jit(jax.vmap(lambda place: ntk(net, particles(place), X)))(draws)
    assert together.shape == (2, 5, 5)
    output = Partial(lambda place, x: net.output(particles(place), x)[0], draws[1])
    empirical = empirical_ntk(output, floats(X), rates=6 / 9)
    np.testing.assert_allclose(together[1], empirical, atol=1e-5)


@pytest.mark.long
def test_derivatives():
    def own(u, theta, x):
        net = network(start=FromArrays(u, theta))
        return ntk(net, net.init(KEY, HYPER), x, Z)

    check_three_ways(own, RANDOM.normal(size=(4, 1)), RANDOM.normal(size=(4, 3)), X)
    direction = jnp.ones_like(floats(X))
    slope = jax.jit(lambda x: jax.jvp(lambda x: infinite_ntk(network(), x, Z), (x,), (direction,)))
    above, below = (sum(of_erf(X + h, Z)) for h in (1e-5, -1e-5))
    np.testing.assert_allclose(slope(floats(X))[1], (above - below) / 2e-5, atol=1e-4)


@pytest.mark.core
def test_bad_input():
    net = network()
    particles = Particles(jnp.ones((6, 1)), jnp.ones((6, 3)), jnp.ones(6) / 6, jnp.ones(()))
    cases = [
        (lambda: infinite_ntk(network(start=FromArrays(np.ones((2, 1)), np.ones((2, 3)))), X),
         "particle_init = FromArrays.*must be Independent, Symmetric or Quadrature"),
        (lambda: infinite_ntk(net, X[:, :2]), r"x.shape = \(5, 2\): must be \(n, 3\)"),
        (lambda: infinite_ntk(net, X, Z[0]), r"z.shape = \(3,\): must be \(n, 3\)"),
        (lambda: ntk(net, particles, X[:, :2]), r"x.shape = \(5, 2\): must be \(n, 3\)"),
        (lambda: ntk(net, particles, X, X * np.nan), r"z\[0, 0\] = nan: must be finite"),
        (lambda: ntk(network(out_size=2), particles, X),
         r"particles.u.shape = \(6, 1\): must be \(6, 2\)"),
    ]  # fmt: skip
    for act, message in cases:
        with pytest.raises(ValueError, match=message):
            act()
