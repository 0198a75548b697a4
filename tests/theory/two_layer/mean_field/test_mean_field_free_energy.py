"""Laws on a grid and of particles: entropy, free energy, its first variation, convexity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsh.theory.two_layer import (
    Examples,
    FromArrays,
    Independent,
    Particles,
    TwoLayer,
    softmax_cross_entropy,
)
from nsh.theory.two_layer.mean_field import grid as grid_module
from nsh.theory.two_layer.mean_field.entropy import entropy
from nsh.theory.two_layer.mean_field.free_energy import (
    energy,
    first_variation,
    free_energy,
    mean_loss,
    potential,
)
from nsh.theory.two_layer.mean_field.grid import Density, Grid
from nsh.theory.two_layer.mean_field.interpolation import mixture

NETWORK = TwoLayer(1, Independent(20), activation="tanh")
ONLY_U = TwoLayer(1, Independent(20), trained="u")
X = np.linspace(-2, 2, 5)[:, None]
Y = 2 * np.sin(1.5 * X[:, 0]) + 0.3
EXAMPLES = NETWORK.prepare(X, Y)
HYPER = {"alpha": 1.5, "learning_rate": 0.1, "temperature": 0.3, "decay_u": 0.4, "decay_theta": 0.2}
GRID = Grid((-6.0, -7.0), (6.0, 7.0), (36, 42))


def tilted(grid, slope):
    nodes = grid.nodes()
    return Density.from_log(grid, -jnp.sum(nodes**2, 1) / 2 + slope * jnp.tanh(nodes[:, 1]))


@pytest.mark.core
def test_a_normal_law_on_the_grid_has_its_exact_moments_and_entropy():
    law = Density.normal(GRID)
    squares, both, of_u = jax.jit(lambda law: (
        law.mean(GRID.nodes() ** 2), entropy(NETWORK, law), entropy(ONLY_U, law)
    ))(law)  # fmt: skip
    np.testing.assert_allclose(squares, 1, rtol=1e-5)
    np.testing.assert_allclose(both, np.log(2 * np.pi) + 1, rtol=1e-5)
    np.testing.assert_allclose(of_u, np.log(2 * np.pi) / 2 + 0.5, rtol=1e-5)
    np.testing.assert_allclose(law.marginal(1), law.mass.sum(0), rtol=1e-6)
    np.testing.assert_allclose(law.values().sum() * GRID.volume, 1, rtol=1e-5)
    assert list(Grid((0.0,), (2.0,), (4,)).at_faces()) == [True, False, False, True]


def test_free_energy_is_the_sum_that_numpy_makes_of_it():
    law = tilted(GRID, 0.7)
    nodes, mass = np.asarray(GRID.nodes(), np.float64), np.asarray(law.mass, np.float64).ravel()
    u, theta = nodes.T
    f = HYPER["alpha"] * np.tanh(np.outer(X[:, 0], theta)) @ (mass * u)
    loss = np.mean((f - Y) ** 2) / 2
    decay = mass @ (0.4 * u**2 + 0.2 * theta**2) / 2
    density = mass / GRID.volume
    expected = loss + 1.5**2 * (decay + 0.3 * mass @ np.log(density))

    @jax.jit
    def found(law):
        particles, given = law.particles(NETWORK, jnp.asarray(1.5, float)), (EXAMPLES, HYPER)
        energies = energy(NETWORK, law, *given), energy(NETWORK, particles, *given)
        return free_energy(NETWORK, law, *given), energies, potential(NETWORK, particles, *given)

    Q, energies, drift = found(law)
    np.testing.assert_allclose(Q, expected, rtol=2e-5)
    np.testing.assert_allclose(energies, loss + 1.5**2 * decay, rtol=2e-5)
    V = u * (np.tanh(np.outer(theta, X[:, 0])) @ (f - Y)) / 5
    drives = V / 1.5 + (0.4 * u**2 + 0.2 * theta**2) / 2
    np.testing.assert_allclose(drift, drives, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("trained", ["both", "theta"])
def test_first_variation_is_the_slope_of_the_free_energy_towards_any_law(trained):
    network = TwoLayer(1, Independent(20), activation="tanh", trained=trained)
    p, q = tilted(GRID, 0.7), tilted(GRID, -0.4)
    share = jnp.zeros(())

    def value(s):
        return free_energy(network, mixture(p, q, s), EXAMPLES, HYPER)

    @jax.jit
    def found(s):
        variation = first_variation(network, p, EXAMPLES, HYPER)
        expected = jnp.sum((q.mass - p.mass) * variation)
        return expected, jax.jvp(value, (s,), (jnp.ones_like(s),)), jax.grad(value)(s)

    expected, (_, forward), backward = found(share)
    np.testing.assert_allclose([forward, backward], [expected] * 2, rtol=2e-4)
    h = 0.05  # one side: shares below 0 make no law
    here, near, far = (found(share + h * steps)[1][0] for steps in range(3))
    np.testing.assert_allclose((-3 * here + 4 * near - far) / (2 * h), expected, rtol=2e-2)


def test_free_energy_is_convex_along_mixtures_of_densities():
    p, q = tilted(GRID, 1.5), tilted(GRID, -1.5)
    shares = jnp.linspace(0, 1, 9)
    Q = jax.jit(jax.vmap(lambda s: free_energy(NETWORK, mixture(p, q, s), EXAMPLES, HYPER)))(shares)
    assert np.all(np.diff(Q, 2) > 1e-3)


def of_seed(network, seed):
    return network.init(jax.random.key(seed), HYPER)


SOFTMAX = TwoLayer(1, Independent(3), out_size=3, activation="tanh", loss=softmax_cross_entropy)
LABELLED = SOFTMAX.prepare(X, np.array([0, 2, 1, 1, 0]))


@jax.jit
def losses(seed, other, share):
    p, q = of_seed(SOFTMAX, seed), of_seed(SOFTMAX, other)
    mixed = mixture(p, q, share)
    outputs = [jax.vmap(SOFTMAX.output, (None, 0))(law, LABELLED.x) for law in (p, q, mixed)]
    return outputs, [mean_loss(SOFTMAX, law, LABELLED) for law in (p, q, mixed)]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1, width=32))
def test_a_mixture_of_networks_has_the_mixed_output_and_no_more_than_the_mixed_loss(a, b, share):
    share = jnp.asarray(share, float)
    outputs, found = losses(a, b, share)
    expected = (1 - share) * outputs[0] + share * outputs[1]
    np.testing.assert_allclose(outputs[2], expected, rtol=1e-4, atol=1e-5)
    assert found[2] <= (1 - share) * found[0] + share * found[1] + 1e-5


def test_loss_is_not_convex_along_a_path_of_parameters():
    # both ends are one network, with its two units numbered differently: half way, no unit is left
    ends = [FromArrays([[a], [-a]], [[a], [-a]]) for a in (1.0, -1.0)]
    first, second = (TwoLayer(1, end, activation="tanh").init(jax.random.key(0), HYPER)
                     for end in ends)  # fmt: skip

    @jax.jit
    def found(first, second):
        y = jax.vmap(NETWORK.output, (None, 0))(first, EXAMPLES.x)
        fitted = Examples(EXAMPLES.x, y)
        between = jax.tree.map(lambda a, b: (a + b) / 2, first, second)
        mixed = mixture(first, second, 0.5)
        return [mean_loss(NETWORK, law, fitted) for law in (first, second, mixed, between)]

    *ends_and_mixture, half_way = found(first, second)
    np.testing.assert_allclose(ends_and_mixture, 0, atol=1e-10)
    assert half_way > 0.1


def test_entropy_of_particles_is_kozachenko_and_leonenkos_and_near_the_truth():
    deviations = np.array([2.0, 0.5])
    places = np.random.default_rng(0).normal(size=(3, 1000, 2)) * deviations
    mass = jnp.full(1000, 1e-3)

    def of(places):
        return entropy(NETWORK, Particles(places[:, :1], places[:, 1:], mass, jnp.ones(())))

    found = jax.jit(jax.vmap(of))(jnp.asarray(places, float))
    apart = np.linalg.norm(places[0, :, None] - places[0, None], axis=-1)
    fourth = np.sort(apart, 1)[:, 4]
    psi = np.sum(1 / np.arange(1, 1000)) - np.sum(1 / np.arange(1, 4))
    np.testing.assert_allclose(
        found[0], psi + np.log(np.pi) + 2 * np.mean(np.log(fourth)), rtol=1e-4
    )
    exact = 1 + np.log(2 * np.pi) + np.log(deviations).sum()
    error = np.sqrt((0.28 + 1) / 3000)  # Var log p = 1 in two dimensions, psi'(4) = 0.28
    assert abs(np.mean(found) - exact) < 3 * error + 0.02
    few = jnp.asarray(places[0, :50], float)
    shorter = jax.jit(lambda scale: entropy(
        NETWORK, Particles(scale * few[:, :1], scale * few[:, 1:], mass[:50] * 20, jnp.ones(()))
    ))  # fmt: skip
    np.testing.assert_allclose(jax.grad(shorter)(jnp.ones(())), 2, rtol=1e-4)  # log of the area


@pytest.mark.core
def test_entropy_counts_copies_and_equal_distances():
    """The neighbours of a place are as many as they are, not one for each distance."""

    def of(places, k):
        u, theta = jnp.split(jnp.asarray(places, float), 2, axis=1)
        mass = jnp.full(len(places), 1 / len(places))
        return entropy(NETWORK, Particles(u, theta, mass, jnp.ones(())), neighbours=k)

    corners = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    # the second neighbour is at 1 too: psi(4) - psi(2) + log pi
    np.testing.assert_allclose(of(corners, 2), 1 / 2 + 1 / 3 + np.log(np.pi), rtol=1e-6)
    assert of(np.repeat(corners, 2, axis=0), 1) == -np.inf


@pytest.mark.core
def test_bad_laws_are_refused_by_name(monkeypatch):
    with pytest.raises(ValueError, match="number of axes = 4"):
        Grid((0.0,) * 4, (1.0,) * 4, (2,) * 4)
    with pytest.raises(ValueError, match=r"low, high = \(1.0, 1.0\)"):
        Grid((1.0,), (1.0,), (2,))
    with pytest.raises(ValueError, match="cells = 0"):
        Grid((0.0,), (1.0,), (0,))
    with pytest.raises(ValueError, match="cells = "):
        Grid((0.0,), (1.0,), (3, 4))
    with pytest.raises(ValueError, match="axes of the grid = 2"):
        entropy(SOFTMAX, Density.normal(GRID))
    p = of_seed(NETWORK, 0)
    with pytest.raises(ValueError, match=r"share = 1.5"):
        mixture(p, p, 1.5)
    with pytest.raises(ValueError, match="q = Density"):
        mixture(p, Density.normal(GRID), 0.5)  # pyright: ignore
    with pytest.raises(ValueError, match="alpha of q"):
        mixture(p, NETWORK.init(jax.random.key(0), {**HYPER, "alpha": 1.0}), 0.5)
    with pytest.raises(ValueError, match="grid of q"):
        mixture(Density.normal(GRID), Density.normal(Grid((-6.0,), (6.0,), (3,))), 0.5)
    with pytest.raises(ValueError, match=r"mass\[0\]"):
        entropy(NETWORK, mixture(p, p, 0.3))
    with pytest.raises(ValueError, match="neighbours = 20"):
        entropy(NETWORK, p, neighbours=20)
    with pytest.raises(ValueError, match="trained = 'u'"):
        entropy(ONLY_U, p)
    monkeypatch.setattr(grid_module, "available_bytes", lambda: 1000)
    with pytest.raises(ValueError, match=r"memory = .* GB"):
        GRID.require_memory(10)
