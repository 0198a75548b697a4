"""Taylor polynomials of modules: exact ones, and training as the kernel says."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nsh import FullBatch, TrainingProblem, train
from nsh.networks import MLP, Network, Regression, Taylor
from nsh.theory.effective import empirical_ntk, mse_dynamics

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
X, Z, Y = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(2, 3)), RANDOM.normal(size=(4, 2))


def mlp(key, activation=jnp.tanh):
    return MLP((3, 6, 2), activation, key=key)


def moved_by(expansion, size):
    parameters, rest = eqx.partition(expansion.now, eqx.is_inexact_array)
    now = eqx.combine(jax.tree.map(lambda a: a + size, parameters), rest)
    return eqx.tree_at(lambda t: t.now, expansion, now), now


@pytest.mark.core
def test_order_k_is_off_by_the_next_power(relative_tolerance):
    """And a polynomial of degree k is its own expansion of order k."""
    polynomial = mlp(KEY, jnp.square)
    x = jnp.asarray(X[0], float)
    expansion, now = moved_by(Taylor(polynomial, 3), 0.5)  # 2 + 1: of degree 3 in weights
    scale = 100 * relative_tolerance
    np.testing.assert_allclose(expansion(x), now(x), rtol=scale, atol=scale)
    lower, _ = moved_by(Taylor(polynomial, 2), 0.5)
    assert np.max(np.abs(lower(x) - now(x))) > 0.01
    ratios = []
    for order in (1, 2):
        gaps = []
        for size in (0.1, 0.05):
            expansion, now = moved_by(Taylor(mlp(KEY), order), size)
            gaps.append(float(jnp.max(jnp.abs(expansion(x) - now(x)))))
        ratios.append(gaps[0] / gaps[1])
    np.testing.assert_allclose(ratios, [4, 8], rtol=0.2)


def test_linearised_network_trains_as_its_kernel_says():
    steps, rate = 30, 0.3
    system = Network(lambda key: Taylor(mlp(key)), optax.sgd, Regression())
    hyper = {"optimiser": {"learning_rate": rate}}
    examples = system.prepare(X, Y)
    problem = TrainingProblem(system, examples, hyper, steps=steps, sampler=FullBatch())
    run = train(problem, KEY)
    trained = system.module(run.state)
    module, every = trained.start, jnp.asarray(np.concatenate([X, Z]), float)
    kernel = np.asarray(empirical_ntk(module, every, every[:4]), np.float64)
    np.testing.assert_allclose(empirical_ntk(Taylor(module), every, every[:4]), kernel, atol=1e-4)
    flat = kernel.transpose(0, 2, 1, 3).reshape(12, 8)
    start = np.asarray(jax.vmap(module)(every)).ravel()
    # the loss is a mean over outputs and examples of (f - y)^2, of which the slope has a 2
    course = mse_dynamics(
        (flat[:8] + flat[:8].T) / 2, flat[8:], Y.ravel(), [steps], learning_rate=2 * rate / 8,
        start_train=start[:8], start_test=start[8:],
    )  # fmt: skip
    found = np.asarray(jax.vmap(trained)(every))
    np.testing.assert_allclose(found[:4].ravel(), course.train[0], atol=1e-5)
    np.testing.assert_allclose(found[4:].ravel(), course.test[0], atol=1e-5)
    own = np.asarray(jax.vmap(trained.now)(every))
    assert np.max(np.abs(own - found)) > 0.01  # it is not the network itself


def test_decay_leaves_the_start_and_a_state_is_passed_on():
    class Normed(eqx.Module):
        layer: eqx.nn.Linear
        norm: eqx.nn.BatchNorm

        def __init__(self, key):
            self.layer = eqx.nn.Linear(3, 2, key=key)
            self.norm = eqx.nn.BatchNorm(2, "batch", mode="batch")

        def __call__(self, x, state):
            return self.norm(self.layer(x), state)

    def make(key):
        module, state = eqx.nn.make_with_state(Normed)(key)
        return Taylor(module), state

    with jax.numpy_dtype_promotion("standard"):  # which BatchNorm needs
        linear, own = (Network(m, optax.adamw, Regression()) for m in (make, Normed))
        hyper = {"optimiser": {"learning_rate": 0.1, "weight_decay": 0.5}}
        examples = linear.prepare(X, Y)
        before, start = (eqx.filter_jit(one.init)(KEY, hyper) for one in (linear, own))
        after = eqx.filter_jit(linear.step)(before, examples, hyper, KEY)
        other = eqx.filter_jit(own.step)(start, examples, hyper, KEY)
    # from w = w_0 the first step is the network's own
    for a, b in zip(jax.tree.leaves(after.params.now), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for a, b in zip(
        jax.tree.leaves(after.module_state), jax.tree.leaves(other.module_state), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for a, b in zip(
        jax.tree.leaves(after.params.start), jax.tree.leaves(before.params.start), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.core
def test_bad_orders():
    for complaint, call in {
        "order = 0": lambda: Taylor(mlp(KEY), 0),
        "module = 3": lambda: Taylor(3),
    }.items():
        with pytest.raises(ValueError, match=complaint):
            call()
