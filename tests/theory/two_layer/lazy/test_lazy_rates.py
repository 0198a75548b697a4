"""Rates from the spectrum against simulated training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways
from hypothesis import given, settings
from hypothesis import strategies as st

from nsh.theory.two_layer import Independent, TwoLayer
from nsh.theory.two_layer.lazy.kernel import ntk
from nsh.theory.two_layer.lazy.linearised import Linearised
from nsh.theory.two_layer.lazy.rates import Rates, rates

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=5)
NETWORK = TwoLayer(3, Independent(6), activation="erf")
SYSTEM, KEY, STEPS = Linearised(NETWORK), jax.random.key(1), 60


@pytest.fixture(scope="module")
def trained():
    """Rates of a network's own kernel, the kernel, and outputs of training at three rates."""
    examples = SYSTEM.prepare(X, Y)
    hyper = {"alpha": jnp.asarray(1.0), "learning_rate": jnp.asarray(1.0)}
    start = SYSTEM.init(KEY, hyper)
    kernel = ntk(NETWORK, start.now, X)
    found = rates(kernel)
    eta = jnp.array([0.5, 0.97, 1.03]) * found.largest_learning_rate

    @jax.jit
    @jax.vmap
    def descend(rate):
        def step(state, _):
            outputs = jax.vmap(SYSTEM.output, (None, 0))(state, examples.x)[:, 0]
            return SYSTEM.step(state, examples, hyper | {"learning_rate": rate}, KEY), outputs

        return jax.lax.scan(step, start, length=STEPS + 1)[1]

    return found, np.asarray(kernel, float), np.asarray(eta), np.asarray(descend(eta))


@pytest.mark.long
def test_modes_contract_at_their_rates(trained):
    found, kernel, eta, course = trained
    values, vectors = np.linalg.eigh(kernel / 5)
    np.testing.assert_allclose(found.eigenvalues, values, rtol=1e-4, atol=1e-6)
    assert found.largest_learning_rate == pytest.approx(2 / values[-1], rel=1e-5)
    factors = np.asarray(found.factors(eta))
    assert factors.shape == (3, 5)
    amplitude = np.abs((np.asarray(course) - Y) @ vectors)  # [rate, step, mode]
    powers = factors[:, None] ** np.arange(STEPS + 1)[:, None]
    np.testing.assert_allclose(amplitude, powers * amplitude[:, :1], rtol=2e-3, atol=2e-4)


def test_loss_is_bounded_and_descent_diverges_beyond_the_largest_rate(trained):
    found, _, eta, course = trained
    loss = np.mean((np.asarray(course) - Y) ** 2, axis=-1)
    steps = np.arange(STEPS + 1)
    bound = np.stack([np.asarray(found.loss_bound(rate, steps)) for rate in eta])
    assert np.all(loss <= bound * loss[:, :1] * (1 + 1e-4) + 1e-7)
    assert loss[1, -1] < loss[1, 0]
    assert loss[2, -1] > 3 * loss[2, 0]
    assert bound[2, -1] > 3
    lowest = float(found.eigenvalues[0])
    half = eta[0] * np.array([1.0])  # 1 / lambda_max
    np.testing.assert_allclose(found.loss_bound(half, 9.0), (1 - half * lowest) ** 18, rtol=1e-4)
    assert np.all(bound[0] <= np.exp(-2 * eta[0] * lowest * steps) * (1 + 1e-5))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(eta=st.floats(0.05, 1.9), steps=st.integers(0, 30), mode=st.integers(0, 2))
def test_bound_is_attained_by_the_slowest_mode_alone(eta, steps, mode):
    values = np.array([0.2, 0.7, 1.0])
    found = rates(jnp.asarray(np.diag(3 * values), float))
    mine = np.abs(1 - eta * values) ** (2 * steps)
    assert mine[mode] <= float(found.loss_bound(eta, steps)) * (1 + 1e-5)
    assert float(found.loss_bound(eta, steps)) == pytest.approx(mine.max(), rel=1e-4)


@pytest.mark.core
def test_several_outputs_are_modes_of_one_matrix(relative_tolerance):
    net = TwoLayer(3, Independent(6), out_size=2, activation="erf")
    kernel = np.asarray(ntk(net, net.init(KEY, {"alpha": 1.0, "learning_rate": 1.0}), X))
    flat = kernel.transpose(0, 2, 1, 3).reshape(10, 10)
    wanted = np.linalg.eigvalsh(flat) / 5
    np.testing.assert_allclose(
        rates(jnp.asarray(kernel)).eigenvalues, wanted, atol=10 * relative_tolerance
    )
    singular = rates(jnp.ones((4, 4)))
    np.testing.assert_allclose(singular.eigenvalues, [0, 0, 0, 1], atol=1e-6)
    assert np.all(np.asarray(singular.eigenvalues) >= 0)
    assert float(singular.loss_bound(1.0, 7)) == pytest.approx(1.0)


def test_a_mode_slower_than_rounding_is_gone_in_the_end():
    slow = jnp.asarray([1e-9, 1.0])  # 1 - 1e-9 is 1 in 32 bits
    wanted = np.exp(2e9 * np.log1p(-np.asarray(slow, np.float64)[0]))
    np.testing.assert_allclose(Rates(slow).loss_bound(1.0, 1e9), wanted, rtol=1e-6)
    np.testing.assert_array_equal(Rates(slow).loss_bound(1.0, [0, 0]), 1)


def test_derivatives_three_ways_and_over_kernels():
    def of(x, eta):
        found = rates(x @ x.T)
        return found.factors(eta), found.loss_bound(eta, 3), found.largest_learning_rate

    check_three_ways(of, X[:3], np.array([0.1, 0.2]))
    pair = jnp.asarray(np.stack([X @ X.T, 2 * X @ X.T]), float)
    both = jax.jit(jax.vmap(lambda kernel: rates(kernel).eigenvalues))(pair)
    np.testing.assert_allclose(both[1], 2 * both[0], rtol=1e-4, atol=1e-5)


@pytest.mark.core
def test_slow_modes_and_compiled_code():
    """A mode that does 1e-6 in a step has done 1 - 1 / e^2 of the loss after a million."""
    slow = rates(np.diag([2e-6, 2.0]))
    np.testing.assert_allclose(slow.loss_bound(1.0, 1e6), np.exp(-2), rtol=1e-5)
    assert np.all(np.isnan(jax.jit(rates)(jnp.diag(jnp.asarray([1.0, -0.5]))).eigenvalues))


@pytest.mark.core
def test_bad_input():
    found = rates(jnp.eye(2))
    cases = [
        (lambda: rates(np.ones((2, 3))), r"kernel.shape = \(2, 3\): must be \(n, n\) or"),
        (lambda: rates(np.ones((2, 3, 1, 1))), r"kernel.shape = \(2, 3, 1, 1\)"),
        (lambda: rates(np.array([[1.0, 2.0], [0.0, 1.0]])), "must be equal to its mirror image"),
        (lambda: rates(np.array([[1.0, np.nan], [np.nan, 1.0]])), "nan: must be finite"),
        (lambda: rates(np.array([[1.0, 2.0], [2.0, 1.0]])), "smallest eigenvalue of kernel = -0.5"),
        (lambda: found.factors(0.0), "learning_rate = 0.0: must be > 0"),
        (lambda: found.loss_bound(0.5, [1, -2]), r"steps\[1\] = -2.0: must be >= 0"),
    ]
    for act, message in cases:
        with pytest.raises(ValueError, match=message):
            act()
