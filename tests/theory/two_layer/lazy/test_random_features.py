"""Random features and ridge regression: plain linear algebra, the limit, and trained networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh import FullBatch, TrainingProblem, train
from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.prediction import kernel_regression
from nsh.theory.two_layer import FromArrays, Quadrature, Symmetric, TwoLayer
from nsh.theory.two_layer.lazy.random_features import (
    feature_kernel,
    random_features,
    ridge_regression,
)

RANDOM = np.random.default_rng(0)
X, Y, Z = RANDOM.normal(size=(6, 3)), RANDOM.normal(size=6), RANDOM.normal(size=(4, 3))
KEY = jax.random.key(0)


def network(start):
    return TwoLayer(3, start, activation="erf", trained="u")


def particles(net, alpha=2.0):
    return net.init(KEY, {"alpha": alpha, "learning_rate": 0.1})


@pytest.mark.core
@pytest.mark.parametrize("count", [3, 9])
def test_ridge_is_the_minimum_whichever_matrix_is_solved(count):
    features = RANDOM.normal(size=(6, count))
    targets = np.stack([Y, Y**2], 1)
    for ridge in (0.0, 0.3):
        gram = features.T @ features + ridge * np.eye(count)
        wanted = np.linalg.pinv(gram) @ features.T @ targets
        found = ridge_regression(features, targets, ridge=ridge)
        np.testing.assert_allclose(found.weights, wanted, rtol=2e-3, atol=2e-4)
        assert found.status == Status.SOLVED


@pytest.mark.long
def test_features_tend_to_their_kernel_and_ridge_on_them_to_kernel_ridge():
    exact = feature_kernel("erf", np.concatenate([X, Z]), X)
    limit = kernel_regression(exact[:6], exact[6:], Y, ridge=0.1).mean
    nodes = network(Quadrature(2**14))
    drawn = particles(nodes)
    many = [random_features(nodes, drawn, x) for x in (Z, X)]
    np.testing.assert_allclose(many[0] @ many[1].T, exact[6:], atol=5e-3)
    width, draws = 256, 64

    @jax.jit
    @jax.vmap
    def both(theta):
        net = network(FromArrays(jnp.ones((width, 1)), theta))
        learned, other = (random_features(net, particles(net), x) for x in (X, Z))
        fit = ridge_regression(learned, Y, ridge=0.1)
        return other @ learned.T, fit.predict(other)

    theta = np.random.default_rng(1).normal(size=(draws, width, 3))
    inner, fits = map(np.asarray, both(jnp.asarray(theta, float)))
    error = inner.std(0, ddof=1) / np.sqrt(draws)
    assert np.max(np.abs(inner.mean(0) - exact[6:]) / error) < 4
    assert np.max(error) < 1.3 / np.sqrt(draws * width)  # so that the test can fail
    gap = np.sqrt(np.mean((fits - np.asarray(limit)) ** 2))
    assert gap < 4 * np.std(limit) / np.sqrt(width)


@pytest.mark.parametrize(("width", "alpha"), [(4, 1.0), (24, 5.0)])
def test_training_the_readout_ends_at_least_squares_and_decay_at_ridge(width, alpha):
    """Fewer features than inputs (two distinct ones) and more (twelve)."""
    net = network(Symmetric(width))
    data = net.prepare(X, Y)
    decays = jnp.array([0.0, 0.05])

    @jax.jit
    @jax.vmap
    def trained(decay):
        hyper = {"alpha": alpha, "learning_rate": 2.0, "decay_u": decay}
        problem = TrainingProblem(net, data, hyper, steps=20_000, sampler=FullBatch())
        state = train(problem, KEY).state
        features = random_features(net, state, np.concatenate([X, Z]))
        f = jax.vmap(net.output, (None, 0))(state, jnp.asarray(np.concatenate([X, Z]), float))
        fit = ridge_regression(features[:6], Y, ridge=6 * decay)
        weights = alpha * jnp.sqrt(state.mass) * state.u[:, 0]
        return f[:, 0], fit.predict(features), weights, fit.weights

    f, wanted, weights, fitted = trained(decays)
    np.testing.assert_allclose(f, wanted, atol=0.02)
    np.testing.assert_allclose(weights[1], fitted[1], atol=1e-3)


def test_derivatives_three_ways():
    theta, ridge = RANDOM.normal(size=(4, 3)), np.array(0.2)

    def fit(theta, x, ridge):
        net = network(FromArrays(np.ones((4, 1)), theta))
        features = random_features(net, particles(net), x)
        return ridge_regression(features, Y, ridge=ridge).weights

    check_three_ways(fit, theta, X, ridge)


@pytest.mark.core
def test_features_too_badly_conditioned_for_their_weights_are_told():
    """Squaring them squares the condition."""
    small = 200 * np.finfo(jnp.zeros(()).dtype).eps ** 0.5
    features = np.eye(6, 3) * np.array([1.0, 1.0, small])
    assert ridge_regression(features, Y).status == Status.SOLVED
    assert ridge_regression(features * np.array([1, 1, 1 / 25]), Y).status == Status.INACCURATE


@pytest.mark.core
def test_bad_input():
    net = network(FromArrays(np.ones((3, 1)), np.ones((3, 3))))
    cases = [
        (lambda: ridge_regression(np.ones(3), Y), r"features.shape = \(3,\): must be \(n, feat"),
        (lambda: ridge_regression(np.ones((6, 2)), Y[:5]), r"y.shape = \(5,\): must be \(6,\)"),
        (lambda: ridge_regression(np.ones((6, 2)), Y, ridge=-1.0), "ridge = -1.0: must be >= 0"),
        (lambda: ridge_regression(np.full((6, 2), np.inf), Y), r"features\[0, 0\] = inf"),
        (lambda: random_features(net, particles(net), X[:, :2]), r"x.shape = \(6, 2\)"),
        (lambda: feature_kernel("erf", X[0]), r"x.shape = \(3,\)"),
        (lambda: feature_kernel("erf", X, Z[:, :2]), r"z.shape = \(4, 2\)"),
        (lambda: feature_kernel("erg", X), "activation = 'erg': must be one of"),
    ]
    for act, message in cases:
        with pytest.raises(ValueError, match=message):
            act()
