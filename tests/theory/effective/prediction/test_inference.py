"""Gaussian-process inference and kernel regression, and how they say what they could not do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways
from hypothesis import given, settings
from hypothesis import strategies as st
from untyped import gaussian_process, kernel_ridge, stats

from nsh.theory.effective.prediction.conditioning import Status, factorise, jitter_schedule
from nsh.theory.effective.prediction.dynamics import mse_dynamics
from nsh.theory.effective.prediction.prediction import gp_predict, kernel_regression

RANDOM = np.random.default_rng(0)
X, Z = RANDOM.normal(size=(12, 2)), RANDOM.normal(size=(7, 2))
Y = RANDOM.normal(size=(12, 3))


RBF = gaussian_process.kernels.RBF


def rbf(a, b):
    return np.asarray(RBF(0.7)(a, b))


def joint(a, b):
    return rbf(a, a), rbf(b, a), rbf(b, b)


def erf_network(x, C_b, C_W, depth=3):
    """NNGP of an erf network, by the closed form of Williams (1997)."""
    K = C_b + C_W * (x @ x.T) / x.shape[1]
    for _ in range(depth - 1):
        scale = 1 + 2 * jnp.diagonal(K)
        angle = 2 * K / jnp.sqrt(scale[:, None] * scale[None])
        K = C_b + C_W * 2 / jnp.pi * jnp.arcsin(angle)
    return K


@pytest.mark.long
def test_agrees_with_scikit_learn():
    known = gaussian_process.GaussianProcessRegressor(RBF(0.7), alpha=0.1, optimizer=None)
    mean, covariance = known.fit(X, Y).predict(Z, return_cov=True)
    found = gp_predict(*joint(X, Z), Y, noise=0.1)
    np.testing.assert_allclose(found.mean, mean, atol=1e-5)
    np.testing.assert_allclose(np.asarray(found.covariance), covariance[..., 0], atol=1e-5)
    np.testing.assert_allclose(found.variance, covariance[..., 0].diagonal(), atol=1e-5)
    expected = known.log_marginal_likelihood_value_
    np.testing.assert_allclose(found.log_marginal_likelihood, expected, rtol=1e-5)
    assert found.status == Status.SOLVED
    assert found.jitter == 0
    train, cross, test = joint(X, Z)
    thin = gp_predict(train, cross, test.diagonal(), Y[:, 0], noise=0.1)
    assert thin.covariance is None
    np.testing.assert_allclose(thin.variance, found.variance, rtol=1e-6)
    np.testing.assert_allclose(thin.mean, found.mean[:, 0], rtol=1e-5, atol=1e-6)
    known = kernel_ridge.KernelRidge(kernel="precomputed", alpha=0.2).fit(train, Y)
    ridge = kernel_regression(train, cross, Y, ridge=0.2)
    np.testing.assert_allclose(ridge.mean, known.predict(cross), atol=1e-5)
    np.testing.assert_allclose(ridge.dual, known.dual_coef_, atol=1e-5)


@pytest.mark.core
def test_one_number():
    found = gp_predict([[2.0]], [[1.0]], [3.0], [0.7], noise=0.5)
    np.testing.assert_allclose(found.mean, [0.7 / 2.5], rtol=1e-6)
    np.testing.assert_allclose(found.variance, [3 - 1 / 2.5], rtol=1e-6)
    expected = stats.norm.logpdf(0.7, scale=np.sqrt(2.5))
    np.testing.assert_allclose(found.log_marginal_likelihood, expected, rtol=1e-6)
    np.testing.assert_allclose(found.condition, 1, rtol=1e-6)


def test_reports_the_condition_number():
    for smallest in (1.0, 1e-1, 1e-3):
        q, _ = np.linalg.qr(RANDOM.normal(size=(30, 30)))
        matrix = (q * np.geomspace(smallest, 1, 30)) @ q.T
        found = jax.jit(factorise)(jnp.asarray(matrix, jnp.float32))
        assert 0.85 / smallest < found.condition < 1.01 / smallest


@pytest.mark.long
def test_error_is_what_kernels_off_by_known_amounts_lead_to():
    random = np.random.default_rng(1)
    x, z = random.normal(size=(40, 3)), random.normal(size=(20, 3))
    train, cross, y = 1.1 * np.eye(40) + rbf(x, x), 1 + rbf(z, x), np.sin(x.sum(1))
    train += 1 - np.eye(40)
    exact = cross @ np.linalg.solve(train, y)
    half, rest = random.normal(size=(8, 40, 40)), random.normal(size=(8, 20, 40))

    @jax.jit
    @jax.vmap
    def found(train, cross, size):
        return kernel_regression(train, cross, y, kernel_error=size)

    for size, status in ((1e-4, Status.SOLVED), (3e-3, Status.INACCURATE)):
        scale = size * train[0, 0]
        off = train + scale * (half + half.swapaxes(1, 2)) / 2**0.5, cross + scale * rest
        several = found(*(part.astype(np.float32) for part in off), np.full(8, size, np.float32))
        np.testing.assert_array_equal(several.status, status)
        error = np.sqrt(np.mean((np.asarray(several.mean) - exact) ** 2))
        assert 1 / 3 < np.sqrt(np.mean(np.asarray(several.error) ** 2)) / error < 3
    pair = (1e-4, np.full((20, 40), 1e-4))
    assert kernel_regression(train, cross, y, kernel_error=pair).status == Status.SOLVED


@pytest.mark.long
def test_error_of_32_bits():
    """Of well and of badly conditioned kernels, by 64 bits."""
    random = np.random.default_rng(0)
    x, z = random.normal(size=(100, 3)), random.normal(size=(20, 3))
    y = np.sin(x.sum(1)) + 0.1 * random.normal(size=100)
    cross = 1 + np.asarray(RBF(1.0)(z, x))
    for ridge in (1e-2, 1e-4):
        train = 1 + np.asarray(RBF(1.0)(x)) + ridge * np.eye(100)
        exact = cross @ np.linalg.solve(train, y)
        train, near, targets = (np.asarray(part, np.float32) for part in (train, cross, y))
        solved = kernel_regression(train, near, targets)
        dynamics = mse_dynamics(train, near, targets, np.array([1.0, np.inf]))
        at_end = mse_dynamics(train, near, targets, np.inf)
        for mean, error in (
            (solved.mean, solved.error),
            (dynamics.test[1], dynamics.error[1]),
            (at_end.test, at_end.error),
        ):
            ratio = np.linalg.norm(error) / np.linalg.norm(mean - exact)
            assert 0.1 < ratio < 10
    assert dynamics.status in (Status.REGULARISED, Status.INACCURATE)


def with_duplicates(count=2):
    x = np.concatenate([X, X[:count]])
    return x, np.concatenate([Y, Y[:count] + 0.5])


def test_duplicate_inputs_get_the_smallest_jitter_of_the_ladder():
    x, y = with_duplicates()
    train, cross, test = (jnp.asarray(part, jnp.float32) for part in joint(x, Z))
    found = gp_predict(train, cross, test, y)
    assert found.status == Status.REGULARISED
    eps = float(np.finfo(np.float32).eps)
    amounts = np.asarray(jitter_schedule(eps))  # the mean diagonal is 1
    place = int(np.argmin(np.abs(amounts - float(found.jitter))))
    np.testing.assert_allclose(found.jitter, amounts[place], rtol=1e-5)
    assert 0 < place < 4
    # exactly duplicated inputs: the same prediction as of one input with the mean target
    merged = Y.copy()
    merged[:2] += 0.25
    expected = np.asarray(rbf(Z, X)) @ np.linalg.solve(rbf(X, X), merged)
    np.testing.assert_allclose(found.mean, expected, atol=0.02)
    assert np.all(found.variance >= 0)
    assert np.isfinite(found.log_marginal_likelihood)
    # with noise there is nothing to regularise
    assert gp_predict(train, cross, test, y, noise=0.1).status == Status.SOLVED


@pytest.mark.thorough
@pytest.mark.core
def test_a_hopeless_matrix_is_data_and_harms_no_other():
    good, cross, test = (jnp.asarray(part, jnp.float32) for part in joint(X, Z))
    good += 0.01 * jnp.eye(12, dtype=good.dtype)
    bad = good.at[0, 1].set(3.0).at[1, 0].set(3.0)
    trains = jnp.stack([good, bad, good * jnp.nan])
    found = jax.vmap(lambda train: gp_predict(train, cross, test, Y))(trains)
    wanted = [Status.SOLVED, Status.NOT_POSITIVE, Status.NOT_POSITIVE]
    np.testing.assert_array_equal(found.status, wanted)
    alone = gp_predict(good, cross, test, Y)
    np.testing.assert_allclose(found.mean[0], alone.mean, rtol=1e-4, atol=1e-5)
    for part in jax.tree.leaves((found.mean, found.covariance, found.log_marginal_likelihood)):
        assert np.all(np.isfinite(part[0]))
        assert np.all(np.isnan(part[1:]))
    assert np.all(np.isinf(found.condition[1:]))
    # a test kernel that is too small for the training kernel
    wrong = gp_predict(good, cross, test / 10, Y)
    assert wrong.status == Status.NEGATIVE_VARIANCE
    assert np.all(wrong.variance >= 0)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.floats(0, 1), st.integers(0, 1000))
def test_variances_lie_between_zero_and_the_prior(rank, noise, seed):
    features = np.random.default_rng(seed).normal(size=(8, rank))
    K = jnp.asarray(features @ features.T, jnp.float32)
    found = gp_predict(K[:5, :5], K[5:, :5], K[5:, 5:], np.arange(5.0), noise=noise)
    assert found.status in (Status.SOLVED, Status.REGULARISED, Status.INACCURATE)
    assert np.all(found.variance >= 0)
    assert np.all(found.variance <= K.diagonal()[5:] * (1 + 1e-6))
    assert np.all(np.isfinite(found.mean))


@pytest.mark.long
def test_derivatives_by_hyperparameters_three_ways():
    """Also where jitter is needed: without noise, with a duplicated input."""
    x, y = np.concatenate([X, X[:1], X[:2] + 0.3]), np.concatenate([Y, Y[:1]])

    def found(C_b, C_W):
        K = erf_network(jnp.asarray(x), C_b, C_W)
        n = len(y)

        def at(noise):
            return gp_predict(K[:n, :n], K[n:, :n], K[n:, n:], y, noise=noise)

        both = jax.vmap(at)(jnp.array([0.1, 0.0]))
        return both.log_marginal_likelihood[0], both.mean, both.covariance

    check_three_ways(found, 0.2, 1.4, tolerance=1e-4)


@pytest.mark.core
def test_bad_input_is_named():
    train, cross, test = joint(X, Z)
    y = Y
    cases = [
        ("kernel_train_train.shape", (train[:5], cross, test, y), {}),
        ("kernel_train_train.shape", (np.zeros((0, 0)), cross, test, y), {}),
        ("kernel_train_train", (train + np.triu(np.ones((12, 12)), 1), cross, test, y), {}),
        ("diagonal of kernel_train_train", (train - 2 * np.eye(12), cross, test, y), {}),
        ("kernel_train_train", (train * np.nan, cross, test, y), {}),
        ("kernel_train_train.dtype", (train * 1j, cross, test, y), {}),
        ("kernel_test_train.shape", (train, cross.T, test, y), {}),
        ("kernel_test_train", (train, cross * np.inf, test, y), {}),
        ("kernel_test_test.shape", (train, cross, test[:3, :3], y), {}),
        ("kernel_test_test", (train, cross, -test.diagonal(), y), {}),
        ("y.shape", (train, cross, test, y[:5]), {}),
        ("y.shape", (train, cross, test, y[..., None]), {}),
        ("y", (train, cross, test, y * np.nan), {}),
        ("noise", (train, cross, test, y), {"noise": -0.1}),
        ("noise.shape", (train, cross, test, y), {"noise": [0.1, 0.2]}),
    ]
    for field, arguments, options in cases:
        with pytest.raises(ValueError, match=field.replace(".", r"\.")):
            gp_predict(*arguments, **options)
    with pytest.raises(ValueError, match="ridge"):
        kernel_regression(train, cross, y, ridge=-1.0)
    with pytest.raises(ValueError, match="kernel_error"):
        kernel_regression(train, cross, y, kernel_error=-1.0)
    with pytest.raises(ValueError, match=r"kernel_error of test_train\.shape"):
        gp_predict(train, cross, test, y, kernel_error=(0.0, cross.T))
    with pytest.raises(ValueError, match=r"kernel_test_train\.shape"):
        jax.jit(gp_predict)(train, cross.T, test, y)
