"""Networks learn digits, and training can be differentiated in its hyperparameters."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_networks import at_rate

from nsh.data import digits
from nsh.networks import CNN, MLP, Linear, Network

SEEDS = 4


def x64():
    """64-bit floats, by whichever name this JAX has for it."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return importlib.import_module("jax.experimental").enable_x64()


def train(network, examples, hyper, key, steps, batch=32):
    """Mini-batches drawn with replacement."""
    start, draw = jax.random.split(key)
    picks = jax.random.randint(draw, (steps, batch), 0, len(examples.y))

    def body(state, pick):
        return network.step(state, jax.tree.map(lambda a: a[pick], examples), hyper, key), None

    return jax.lax.scan(body, network.init(start, hyper), picks)[0]


def accuracy(network, state, examples):
    logits = jax.vmap(lambda e: network.outputs(state, e))(examples)
    return jnp.mean(jnp.argmax(logits, -1) == examples.y)


# Test accuracy measured over 32 other seeds: mean and standard deviation between seeds. A mean of
# 4 seeds more than 5 standard errors below it says that something is broken.
@pytest.mark.long
@pytest.mark.parametrize(
    ("make", "rate", "steps", "mean", "deviation"),
    [
        (lambda key: Linear(64, 10, key=key), 0.5, 400, 0.9546, 0.0043),
        (lambda key: MLP((64, 64, 64, 10), key=key), 0.1, 1000, 0.9700, 0.0052),
        (lambda key: CNN(key=key), 1.0, 400, 0.9487, 0.0081),
    ],
)
def test_digits_are_learned(make, rate, steps, mean, deviation):
    data, network = digits(), Network(make, optax.sgd)
    examples = network.prepare(data.train_x, data.train_y)
    test = network.prepare(data.test_x, data.test_y)
    hyper = at_rate(jnp.asarray(rate))

    @jax.jit
    @jax.vmap
    def run(key):
        return accuracy(network, train(network, examples, hyper, key, steps), test)

    reached = run(jax.random.split(jax.random.key(1), SEEDS))
    assert float(jnp.mean(reached)) > mean - 5 * deviation * np.sqrt(1 / SEEDS + 1 / 32)


def loss_after_training(optimiser, steps):
    """Test loss of an MLP as a function of `hyper`."""
    data = digits()
    network = Network(lambda key: MLP((64, 12, 10), key=key), optimiser)
    examples = network.prepare(data.train_x, data.train_y)
    test = network.prepare(data.test_x[:100], data.test_y[:100])

    def loss(hyper):
        state = train(network, examples, hyper, jax.random.key(2), steps, batch=16)
        return jnp.mean(jax.vmap(lambda e: network.task.loss(network.outputs(state, e), e.y))(test))

    return loss


@pytest.mark.long
def test_hypergradient_three_ways():
    with x64():
        loss = loss_after_training(optax.sgd, 10)
        hyper = at_rate(jnp.asarray(0.2), momentum=jnp.asarray(0.5))
        every = jax.jit(lambda hyper: (loss(hyper), jax.grad(loss)(hyper), jax.jacfwd(loss)(hyper)))
        _, reverse, forward = every(hyper)
        for name, value in hyper["optimiser"].items():
            moved = [
                at_rate(**{**hyper["optimiser"], name: value * (1 + h)}) for h in (1e-5, -1e-5)
            ]
            up, down = (every(one)[0] for one in moved)
            one, other = (slope["optimiser"][name] for slope in (reverse, forward))
            assert abs(one) > 1e-3
            np.testing.assert_allclose(other, one, rtol=1e-9)
            np.testing.assert_allclose((up - down) / (2e-5 * value), one, rtol=1e-5)


@pytest.mark.long
def test_adam_needs_eps_root_for_a_hypergradient():
    """Weights of always-blank pixels have gradient 0, where Adam's square root has no slope."""
    with x64():
        both = jax.jit(jax.value_and_grad(loss_after_training(optax.adam, 3)))
        plain, slope = both(at_rate(0.01, eps_root=0.0))
        assert jnp.isnan(slope["optimiser"]["learning_rate"])
        rooted, slope = both(at_rate(0.01, eps_root=1e-16))
        np.testing.assert_allclose(rooted, plain, rtol=1e-6)
        rates = (0.01 * (1 + 1e-5), 0.01 * (1 - 1e-5))
        up, down = (both(at_rate(rate, eps_root=1e-16))[0] for rate in rates)
        np.testing.assert_allclose(
            (up - down) / 2e-7, slope["optimiser"]["learning_rate"], rtol=1e-5
        )
