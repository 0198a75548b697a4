"""Linearised training against closed forms, and as a System like any other."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh import FullBatch, SaveAt, TrainingProblem, ensemble, train
from nsh.theory.effective.prediction.dynamics import mse_dynamics
from nsh.theory.two_layer import FromArrays, Independent, Symmetric, TwoLayer, softmax_cross_entropy
from nsh.theory.two_layer.lazy.kernel import ntk
from nsh.theory.two_layer.lazy.linearised import Linearised, Tangent
from nsh.training import hypergradient

RANDOM = np.random.default_rng(0)
X, Y, Z = RANDOM.normal(size=(6, 3)), RANDOM.normal(size=6), RANDOM.normal(size=(4, 3))
KEY, STEPS, ETA = jax.random.key(0), 40, 0.5
START = FromArrays(RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(4, 3)))
HYPER = {"alpha": 2.0, "learning_rate": ETA}


def outputs(system, state):
    """On training and test inputs."""
    x = jnp.asarray(np.concatenate([X, Z]), float)
    return jax.vmap(system.output, (None, 0))(state, x)


def seen(now):
    return outputs(now.system, now.state)


@eqx.filter_jit
def train_all(system, examples, keys, alphas: Any = HYPER["alpha"]):
    """Full-batch training with each key and each alpha, outputs recorded."""

    def one(key, alpha):
        hyper = {"alpha": alpha, "learning_rate": ETA}
        problem = TrainingProblem(
            system, examples, hyper, steps=STEPS, sampler=FullBatch(), save=SaveAt(seen, every=10)
        )
        return train(problem, key)

    return jax.vmap(one)(keys, jnp.broadcast_to(jnp.asarray(alphas, float), keys.shape))


@pytest.mark.long
def test_is_what_the_closed_form_says():
    network = TwoLayer(3, Independent(8), activation="erf")
    system = Linearised(network)
    run = train_all(system, system.prepare(X, Y), jax.random.split(KEY, 3))
    found, steps = np.asarray(run.saved)[..., 0], run.times[0]  # [seed, time, input], [time]
    for seed in range(3):
        start = jax.tree.map(lambda leaf, seed=seed: leaf[seed], run.state.start)
        begin = found[seed, 0]
        np.testing.assert_allclose(begin, outputs(network, start)[:, 0], atol=1e-6)
        kernel = np.asarray(ntk(network, start, np.concatenate([X, Z]), X), np.float64)
        train_kernel = jnp.asarray((kernel[:6] + kernel[:6].T) / 2, float)
        course = mse_dynamics(
            train_kernel, kernel[6:], Y, steps, learning_rate=ETA / 6,
            start_train=begin[:6], start_test=begin[6:],
        )  # fmt: skip
        np.testing.assert_allclose(found[seed, :, :6], course.train, atol=3e-5)
        np.testing.assert_allclose(found[seed, :, 6:], course.test, atol=3e-5)
        step = np.eye(6) - ETA / 6 * kernel[:6]
        for place, count in enumerate(steps):
            left = np.linalg.matrix_power(step, int(count)) @ (begin[:6] - Y)
            np.testing.assert_allclose(found[seed, place, :6], Y + left, atol=3e-5)
    assert np.max(np.abs(found[:, -1, :6] - Y)) < 0.7 * np.max(np.abs(found[:, 0, :6] - Y))


def test_a_network_is_its_linearisation_once_it_is_lazy_but_not_before():
    network = TwoLayer(3, Symmetric(16), activation="erf")
    keys, alphas = jnp.stack([KEY] * 3), jnp.array([1.0, 20.0, 80.0])
    own, linear = (
        train_all(s, s.prepare(X, Y), keys, alphas).saved[:, -1]
        for s in (network, Linearised(network))
    )
    gaps = np.sqrt(np.mean((own - linear) ** 2, axis=(1, 2)))
    assert gaps[0] > 0.1
    # the start being symmetric, only even powers of 1 / alpha are left
    np.testing.assert_allclose(gaps[1] / gaps[2], 16, rtol=0.2)


def test_training_the_readout_alone_is_linear_already():
    """Whatever the loss, with decay and noise, as long as the key is the same."""
    network = TwoLayer(3, START, out_size=3, trained="u", loss=softmax_cross_entropy)
    linear = Linearised(network)
    examples = network.prepare(X, np.arange(6) % 3)
    hyper = HYPER | {"decay_u": 0.1, "temperature": 0.01}
    state, tangent = network.init(KEY, hyper), linear.init(KEY, hyper)
    steps = eqx.filter_jit(network.step), eqx.filter_jit(linear.step)
    for key in jax.random.split(KEY, 3):
        state = steps[0](state, examples, hyper, key)
        tangent = steps[1](tangent, examples, hyper, key)
    assert np.max(np.abs(np.asarray(state.u) - tangent.start.u)) > 0.1
    np.testing.assert_allclose(state.u, tangent.now.u, atol=1e-5)
    one = jax.tree.map(lambda leaf: leaf[0], examples)
    np.testing.assert_allclose(network.outputs(state, one), linear.outputs(tangent, one), atol=1e-5)
    hidden = np.maximum(np.asarray(START.theta) @ X[0], 0)
    np.testing.assert_allclose(linear.features(tangent, one)[0], hidden, rtol=1e-5, atol=1e-6)


SYSTEM = Linearised(TwoLayer(3, Independent(4), activation="erf"))


def loss(run):
    return jnp.mean((outputs(SYSTEM, run.state)[6:, 0] - 1) ** 2)


@pytest.mark.long
def test_hypergradients():
    examples = SYSTEM.prepare(X, Y)
    problem = TrainingProblem(SYSTEM, examples, HYPER, steps=STEPS, sampler=FullBatch())
    found = hypergradient(loss, problem, KEY, seeds=1)
    assert bool(jnp.all(found.valid))
    rates = jnp.array([1.02, 1.0, 0.98]) * ETA
    hypers = {"alpha": jnp.full_like(rates, 2.0), "learning_rate": rates}
    problem = dataclasses.replace(problem, hyper=hypers, grid_ndim=1)
    state = ensemble(problem, KEY, seeds=1).state
    ends = jax.vmap(jax.vmap(lambda state: outputs(SYSTEM, state)[6:, 0]))(state)
    above, at, below = np.mean((np.asarray(ends)[:, 0] - 1) ** 2, axis=1)
    np.testing.assert_allclose(found.value, [at], rtol=1e-4)
    slope = (above - below) / (0.04 * ETA)
    np.testing.assert_allclose(found.gradient["learning_rate"], [slope], rtol=0.01, atol=1e-4)


def test_derivatives_of_a_step_three_ways():
    def after(alpha, learning_rate, decay, u, theta):
        system = Linearised(TwoLayer(3, FromArrays(u[:, :1], theta), activation="erf"))
        hyper = {"alpha": alpha, "learning_rate": learning_rate, "decay_theta": decay}
        begun, data = system.init(KEY, hyper), system.prepare(X, Y)
        now = jax.tree.map(lambda leaf: 1.1 * leaf, begun.now)
        return system.step(Tangent(begun.start, now), data, hyper, KEY).now

    numbers = (np.array(number) for number in (1.5, 0.3, 0.1))
    check_three_ways(after, *numbers, *RANDOM.normal(size=(2, 4, 3)))


@pytest.mark.core
def test_bad_input():
    system = Linearised(TwoLayer(3, Independent(4)))
    with pytest.raises(ValueError, match="alpha"):
        system.check({"learning_rate": 0.1}, 3)
    with pytest.raises(ValueError, match=r"x.shape = \(6, 2\)"):
        system.prepare(X[:, :2], Y)
    assert system.bounds(HYPER).keys() == HYPER.keys()
