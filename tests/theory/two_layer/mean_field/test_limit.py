"""Infinitely many particles: the Fokker-Planck equation, quadrature nodes, and large widths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh import SaveAt, TrainingProblem, ensemble, train
from nsh.theory.two_layer import FromArrays, Independent, Quadrature, TwoLayer
from nsh.theory.two_layer.mean_field.fokker_planck import fokker_planck
from nsh.theory.two_layer.mean_field.free_energy import free_energy
from nsh.theory.two_layer.mean_field.grid import Density, Grid
from nsh.training import FullBatch

X = np.linspace(-2, 2, 6)[:, None]
NETWORK = TwoLayer(1, Independent(4000), activation="sin")
EXAMPLES = NETWORK.prepare(X, 3 * np.sin(2 * X[:, 0]))
HYPER = {"alpha": 1.0, "learning_rate": 0.05, "temperature": 0.5, "decay_u": 0.5,
         "decay_theta": 0.4}  # fmt: skip
GRID = Grid((-7.0, -5.5), (7.0, 5.5), (48, 64))


def squares(law):
    return law.mean(GRID.nodes() ** 2)


@jax.jit
def course(start, examples, hyper):
    laws = fokker_planck(NETWORK, start, examples, hyper, steps=40, every=8)
    Q = jax.vmap(lambda law: free_energy(NETWORK, law, examples, hyper))(laws)
    return laws, Q, jax.vmap(squares)(laws)


def test_masses_stay_a_law_and_the_free_energy_falls_whatever_the_step():
    for rate in (0.05, 5.0):
        laws, Q, _ = course(Density.normal(GRID), EXAMPLES, {**HYPER, "learning_rate": rate})
        assert laws.mass.shape == (6, 48, 64)
        assert np.all(laws.mass >= 0)
        np.testing.assert_allclose(laws.mass.sum((1, 2)), 1, rtol=1e-5)
        assert np.all(np.diff(Q) < (0 if rate < 1 else 1e-4))


def test_without_data_it_is_ornstein_and_uhlenbecks_process_at_any_alpha():
    nothing = NETWORK.prepare(np.zeros((6, 1)), np.zeros(6))  # the hidden layer is sin(0)
    _, _, found = course(Density.normal(GRID), nothing, {**HYPER, "alpha": 3.0})
    time = 0.05 * np.arange(0, 41, 8)
    for axis, decay in enumerate((0.5, 0.4)):
        left = np.exp(-2 * decay * time)
        expected = left + 0.5 / decay * (1 - left)
        np.testing.assert_allclose(found[:, axis], expected, rtol=0.01)  # spacing^2, step


@pytest.mark.long
def test_many_noisy_particles_have_its_moments_on_the_way():
    problem = TrainingProblem(
        NETWORK,
        EXAMPLES,
        HYPER,
        steps=40,
        sampler=FullBatch(),
        save=SaveAt(second_moments, every=8),
    )
    members = ensemble(problem, jax.random.key(1), seeds=6)
    found = np.asarray(members.saved)[:, 1:]  # [seed, time, coordinate]
    _, _, expected = course(Density.normal(GRID), EXAMPLES, HYPER)
    error = found.std(0, ddof=1) / np.sqrt(len(found))
    apart = np.abs(found.mean(0) - np.asarray(expected)[1:])
    assert np.all(apart < 4 * error + 0.02 * found.mean(0))  # the latter of both steps' sizes
    assert found[:, -1].mean() > 1.5  # well on the way from 1


def second_moments(now):
    return jnp.array([jnp.mean(now.state.u**2), jnp.mean(now.state.theta**2)])


@pytest.mark.long
def test_derivatives_of_the_course_three_ways():
    grid = Grid((-5.0, -4.0), (5.0, 4.0), (16, 20))

    def moment(T):
        hyper = {**HYPER, "temperature": T}
        laws = fokker_planck(NETWORK, Density.normal(grid), EXAMPLES, hyper, steps=4, every=4)
        return jnp.sum(laws.mass[-1].reshape(-1) * grid.nodes()[:, 0] ** 2)

    T, h = jnp.asarray(0.5, float), 0.02
    both = jax.jit(lambda T: (jax.grad(moment)(T), jax.jvp(moment, (T,), (jnp.ones_like(T),))))
    slope, (_, forward) = both(T)
    np.testing.assert_allclose(forward, slope, rtol=1e-4)
    (low, _), (high, _) = (both(T + step)[1] for step in (-h, h))
    np.testing.assert_allclose((high - low) / (2 * h), slope, rtol=1e-2)
    assert slope > 0.1


def test_only_what_is_trained_diffuses_and_bad_requests_are_refused():
    network = TwoLayer(1, Independent(4), activation="sin", trained="u")
    narrow = Density.from_log(GRID, -2 * jnp.sum(GRID.nodes() ** 2, axis=1))
    laws = fokker_planck(network, narrow, EXAMPLES, HYPER, steps=1)
    np.testing.assert_allclose(laws.mass[-1].sum(0), narrow.mass.sum(0), atol=1e-6)
    assert abs(laws.mass[-1].sum(1) - narrow.mass.sum(1)).max() > 1e-3
    with pytest.raises(ValueError, match="steps = 3"):
        fokker_planck(NETWORK, narrow, EXAMPLES, HYPER, steps=3, every=2)
    with pytest.raises(ValueError, match="temperature"):
        fokker_planck(NETWORK, narrow, EXAMPLES, {"alpha": 1.0, "learning_rate": 0.1}, steps=1)
    with pytest.raises(ValueError, match="axes of the grid = 2"):
        fokker_planck(TwoLayer(2, Independent(4)), narrow, EXAMPLES, HYPER, steps=1)


DESCENT = {"alpha": 1.0, "learning_rate": 0.1}
NEAR = NETWORK.prepare(X / 2, 2 * np.sin(X[:, 0]))


@functools.cache
def trained_output(start, seeds=None):
    network = TwoLayer(1, start, activation="tanh")
    problem = TrainingProblem(network, NEAR, DESCENT, steps=10, sampler=FullBatch())
    if seeds is None:
        ends = train(problem, jax.random.key(0)).state
        return np.asarray(jax.vmap(network.output, (None, 0))(ends, NEAR.x))[:, 0]
    ends = ensemble(problem, jax.random.key(0), seeds=seeds).state
    outputs = jax.vmap(jax.vmap(network.output, (None, 0)), (0, None))(ends, NEAR.x)
    return np.asarray(outputs)[..., 0]


@pytest.mark.long
def test_networks_come_to_the_nodes_limit_as_one_over_root_m():
    limit = trained_output(Quadrature(2**14))
    assert np.abs(limit).max() > 0.5  # learning has gone some way
    widths, seeds = (32, 512), 256
    squares = [np.mean((trained_output(Independent(m), seeds) - limit) ** 2, 1) for m in widths]
    scaled = np.array(widths)[:, None] * np.stack(squares)  # m |f_m - f|^2: [m, seed]
    mean, error = scaled.mean(1), scaled.std(1, ddof=1) / np.sqrt(seeds)
    assert abs(mean[0] - mean[1]) < 3 * np.hypot(*error)
    slope = np.log(mean[1] / mean[0]) / np.log(16) / 2 - 0.5  # of the distance itself
    assert abs(slope + 0.5) < 0.05
    assert np.all(error / mean < 0.12)  # else the above says little


@pytest.mark.long
def test_the_spread_of_nodes_over_seeds_is_their_error():
    """After training: against Gauss-Hermite nodes, as there are no kinks and two entries."""
    node, weight = np.polynomial.hermite_e.hermegauss(48)
    u, theta = (axis.reshape(-1, 1) for axis in np.meshgrid(node, node))
    mass = np.outer(weight, weight).ravel() / weight.sum() ** 2
    exact = trained_output.__wrapped__(FromArrays(u, theta, mass))  # arrays have no hash
    few, many = (trained_output(Quadrature(width), 8) for width in (2**8, 2**12))
    for found in (few, many):
        error = found.std(0, ddof=1) / np.sqrt(8)
        assert np.max(np.abs(found.mean(0) - exact) / error) < 6  # t of 7 degrees of freedom
    assert np.sqrt(np.mean((many - exact) ** 2)) < np.sqrt(np.mean((few - exact) ** 2)) / 7
    assert np.abs(many - exact).max() < 2e-3
