"""The optimal law, the cost of a law, and resampling, against NumPy and by Monte Carlo."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from jaxtyping import TypeCheckError

from nsh.theory.two_layer import (
    FromArrays,
    Independent,
    TwoLayer,
    feature_norms,
    optimal_distribution,
    representation_cost,
    resample,
    sampling_variance,
)
from nsh.theory.two_layer.particles import Particles

WIDTH, INPUTS, OUTPUTS, N = 7, 3, 2, 5
NUMBERS = np.random.default_rng(0)
X = NUMBERS.normal(size=(N, INPUTS))
U, THETA = NUMBERS.normal(size=(WIDTH, OUTPUTS)), NUMBERS.normal(size=(WIDTH, INPUTS))
MASS = NUMBERS.dirichlet(np.ones(WIDTH))
ALPHA = 1.7
NETWORK = TwoLayer(INPUTS, FromArrays(U, THETA, MASS), out_size=OUTPUTS, activation="tanh")


def particles(u=U, theta=THETA, mass=MASS, alpha=ALPHA):
    return Particles(*(jnp.asarray(a, float) for a in (u, theta, mass, alpha)))


def array(a):
    return jnp.asarray(a, float)


def terms(u=U, mass=MASS):
    """What unit j adds to f(x_i): [j, i, output]; in 64 bits."""
    return ALPHA * (mass[:, None] * u)[:, None, :] * np.tanh(THETA @ X.T)[:, :, None]


def exact_variance(law):
    """m E|f_m - f|^2, from the definition: the variance of one importance-weighted draw."""
    draws = terms() / law[:, None, None]
    mean = (law[:, None, None] * draws).sum(0)
    return float((law[:, None, None] * (draws - mean) ** 2).sum((0, 2)).mean())


@pytest.mark.core
def test_norms_law_and_variance_are_those_of_the_definitions(relative_tolerance):
    close = {"rtol": 10 * relative_tolerance}
    norms = np.sqrt((np.tanh(THETA @ X.T) ** 2).mean(1))
    np.testing.assert_allclose(feature_norms(NETWORK, particles(), array(X)), norms, **close)
    law = MASS * np.linalg.norm(U, axis=1) * norms
    law /= law.sum()
    np.testing.assert_allclose(optimal_distribution(NETWORK, particles(), array(X)), law, **close)
    for given_law in (law, MASS, np.full(WIDTH, 1 / WIDTH)):
        found = sampling_variance(NETWORK, particles(), array(X), array(given_law))
        np.testing.assert_allclose(found, exact_variance(given_law), **close)
    found = sampling_variance(NETWORK, particles(), array(X))
    np.testing.assert_allclose(found, exact_variance(MASS), **close)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_no_law_has_less_variance_than_the_optimal_one(seed):
    law = np.random.default_rng(seed).dirichlet(np.ones(WIDTH))
    best = np.asarray(optimal_distribution(NETWORK, particles(), array(X)), float)
    assert exact_variance(best / best.sum()) <= exact_variance(law) + 1e-6


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_the_cost_is_jointly_convex_in_rho_and_law(seed, share):
    numbers = np.random.default_rng(seed)
    ends = [(numbers.normal(size=(4, 2)), numbers.dirichlet(np.ones(4))) for _ in range(2)]
    norms = array(numbers.uniform(0.1, 2, size=4))

    def cost(weight):
        rho, law = (weight * a + (1 - weight) * b for a, b in zip(*ends, strict=True))
        return float(representation_cost(array(rho), array(law), norms))

    between, above = cost(share), share * cost(1.0) + (1 - share) * cost(0.0)
    assert between <= above * (1 + 1e-5)


def test_loss_plus_cost_is_convex_in_rho_and_law_and_not_in_u_and_law():
    hidden = array(np.tanh(THETA[:3] @ X.T))
    norms = jnp.sqrt(jnp.mean(hidden**2, axis=1))
    law = array([0.2, 0.3, 0.5])
    target = array(NUMBERS.normal(size=N))

    def of_rho(numbers):
        loss = jnp.mean((numbers[:3] @ hidden - target) ** 2)
        return loss + 0.3 * representation_cost(numbers[:3, None], numbers[3:], norms)

    def of_u(numbers):
        return of_rho(jnp.concatenate([numbers[:3] * numbers[3:], numbers[3:]]))

    rho = array([0.4, -0.1, 0.2])
    curvature = np.linalg.eigvalsh(jax.jit(jax.hessian(of_rho))(jnp.concatenate([rho, law])))
    assert curvature.min() > -1e-4 * curvature.max()
    curvature = np.linalg.eigvalsh(jax.jit(jax.hessian(of_u))(jnp.concatenate([rho / law, law])))
    assert curvature.min() < -1e-2 * curvature.max()


def test_least_cost_is_that_of_the_optimal_law():
    now = particles(alpha=1.0)
    norms = feature_norms(NETWORK, now, array(X))
    rho = now.mass[:, None] * now.u
    least = jnp.sum(jnp.linalg.norm(rho, axis=1) * norms) ** 2
    found = representation_cost(rho, optimal_distribution(NETWORK, now, array(X)), norms)
    np.testing.assert_allclose(found, least, rtol=1e-5)
    assert representation_cost(rho, jnp.zeros(WIDTH), norms) == jnp.inf
    assert representation_cost(jnp.zeros_like(rho), jnp.zeros(WIDTH), norms) == 0


@pytest.mark.parametrize("scheme", ["independent", "systematic"])
def test_samples_have_the_network_as_mean_and_the_variance_of_theory(scheme, key):
    draws, width, now = 4000, 6, particles()
    law = optimal_distribution(NETWORK, now, array(X))

    @jax.jit
    def sampled(key):
        drawn = resample(now, law, key, width, scheme=scheme)
        return jax.vmap(NETWORK.output, (None, 0))(drawn, array(X)), drawn

    f, drawn = jax.vmap(sampled)(jax.random.split(key, draws))
    f, exact = np.asarray(f, float), terms().sum(0)
    error = f.std(0, ddof=1) / np.sqrt(draws)
    assert np.all(np.abs(f.mean(0) - exact) < 4.5 * error)
    square = width * ((f - exact) ** 2).sum(-1).mean(-1)
    measured, error = square.mean(), square.std(ddof=1) / np.sqrt(draws)
    theory = exact_variance(np.asarray(law, float))
    if scheme == "independent":
        assert abs(measured - theory) < 3 * error
    else:
        assert measured < theory - 3 * error  # evenly spaced draws are better
    norms = feature_norms(NETWORK, jax.tree.map(lambda a: a[0], drawn), array(X))
    equal = jnp.linalg.norm(drawn.u[0], axis=1) * norms
    np.testing.assert_allclose(equal, equal[0], rtol=1e-4)


@pytest.mark.core
def test_systematic_draws_are_as_many_as_the_law_says_and_can_change_nothing(key):
    now = particles(mass=np.full(WIDTH, 1 / WIDTH))
    law = array([0.5, 0.25, 0.25, 0, 0, 0, 0])
    drawn = resample(now, law, key, 8, scheme="systematic")
    np.testing.assert_array_equal(drawn.theta, jnp.repeat(now.theta[:3], jnp.array([4, 2, 2]), 0))
    np.testing.assert_allclose(drawn.u[0], now.u[0] / WIDTH / 0.5, rtol=1e-6)
    even = jnp.full(8, 1 / 8)
    again = resample(drawn, even, key, 8, scheme="systematic")
    jax.tree.map(np.testing.assert_array_equal, again, drawn)


def test_a_unit_of_law_zero_is_never_drawn(key):
    law = array([0.3, 0.3, 0.4, 0, 0, 0, 0]).at[2].add(-1e-6)
    drawn = resample(particles(), law, key, 20000)
    assert jnp.all(jnp.isin(drawn.theta[:, 0], particles().theta[:3, 0]))
    assert jnp.all(jnp.isfinite(drawn.u))


@pytest.mark.core
def test_laws_that_are_not_a_number_are_told(key):
    now = particles(u=np.full((WIDTH, OUTPUTS), np.nan))
    law = optimal_distribution(NETWORK, now, array(X))
    assert jnp.all(jnp.isnan(law))
    drawn = jax.jit(lambda law: resample(particles(), law, key, 3))(law)
    assert jnp.all(jnp.isnan(drawn.u))


def test_networks_that_are_zero_keep_their_masses_and_have_finite_slopes():
    now = particles(u=np.zeros((WIDTH, OUTPUTS)))
    np.testing.assert_array_equal(optimal_distribution(NETWORK, now, array(X)), now.mass)
    relu = TwoLayer(INPUTS, Independent(WIDTH), out_size=OUTPUTS)
    slope = jax.jit(jax.grad(lambda p: optimal_distribution(relu, p, -jnp.abs(array(X)))[0]))(
        particles(theta=np.abs(THETA))
    )
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(slope))


def test_derivatives_of_the_variance(relative_tolerance):
    def variance(scale):
        now = particles()
        now = Particles(now.u + scale * now.u**2, now.theta * (1 + scale), now.mass, now.alpha)
        return sampling_variance(
            NETWORK, now, array(X), optimal_distribution(NETWORK, now, array(X))
        )

    at, step = jnp.asarray(0.1), 1e-5 if relative_tolerance < 1e-8 else 1e-2
    forward = jax.jit(jax.vmap(lambda t: jax.jvp(variance, (t,), (jnp.ones(()),))))
    (_, above, below), slopes = forward(at + jnp.array([0, step, -step]))
    np.testing.assert_allclose(jax.jit(jax.grad(variance))(at), slopes[0], rtol=1e-4)
    np.testing.assert_allclose(slopes[0], (above - below) / (2 * step), rtol=1e-2)


@pytest.mark.core
def test_bad_input():
    now, law = particles(), array(MASS)
    draw = jax.random.key(0)
    with pytest.raises(ValueError, match=r"law.shape = \(6,\)"):
        sampling_variance(NETWORK, now, array(X), law[1:])
    with pytest.raises(ValueError, match=r"law.shape = \(6,\)"):
        resample(now, law[1:], draw, 3)
    with pytest.raises(ValueError, match=r"law\[0\] = -0.5"):
        resample(now, law.at[0].set(-0.5), draw, 3)
    with pytest.raises(ValueError, match="sum of law"):
        resample(now, 2 * law, draw, 3)
    with pytest.raises(ValueError, match="width = 0"):
        resample(now, law, draw, 0)
    with pytest.raises((ValueError, TypeCheckError), match="even"):
        resample(now, law, draw, 3, scheme="even")  # pyright: ignore[reportArgumentType]
