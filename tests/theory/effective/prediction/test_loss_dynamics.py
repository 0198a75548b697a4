"""Training dynamics on any loss, solved as a differential equation."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import x64
from untyped import linalg

from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.dynamics import mse_dynamics
from nsh.theory.effective.prediction.loss_dynamics import loss_dynamics

RANDOM = np.random.default_rng(0)
N, TESTS, CLASSES = 6, 4, 3
FEATURES = RANDOM.normal(size=(N + TESTS, 9)) / 3
NTK = FEATURES @ FEATURES.T
TRAIN, CROSS = NTK[:N, :N], NTK[N:, :N]
Y = RANDOM.normal(size=(N, CLASSES))
LABELS = np.arange(N) % CLASSES
START = RANDOM.normal(size=(N + TESTS, CLASSES))
STARTS: dict[str, Any] = {"start_train": START[:N], "start_test": START[N:]}
TIMES = np.array([2.0, 0.0, 0.3])


def squared_error(f, y):
    return jnp.sum(optax.losses.l2_loss(f, y))


def cross_entropy(f, labels):
    return jnp.sum(optax.losses.softmax_cross_entropy_with_integer_labels(f, labels))


@pytest.mark.long
def test_squared_error_is_the_closed_form():
    found = loss_dynamics(squared_error, TRAIN, CROSS, Y, TIMES, **STARTS, ridge=0.4)
    exact = mse_dynamics(TRAIN, CROSS, Y, TIMES, **STARTS, ridge=0.4)
    assert found.status == Status.SOLVED
    np.testing.assert_allclose(found.train, exact.train, atol=1e-4)
    np.testing.assert_allclose(found.test, exact.test, atol=1e-4)
    np.testing.assert_array_equal(found.train[1], START[:N].astype(found.train.dtype))
    few = loss_dynamics(squared_error, TRAIN, CROSS, Y, TIMES, **STARTS, max_steps=2)
    assert few.status == Status.DIVERGED
    assert np.all(np.isnan(few.train[0]))
    np.testing.assert_array_equal(few.train[1], found.train[1])


@pytest.mark.long
def test_tolerance_and_error_are_those_of_the_outputs():
    """Of a kernel whose eigenvalues are large: an error of its dual is not one of outputs."""
    train, cross, times = 100 * TRAIN, 100 * CROSS, np.array([0.003, 0.03])
    with x64(True):
        found = loss_dynamics(squared_error, train, cross, Y, times, **STARTS, tolerance=1e-4)
    assert found.status == Status.SOLVED
    for place, time in enumerate(times):
        gone = np.eye(N) - linalg.expm(-train * time)
        moved = np.linalg.solve(train, gone @ (Y - START[:N]))
        off = np.max(np.abs(np.asarray(found.test)[place] - START[N:] - cross @ moved))
        error = np.max(np.asarray(found.error)[place])
        assert off < 1e-4 * np.max(np.abs(START))
        assert off < 10 * error
        assert error < 1e-4 * np.max(np.abs(START))


@pytest.mark.long
def test_cross_entropy_is_what_small_steps_give():
    found = jax.jit(
        lambda start: loss_dynamics(
            cross_entropy, TRAIN, CROSS, LABELS, 2.0, start_train=start, start_test=START[N:]
        )
    )(START[:N].astype(np.float32))
    f, g = START[:N].copy(), START[N:].copy()
    for _ in range(4000):  # midpoint rule
        middle = f - 0.00025 * TRAIN @ _slope(f)
        g -= 0.0005 * CROSS @ _slope(middle)
        f -= 0.0005 * TRAIN @ _slope(middle)
    np.testing.assert_allclose(found.train, f, atol=1e-4)
    np.testing.assert_allclose(found.test, g, atol=1e-4)


def _slope(f):
    odds = np.exp(f - f.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True) - np.eye(CLASSES)[LABELS]


@pytest.mark.long
def test_gradient_by_the_kernel():
    weights = RANDOM.normal(size=(TESTS, CLASSES))

    def objective(scale, time):
        K = NTK * scale
        found = loss_dynamics(
            cross_entropy, K[:N, :N], K[N:, :N], LABELS, time, **STARTS, tolerance=1e-9
        )
        return jnp.sum(found.test * jnp.asarray(weights))

    with x64(True):
        both = jax.jit(jax.value_and_grad(objective, argnums=(0, 1)))
        _, (by_scale, by_time) = both(1.0, 0.7)
        ends = [both(1 + h, 0.7)[0] for h in (1e-4, -1e-4)]
        np.testing.assert_allclose(by_scale, (ends[0] - ends[1]) / 2e-4, rtol=1e-5)
        np.testing.assert_allclose(by_scale, 0.7 * by_time, rtol=1e-5)  # time = scale * time


@pytest.mark.core
def test_bad_input_is_named(monkeypatch):
    def run(loss=squared_error, y=Y, times=1.0, train=TRAIN, start_train=START[:N], **options):
        return loss_dynamics(
            loss, train, CROSS, y, times, start_train=start_train, start_test=START[N:], **options
        )

    cases = [
        ("ntk_train_train", {"train": TRAIN + np.tri(N)}),
        ("times", {"times": np.inf}),
        ("times", {"times": -1.0}),
        ("start_train.shape", {"start_train": START[:2]}),
        ("start_test.shape", {"start_train": START[:N, :2]}),
        ("tolerance", {"tolerance": 0.0}),
        ("max_steps", {"max_steps": 0}),
        ("y", {"y": Y * np.nan}),
        ("y.shape", {"y": np.zeros(START[:N].size)}),
        ("loss(f, y)", {"loss": lambda f, y: f}),
    ]
    for field, options in cases:
        pattern = field.replace(".", r"\.").replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(ValueError, match=pattern):
            run(**options)
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"neurashed\[theory\]"):
        run()
