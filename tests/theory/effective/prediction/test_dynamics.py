"""Closed-form training dynamics against actual training, exact limits and derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_second_derivatives, check_three_ways, x64
from untyped import linalg

from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.dynamics import (
    ensemble_dynamics,
    largest_learning_rate,
    mse_dynamics,
)
from nsh.theory.effective.prediction.prediction import gp_predict, kernel_regression

RANDOM = np.random.default_rng(0)
N, TESTS, WEIGHTS, CLASSES = 6, 4, 9, 2
FEATURES = RANDOM.normal(size=(N + TESTS, WEIGHTS)) / 3
SPREAD = np.diag(np.linspace(0.2, 2.0, WEIGHTS))  # of the weights before training
NTK, NNGP = FEATURES @ FEATURES.T, FEATURES @ SPREAD @ FEATURES.T
Y = RANDOM.normal(size=(N, CLASSES))
START = RANDOM.normal(size=(N + TESTS, CLASSES))
STEPS, RATE = np.array([0.0, 1, 2, 7, 50]), 0.3


def parts(K):
    return K[:N, :N], K[N:, :N], K[N:, N:]


@pytest.mark.long
def test_is_what_gradient_descent_of_a_linear_model_does():
    """And over random initial weights, exactly: outputs are affine in them."""
    train, test = FEATURES[:N], FEATURES[N:]
    start = np.random.default_rng(2).normal(size=(WEIGHTS, CLASSES))
    found = mse_dynamics(
        *parts(NTK)[:2], Y, STEPS, learning_rate=RATE,
        start_train=train @ start, start_test=test @ start,
    )  # fmt: skip
    ensemble = ensemble_dynamics(*parts(NTK)[:2], *parts(NNGP), Y, STEPS, learning_rate=RATE)
    spread = np.asarray(ensemble.covariance)
    w, from_start, mean = start.copy(), np.eye(WEIGHTS), np.zeros_like(start)
    at = 0
    for step in range(int(STEPS[-1]) + 1):
        if step == STEPS[at]:
            np.testing.assert_allclose(found.train[at], train @ w, atol=2e-5)
            np.testing.assert_allclose(found.test[at], test @ w, atol=2e-5)
            np.testing.assert_allclose(ensemble.mean[at], test @ mean, atol=2e-5)
            covariance = test @ from_start @ SPREAD @ from_start.T @ test.T
            np.testing.assert_allclose(spread[at], covariance, atol=2e-5)
            np.testing.assert_allclose(ensemble.variance[at], covariance.diagonal(), atol=2e-5)
            at += 1
        w -= RATE * train.T @ (train @ w - Y)
        mean -= RATE * train.T @ (train @ mean - Y)
        from_start -= RATE * train.T @ train @ from_start
    assert at == len(STEPS)
    assert found.status == Status.SOLVED
    assert ensemble.status == Status.SOLVED
    np.testing.assert_allclose(found.condition, np.linalg.cond(NTK[:N, :N]), rtol=1e-3)


def test_is_what_momentum_and_a_penalty_make_of_a_linear_model():
    """Trained by steps, from random weights, to which the penalty draws back."""
    train, test = FEATURES[:N], FEATURES[N:]
    numbers = {"learning_rate": RATE, "momentum": 0.6, "ridge": 0.3}
    start = np.random.default_rng(2).normal(size=(WEIGHTS, CLASSES))
    found = mse_dynamics(
        *parts(NTK)[:2], Y, STEPS, start_train=train @ start, start_test=test @ start, **numbers
    )
    ensemble = ensemble_dynamics(*parts(NTK)[:2], *parts(NNGP), Y, STEPS, **numbers)
    # of targets and starts: the weights are linear in both
    w, from_y, from_start = start.copy(), np.zeros((WEIGHTS, N)), np.eye(WEIGHTS)
    before: Any = (w, from_y, from_start)
    first = start, np.zeros_like(from_y), np.eye(WEIGHTS)
    targets = Y, np.eye(N), np.zeros((N, WEIGHTS))
    now: Any = before
    at = 0
    for step in range(int(STEPS[-1]) + 1):
        if step == STEPS[at]:
            w, from_y, from_start = now
            np.testing.assert_allclose(found.train[at], train @ w, atol=2e-5)
            np.testing.assert_allclose(found.test[at], test @ w, atol=2e-5)
            np.testing.assert_allclose(ensemble.mean[at], test @ from_y @ Y, atol=2e-5)
            spread = test @ from_start @ SPREAD @ from_start.T @ test.T
            np.testing.assert_allclose(ensemble.variance[at], spread.diagonal(), atol=2e-5)
            at += 1
        slopes = [
            train.T @ (train @ one - y) + 0.3 * (one - begun)
            for one, y, begun in zip(now, targets, first, strict=True)
        ]
        moved = [
            one - RATE * slope + 0.6 * (one - last)
            for one, slope, last in zip(now, slopes, before, strict=True)
        ]
        before, now = now, moved
    assert at == len(STEPS)
    assert found.status == Status.SOLVED
    ended = mse_dynamics(*parts(NTK)[:2], Y, np.inf, **numbers)
    regression = kernel_regression(*parts(NTK)[:2], Y, ridge=0.3)
    np.testing.assert_allclose(ended.test, regression.mean, atol=1e-5)


@pytest.mark.long
def test_derivatives_by_momentum_and_ridge_three_ways():
    times = np.array([0.0, 1, 6, np.inf])

    def found(train, rate, momentum, ridge):
        numbers = {"learning_rate": rate, "momentum": momentum, "ridge": ridge}
        return mse_dynamics((train + train.T) / 2, NTK[N:, :N], Y, times, **numbers).test

    check_three_ways(found, NTK[:N, :N], 0.3, 0.4, 0.2, tolerance=1e-5)


@pytest.mark.long
def test_gradient_flow_from_start_to_end():
    times = np.array([[0.0, 0.5], [20.0, np.inf]])
    train, cross, _ = parts(NTK)
    found = mse_dynamics(train, cross, Y, times, start_train=START[:N], start_test=START[N:])
    assert found.train.shape == (2, 2, N, CLASSES)
    assert found.test.shape == (2, 2, TESTS, CLASSES)
    for place in np.ndindex(2, 2):
        left = np.zeros((N, N)) if np.isinf(times[place]) else linalg.expm(-train * times[place])
        outputs = Y + left @ (START[:N] - Y)
        np.testing.assert_allclose(found.train[place], outputs, atol=2e-5)
        change = cross @ np.linalg.solve(train, (np.eye(N) - left) @ (Y - START[:N]))
        np.testing.assert_allclose(found.test[place], START[N:] + change, atol=5e-5)
    np.testing.assert_array_equal(found.train[0, 0], START[:N].astype(found.train.dtype))
    # one output, no start, one time: the mean over initialisations
    mean = mse_dynamics(train, cross, Y[:, 0], np.inf)
    regression = kernel_regression(train, cross, Y[:, 0])
    np.testing.assert_allclose(mean.test, regression.mean, atol=1e-4)
    np.testing.assert_allclose(mean.train, Y[:, 0], atol=1e-5)
    # small steps are the flow
    steps = mse_dynamics(
        train, cross, Y, times * 1000, learning_rate=1e-3,
        start_train=START[:N], start_test=START[N:],
    )  # fmt: skip
    np.testing.assert_allclose(steps.test, found.test, atol=2e-3)


@pytest.mark.long
@pytest.mark.core
def test_training_the_readout_alone_is_bayesian_inference():
    """With NTK = NNGP the spread at the end is the posterior's (Lee et al., section 2.3.1)."""
    train, cross, test = parts(NNGP)
    found = ensemble_dynamics(train, cross, train, cross, test, Y, np.array([0.0, np.inf]))
    posterior = gp_predict(train, cross, test, Y)
    np.testing.assert_allclose(found.mean[1], posterior.mean, atol=1e-4)
    spread = np.asarray(found.covariance)
    np.testing.assert_allclose(spread[1], np.asarray(posterior.covariance), atol=1e-4)
    np.testing.assert_allclose(spread[0], test, atol=1e-6)
    np.testing.assert_array_equal(found.mean[0], 0)
    thin = ensemble_dynamics(train, cross, train, cross, test.diagonal(), Y, np.inf)
    np.testing.assert_allclose(thin.variance, found.variance[1], atol=1e-6)
    assert thin.covariance is None


@pytest.mark.long
def test_duplicate_inputs_move_together_and_failures_are_data():
    twice = [0, *range(N)]
    train, cross = NTK[np.ix_(twice, twice)], NTK[N:, twice]
    y = np.concatenate([Y[:1] + 1, Y])
    good = mse_dynamics(train, cross, y, np.inf)
    assert good.status == Status.REGULARISED
    assert np.isinf(good.condition)
    np.testing.assert_allclose(good.train[:2], np.stack([Y[0] + 0.5] * 2), atol=1e-4)
    merged = np.concatenate([Y[:1] + 0.5, Y[1:]])
    np.testing.assert_allclose(good.test, mse_dynamics(*parts(NTK)[:2], merged, np.inf).test,
                               atol=1e-3)  # fmt: skip
    bad = train - np.diag(train.diagonal()) / 2
    batch = jax.vmap(lambda K: mse_dynamics(K, cross, y, np.inf))(
        jnp.stack([train, bad, np.nan * train])
    )
    wanted = [Status.REGULARISED, Status.NOT_POSITIVE, Status.NOT_POSITIVE]
    np.testing.assert_array_equal(batch.status, wanted)
    np.testing.assert_allclose(batch.test[0], good.test, atol=1e-4)
    assert np.all(np.isnan(batch.test[1:]))
    wrong = ensemble_dynamics(train, cross, train, cross, NTK[N:, N:] / 20, y, np.inf)
    assert wrong.status == Status.NEGATIVE_VARIANCE
    assert np.all(wrong.variance >= 0)


@pytest.mark.parametrize("momentum", [None, 0.5])
def test_learning_rates_too_large_diverge(momentum):
    train, cross, _ = parts(NTK)
    critical = largest_learning_rate(train, momentum=momentum or 0.0)
    exact = 2 * (1 + (momentum or 0)) / np.linalg.eigvalsh(train)[-1]
    np.testing.assert_allclose(critical, exact, rtol=1e-5)
    rates = critical * jnp.asarray([0.5, 0.98, 1.05], critical.dtype)
    found = jax.vmap(
        lambda rate: mse_dynamics(train, cross, Y, 200, learning_rate=rate, momentum=momentum)
    )(rates)
    np.testing.assert_array_equal(found.status, [Status.SOLVED, Status.SOLVED, Status.DIVERGED])
    size = np.abs(found.train).max((1, 2))
    assert size[1] < 10
    assert size[2] > 1e4


@pytest.mark.long
def test_a_direction_learned_in_one_step_has_derivatives_before_it():
    def start(rate):
        one = jnp.eye(2)
        decay = {"learning_rate": rate}
        return mse_dynamics(one, one, jnp.ones(2), jnp.asarray([0.0, 1, 2]), **decay).test

    with x64(True):
        slope = jax.jacfwd(start)(jnp.asarray(1.0))
    np.testing.assert_allclose(slope, [[0, 0], [1, 1], [0, 0]], atol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("rate", [None, 0.1])
def test_derivatives_three_ways_also_where_eigenvalues_coincide(rate):
    random = np.random.default_rng(1)
    q, _ = np.linalg.qr(random.normal(size=(N, N)))
    train = (q * np.array([1.0, 1.0, 1.0, 3.0, 3.0, 10.0])) @ q.T  # rate * 10 = 1: dead at once
    cross = random.normal(size=(TESTS, N))
    times = np.array([0.0, 0.4, 5.0, np.inf]) if rate is None else np.array([0.0, 1, 6, np.inf])

    def found(train, cross, y, start, rate):
        train = (train + train.T) / 2
        decay = {} if rate is None else {"learning_rate": rate}
        course = mse_dynamics(train, cross, y, times, start_train=start,
                              start_test=jnp.zeros((TESTS, CLASSES)), **decay)  # fmt: skip
        prior = jnp.asarray(NNGP[:N, :N]), jnp.asarray(NNGP[N:, :N]), jnp.asarray(NNGP[N:, N:])
        spread = ensemble_dynamics(train, cross, *prior, y, times, **decay)
        return course.test, course.train, spread.covariance

    check_three_ways(found, train, cross, Y, START[:N], rate, tolerance=1e-5)


@pytest.mark.long
def test_second_derivatives_also_of_singular_kernels_and_coinciding_eigenvalues():
    random = np.random.default_rng(1)
    q, _ = np.linalg.qr(random.normal(size=(4, 4)))
    features = q[:, :3] * np.sqrt([1.0, 1.0, 2.5])  # eigenvalues 0, 1, 1 and 2.5

    def found(features, cross, y, time):
        train, times = features @ features.T, jnp.stack([0.0, time, np.inf])
        return mse_dynamics(train, cross @ train, y, times).test

    check_second_derivatives(
        found, features, random.normal(size=(1, 4)), random.normal(size=4), np.array(0.7)
    )


@pytest.mark.long
def test_third_derivative_of_a_direction_learned_in_one_step():
    """Of ``(1 - (1 - c)^4) / c = 4 - 6 c + 4 c^2 - c^3``, in modes nested three deep."""

    def found(c):
        return mse_dynamics(c * jnp.eye(2), jnp.eye(2), jnp.ones(2), 4.0, learning_rate=1).test[0]

    with x64(True):
        third = jax.jacfwd(jax.grad(jax.jacfwd(found)))(jnp.asarray(1.0))
    np.testing.assert_allclose(third, -6, rtol=1e-12)


@pytest.mark.long
def test_one_step_of_rate_one_over_the_eigenvalue():
    """All gone, and still the derivative of ``rate * eigenvalue``."""

    def found(eigenvalue, rate):
        return mse_dynamics(eigenvalue, [[1.0]], [2.0], 1, learning_rate=rate).train

    eigenvalue, rate = jnp.full((1, 1), 4.0), jnp.asarray(0.25)
    by_both = jax.jacobian(found, argnums=(0, 1))(eigenvalue, rate)
    np.testing.assert_allclose(by_both[0].squeeze(), 2 * 0.25, rtol=1e-6)
    np.testing.assert_allclose(by_both[1].squeeze(), 2 * 4.0, rtol=1e-6)
    rates, steps = np.array([0.3, 0.4, 0.49]), np.array([2.0, 3.0])  # overshooting
    outputs = jax.vmap(
        lambda rate: mse_dynamics(eigenvalue, [[1.0]], [2.0], steps, learning_rate=rate).train
    )(jnp.asarray(rates, jnp.float32))
    expected = 2 - 2 * (1 - 4 * rates[:, None]) ** steps
    np.testing.assert_allclose(outputs.squeeze(-1), expected, rtol=1e-5)


def test_derivatives_by_time():
    def found(times):
        return mse_dynamics(*parts(NTK)[:2], Y, times).test

    check_three_ways(found, np.array([0.0, 0.5, 4.0]))


@pytest.mark.core
def test_bad_input_is_named():
    train, cross, test = parts(NTK)
    cases = [
        ("ntk_train_train.shape", (train[:3], cross, Y, 1.0), {}),
        ("ntk_train_train", (train + np.tri(N), cross, Y, 1.0), {}),
        ("ntk_test_train.shape", (train, cross.T, Y, 1.0), {}),
        ("y.shape", (train, cross, Y[:2], 1.0), {}),
        ("times", (train, cross, Y, [1.0, -1.0]), {}),
        ("times", (train, cross, Y, np.nan), {}),
        ("times", (train, cross, Y, 1.5), {"learning_rate": 0.1}),
        ("learning_rate", (train, cross, Y, 1), {"learning_rate": 0.0}),
        ("learning_rate", (train, cross, Y, 1), {"learning_rate": np.inf}),
        ("momentum", (train, cross, Y, 1), {"momentum": 0.5}),
        ("momentum", (train, cross, Y, 1), {"learning_rate": 0.1, "momentum": 1.0}),
        ("ridge", (train, cross, Y, 1.0), {"ridge": -1.0}),
        ("start_train.shape", (train, cross, Y, 1.0), {"start_train": Y[:2]}),
        ("start_test.shape", (train, cross, Y, 1.0), {"start_test": Y}),
    ]
    for field, arguments, options in cases:
        with pytest.raises(ValueError, match=field.replace(".", r"\.")):
            mse_dynamics(*arguments, **options)
    with pytest.raises(ValueError, match=r"nngp_train_train\.shape"):
        ensemble_dynamics(train, cross, np.eye(3), cross, test, Y, 1.0)
    with pytest.raises(ValueError, match=r"nngp_test_train\.shape"):
        ensemble_dynamics(train, cross, train, cross[:1], test, Y, 1.0)
    with pytest.raises(ValueError, match=r"nngp_test_test\.shape"):
        ensemble_dynamics(train, cross, train, cross, test[:1, :1], Y, 1.0)
