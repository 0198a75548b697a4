"""Path norms, the variance of a start, Rademacher complexity and the bounds built on it."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untyped import integrate

from nsh.theory.two_layer import (
    Independent,
    TwoLayer,
    approximation_bound,
    clipped_squared_error,
    empirical_rademacher,
    generalisation_bound,
    initial_variance,
    optimal_distribution,
    path_norm,
    rademacher_bound,
    sampling_variance,
)
from nsh.theory.two_layer.particles import Particles

NUMBERS = np.random.default_rng(0)
X = NUMBERS.normal(size=(6, 2))
RELU = TwoLayer(2, Independent(5))
ANGLES = np.linspace(0, 2 * np.pi, 256, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def array(a):
    return jnp.asarray(a, float)


def some_particles(seed, width=5, outputs=1):
    numbers = np.random.default_rng(seed)
    return Particles(
        array(numbers.normal(size=(width, outputs))), array(numbers.normal(size=(width, 2))),
        array(numbers.dirichlet(np.ones(width))), array(1.7),
    )  # fmt: skip


@pytest.mark.core
def test_path_norm(relative_tolerance):
    now = some_particles(0, outputs=3)
    u, theta, mass = (np.asarray(a, float) for a in (now.u, now.theta, now.mass))
    expected = 1.7 * sum(
        m * math.hypot(*v) * math.hypot(*t) for v, t, m in zip(u, theta, mass, strict=True)
    )
    np.testing.assert_allclose(path_norm(now), expected, rtol=10 * relative_tolerance)
    scaled = Particles(now.u * 2, now.theta / 2, now.mass, now.alpha)  # the same f, of relu
    np.testing.assert_allclose(path_norm(scaled), expected, rtol=10 * relative_tolerance)


@pytest.mark.parametrize("name", ["relu", "erf"])
def test_variance_of_starts_against_integrals_and_starts(name, key):
    network = TwoLayer(2, Independent(8), out_size=2, activation=name)
    found = initial_variance(network, array(X), 1.5)
    s = {"relu": lambda z: max(z, 0.0), "erf": math.erf}[name]

    def square(deviation):
        density = lambda z: math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)  # noqa: E731
        return integrate.quad(lambda z: s(deviation * z) ** 2 * density(z), -9, 9, points=[0])[0]

    expected = 1.5**2 * 2 * np.mean([square(math.hypot(*x)) for x in X])
    np.testing.assert_allclose(found, expected, rtol=1e-5)

    @jax.jit
    @jax.vmap
    def squares(key):
        now = network.init(key, {"alpha": 1.5})
        f = jax.vmap(network.output, (None, 0))(now, array(X))
        return 8 * jnp.mean(jnp.sum(f**2, axis=1))

    drawn = np.asarray(squares(jax.random.split(key, 4000)), float)
    assert abs(drawn.mean() - expected) < 3 * drawn.std(ddof=1) / np.sqrt(len(drawn))


@pytest.mark.core
@pytest.mark.parametrize("name", ["relu", "linear", "leaky_relu"])
def test_the_approximation_bound_is_above_the_least_variance(name):
    network = TwoLayer(2, Independent(5), out_size=3, activation=name)

    @jax.jit
    def both(now):
        law = optimal_distribution(network, now, array(X))
        bound = approximation_bound(network, now, array(X))
        return sampling_variance(network, now, array(X), law), bound

    for seed in range(8):
        least, bound = both(some_particles(seed, outputs=3))
        assert least <= bound
    # attained where all units point along the principal axis of the inputs, for a linear network
    axis = jnp.linalg.eigh(array(X).T @ array(X))[1][:, -1]
    now = some_particles(0, outputs=3)
    now = Particles(now.u, jnp.tile(axis, (5, 1)), now.mass, now.alpha)
    if name == "linear":
        least, bound = both(now)
        f = jax.vmap(network.output, (None, 0))(now, array(X))
        np.testing.assert_allclose(least + jnp.mean(jnp.sum(f**2, 1)), bound, rtol=1e-4)


def test_rademacher_complexity_against_all_signs_and_its_bound(key):
    features = np.maximum(X @ CIRCLE.T, 0)
    signs = np.array(list(itertools.product([-1, 1], repeat=len(X))))
    exact = np.abs(signs @ features).max(1).mean() / len(X)
    draws = 4000
    found = np.asarray(empirical_rademacher(RELU, array(X), array(3 * CIRCLE), key, draws), float)
    assert abs(found.mean() - exact) < 3 * found.std(ddof=1) / np.sqrt(draws)
    bound = rademacher_bound(RELU, array(X))
    expected = 2 * np.sqrt((X**2).sum()) / len(X)
    np.testing.assert_allclose(bound, expected, rtol=1e-5)
    assert exact < bound
    leaky = TwoLayer(2, Independent(5), activation=lambda z: jnp.where(z > 0, z, -3 * z))
    np.testing.assert_allclose(rademacher_bound(leaky, array(X)), 3 * expected, rtol=1e-5)


def test_no_network_of_the_class_fits_signs_better_than_the_complexity_says():
    """The supremum over networks of path norm at most 1 is that over single units."""
    sign = NUMBERS.choice([-1.0, 1.0], size=len(X))
    fine = np.linspace(0, 2 * np.pi, 4096)
    units = np.maximum(X @ np.stack([np.cos(fine), np.sin(fine)]), 0)
    largest = np.abs(sign @ units).max() / len(X)

    @jax.jit
    def fit(now):
        f = jax.vmap(RELU.output, (None, 0))(now, array(X))[:, 0]
        return jnp.mean(array(sign) * f) / path_norm(now)

    for seed in range(20):
        assert abs(fit(some_particles(seed))) <= largest * (1 + 1e-5)


def test_the_mean_deviation_is_below_twice_the_complexity():
    """Symmetrisation, over data sets: exact means of relu units on normal inputs."""
    sets = np.random.default_rng(1).normal(size=(400, 12, 2))
    mean = np.maximum(sets @ CIRCLE.T, 0).mean(1)
    deviation = np.abs(mean - 1 / np.sqrt(2 * np.pi)).max(1)
    keys = jax.random.split(jax.random.key(0), len(sets))
    signed = jax.jit(
        jax.vmap(lambda x, k: empirical_rademacher(RELU, x, array(CIRCLE), k, 8).mean())
    )(array(sets), keys)
    assert deviation.mean() < 2 * float(signed.mean())
    assert deviation.mean() > 0.2 * float(signed.mean())


@pytest.mark.core
def test_the_generalisation_bound():
    """By hand, at path norm 2.3, so in the third stratum; constant within it."""
    found = generalisation_bound(array([0.4, 2.3, 2.9]), array(0.1), 50, lipschitz=1.5,
                                 largest=2.0, failure=0.1)  # fmt: skip
    expected = [
        2 * 1.5 * k * 0.1 + 3 * 2.0 * math.sqrt(math.log(2 * k * (k + 1) / 0.1) / 100)
        for k in (1, 3, 3)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    slope = jax.grad(lambda r: generalisation_bound(array(2.3), r, 50, lipschitz=1.5, largest=2.0))(
        array(0.1)
    )
    np.testing.assert_allclose(slope, 9.0, rtol=1e-5)
    # the confidences of all strata sum to `failure`
    k = np.arange(1, 10**5, dtype=float)
    np.testing.assert_allclose((0.1 / (k * (k + 1))).sum(), 0.1, rtol=1e-4)


@pytest.mark.core
def test_the_clipped_loss_has_the_lipschitz_constant_and_range_stated():
    loss = clipped_squared_error(array(np.linspace(-5, 5, 2001)), array(0.5), 1.3)
    assert jnp.all(loss >= 0)
    assert float(loss.max()) == pytest.approx(1.3)
    steepest = float(jnp.max(jnp.abs(jnp.diff(loss)))) / 0.005
    assert 0.98 * math.sqrt(2.6) < steepest <= math.sqrt(2.6) + 1e-3


def test_derivatives(relative_tolerance):
    def numbers(x):
        return jnp.stack([
            initial_variance(RELU, x, 1.0), rademacher_bound(RELU, x),
            approximation_bound(RELU, some_particles(0), x),
            empirical_rademacher(RELU, x, array(CIRCLE), jax.random.key(0), 3).mean(),
        ])  # fmt: skip

    along = array(np.random.default_rng(2).normal(size=X.shape))
    step = 1e-5 if relative_tolerance < 1e-8 else 1e-2
    both = jax.jit(jax.vmap(lambda t: jax.jvp(lambda t: numbers(array(X) + t * along), (t,),
                                              (jnp.ones(()),))))  # fmt: skip
    values, slopes = both(array([0, step, -step]))
    np.testing.assert_allclose(slopes[0], (values[1] - values[2]) / (2 * step), rtol=0.02)
    reverse = jax.jit(jax.jacrev(lambda t: numbers(array(X) + t * along)))(array(0.0))
    np.testing.assert_allclose(reverse, slopes[0], rtol=1e-4)


@pytest.mark.core
def test_bad_input():
    tanh = TwoLayer(2, Independent(5), activation="tanh")
    for call in (
        lambda: rademacher_bound(tanh, array(X)),
        lambda: approximation_bound(tanh, some_particles(0), array(X)),
        lambda: empirical_rademacher(tanh, array(X), array(CIRCLE), jax.random.key(0), 3),
    ):
        with pytest.raises(ValueError, match="activation = 'tanh': must be scale-invariant"):
            call()
    with pytest.raises(ValueError, match="draws = 0"):
        empirical_rademacher(RELU, array(X), array(CIRCLE), jax.random.key(0), 0)
    with pytest.raises(ValueError, match=r"largest = 0\.0"):
        clipped_squared_error(array(1.0), array(0.0), 0.0)
    with pytest.raises(ValueError, match=r"y.shape = \(3, 1\): must be \(3,\)"):
        clipped_squared_error(array([1.0, 2, 3]), array([[1.0], [2], [3]]), 1.0)
    good = {"lipschitz": 1.0, "largest": 1.0, "failure": 0.1}
    for name, bad in (("lipschitz", 0.0), ("largest", -1.0), ("failure", 1.0)):
        with pytest.raises(ValueError, match=f"{name} = {bad}"):
            generalisation_bound(array(1.0), array(0.1), 10, **good | {name: bad})
    for norm, complexity in ((-1.0, 0.1), (np.nan, 0.1), (1.0, -0.1)):
        with pytest.raises(ValueError, match=r"norm = |complexity = "):
            generalisation_bound(array(norm), array(complexity), 10, **good)
    nowhere = array(CIRCLE).at[1].set(0.0)
    with pytest.raises(ValueError, match=r"\|directions\|\[1\] = 0\.0"):
        empirical_rademacher(RELU, array(X), nowhere, jax.random.key(0), 3)
    with pytest.raises(ValueError, match="samples = 0"):
        generalisation_bound(array(1.0), array(0.1), 0, **good)
