"""Bad input to `Network`: errors name the place, the value and what is allowed."""

# wrong types are the point here
# pyright: reportArgumentType=false
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_networks import KEY, X, Y, at_rate, make_linear

from nsh.networks import (
    Classification,
    Linear,
    Network,
    NetworkExamples,
    NetworkState,
    PerStep,
)

pytestmark = pytest.mark.core
LOSS = optax.losses.softmax_cross_entropy_with_integer_labels


RATE = {"optimiser": {"rate": 0.1}}


def prepare(x, y, make=make_linear, loss=LOSS):
    return Network(make, optax.sgd, Classification(loss)).prepare(x, y)


def stepped(y, x=X, loss=LOSS):
    """A step on samples that nobody has prepared."""
    network, hyper = (
        Network(make_linear, optax.sgd, Classification(loss)),
        at_rate(0.1),
    )
    samples = NetworkExamples(jnp.asarray(x, float), jnp.asarray(y))
    return network, network.step(network.init(KEY, hyper), samples, hyper, KEY)


def check(hyper, optimiser=optax.sgd):
    Network(make_linear, optimiser).check(hyper, 10)


def lookahead(rate):
    return optax.lookahead(optax.sgd(rate), 5, 0.5)


def per_example(rate):
    noisy = optax.contrib.differentially_private_aggregate(1.0, 0.1, key=KEY)
    return optax.chain(noisy, optax.sgd(rate))


def growing(rate):
    grown = optax.GradientTransformation(
        lambda p: jnp.zeros(1), lambda g, s, p=None: (g, jnp.append(s, s))
    )
    return optax.chain(optax.sgd(rate), grown)


def branching(rate):
    return optax.sgd(rate if rate < 1 else 1.0)


class OfKey(eqx.Module):
    """Another value with a key than without, as its `change` says."""

    linear: Linear
    change: Any = eqx.field(static=True)

    def __call__(self, x, *, key=None):
        logits = self.linear(x)
        return logits if key is None else self.change(logits, key)


class WithState(eqx.Module):
    linear: Linear
    norm: eqx.nn.BatchNorm

    def __init__(self, key):
        self.linear, self.norm = make_linear(key), eqx.nn.BatchNorm(4, "batch", mode="batch")

    def __call__(self, x, state=None):
        return self.linear(x)


class TwoNorms(eqx.Module):
    norms: list

    def __init__(self, key):
        names = "batch", "other"
        self.norms = [eqx.nn.BatchNorm(4, name, mode="batch") for name in names]

    def __call__(self, x, state):
        return x, state


class Counting(eqx.Module):
    """Its state is another for each example."""

    linear: Linear
    seen: eqx.nn.StateIndex

    def __init__(self, key):
        self.linear, self.seen = make_linear(key), eqx.nn.StateIndex(jnp.zeros(()))

    def __call__(self, x, state):
        return self.linear(x), state.set(self.seen, state.get(self.seen) + jnp.sum(x))


def of_key(change):
    return lambda key: OfKey(make_linear(key), change)


def with_entry(array, value):
    changed = array.copy()
    changed[(3,) + (0,) * (array.ndim - 1)] = value
    return changed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: prepare(with_entry(X, np.nan), Y), r"x\[3, 0, 0\] = nan"),
        (lambda: prepare(with_entry(X, np.inf), Y), r"x\[3, 0, 0\] = inf.*finite"),
        (lambda: prepare(X.astype(str), Y), r"x\.dtype"),
        (lambda: prepare(X.astype(complex), Y), r"x\.dtype = 'complex128'"),
        (lambda: prepare(X[:0], Y[:0]), r"x\.shape = \(0, 2, 3\)"),
        (lambda: prepare(1.0, 0), r"x\.shape = \(\)"),
        (lambda: prepare(X[:, :1], Y), r"x\.shape = \(24, 1, 3\).*6 numbers"),
        (lambda: prepare(X, Y[:-1]), r"y\.shape = \(23,\)"),
        (lambda: prepare(X, Y.astype(float)), r"y\.dtype = 'float64'"),
        (lambda: prepare(X, with_entry(Y, 4)), r"y\[3\] = 4.*0\.\.3"),
        (lambda: prepare(X, with_entry(Y, -1)), r"y\[3\] = -1"),
        (
            lambda: prepare(X, Y, lambda k: eqx.nn.Linear(6, "scalar", key=k)),
            r"x\.shape = .*but it says",
        ),
        (
            lambda: prepare(X[:, 0], Y, lambda k: eqx.nn.Linear(3, "scalar", key=k)),
            r"make\(key\)\(x\) = .*vector",
        ),
        (lambda: check([0.1]), r"hyper = \[0\.1\].*dict"),
        (
            lambda: check(at_rate(np.nan)),
            r"\['learning_rate'\] = nan",
        ),
        (lambda: check(at_rate(np.array([0.1, np.inf]))), r"\[1\] = inf"),
        (
            lambda: check(at_rate(lambda step: 0.1)),
            r"\['learning_rate'\]\.dtype",
        ),
        (
            lambda: check(at_rate(0.1, nesterov=True)),
            r"\['nesterov'\] = True",
        ),
        (lambda: check(at_rate(0.1, speed=1.0)), "'speed'"),
        (
            lambda: check({"learning_rat": 0.1}),
            "hyper = 'learning_rat': must be branches of `hyper`: optimiser, loss, data, start",
        ),
        (
            lambda: check(at_rate(jnp.array([0.1, 0.2]))),
            r"\['learning_rate'\]\.shape = \(2,\): .*for a grid of values say grid_ndim=1",
        ),
        (
            lambda: Network(without_bias, optax.adam).check(at_rate(jnp.ones(6)), 1),
            r"\['learning_rate'\]\.shape = \(6,\): .*for a grid of values say grid_ndim=1",
        ),
        (lambda: check({}), r"hyper\[\"optimiser\"\] = \[\].*'learning_rate'"),
        (lambda: check({"optimiser": {"learning_rat": 0.1}}), "; did you mean learning_rate"),
        (lambda: check({"optimiser": 0.1}), r'hyper\["optimiser"\] = 0.1: must be a dict'),
        (lambda: check({"optimizer": {}}), "did you mean optimiser"),
        (lambda: check(at_rate(0.1) | {"loss": {"smoothing": 0.1}}), r'hyper\["loss"\] = .*label_'),
        (lambda: check(at_rate(0.1) | {"start": {"gain": 2.0}}), r'hyper\["start"\] = .*none'),
        (lambda: check(at_rate(0.1) | {"data": {"noise": 2.0}}), r'hyper\["data"\] = .*augment'),
        (lambda: check(at_rate(0.1) | {"data": {"weights": 2.0}}), r"shape = \(\): .*one per ex"),
        (lambda: check(at_rate(PerStep(np.ones(9)))), r"values.shape = \(9,\): must be \(10,\) or"),
        (
            lambda: check(RATE, lookahead),
            "optimiser = 'lookahead': .* but it says: ",
        ),
        (
            lambda: check(RATE, per_example),
            "optimiser = 'per_example': .*it says: Value",
        ),
        (
            lambda: check(RATE, growing),
            "optimiser = 'growing': .*changes the shape",
        ),
        (
            lambda: check(RATE, branching),
            "'branching': .*TracerBoolConversionError",
        ),
        (lambda: Network(lambda key: jnp.zeros(3), optax.sgd), r"make\(key\) = .*callable"),
        (lambda: Network(lambda key: jnp.tanh, optax.sgd), r"make\(key\) = .*to train"),
        (lambda: Network(make_linear(KEY), optax.sgd), "make = 'Linear': .*not a module"),
        (
            lambda: prepare(X, Y, WithState),
            r"make\(key\)\(x, state\) = .*a pair \(outputs, state\)",
        ),
        (lambda: prepare(X, Y, of_key(lambda z, key: z[key[:0]])), "says: .*give Network.*call="),
        (lambda: Network(TwoNorms, optax.sgd), "axis_name = .*'other'.*: must be one for all"),
        (lambda: prepare(X, Y, Counting), "state after .* = 'another for each example': .*pmean"),
        (
            lambda: Network(make_linear, optax.sgd, Classification(Unhashable())),
            "task = .*hashable",
        ),
        (
            lambda: prepare(X, Y, loss=lambda z, y: z),
            r"shape of loss\(outputs, target\) = \(4,\): .*\(\)",
        ),
        (lambda: prepare(X, Y, loss=lambda z, y: z.argmax()), "dtype of loss.* = 'int.*real"),
        (
            lambda: prepare(X, Y, loss=lambda z, y: jax.lax.complex(z[0], z[0])),
            "dtype of loss.* = 'complex",
        ),
        (
            lambda: prepare(X, Y, loss=optax.losses.l2_loss),
            r"loss = 'l2_loss': .*outputs \[4\]",
        ),
        (lambda: prepare(X, Y, loss=lambda z, y: {}[y]), "loss = '<lambda>': .*it says: TypeError"),
        (lambda: stepped(Y[:, None]), r"y\.shape = \(24, 1\)"),
        (lambda: stepped(Y, loss=lambda z, y: z), r"shape of loss\(outputs, target\) = \(4,\)"),
        (lambda: stepped(Y, X[:, :1]), r"x\.shape = \(24, 1, 3\).*6 numbers"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.long
@pytest.mark.parametrize("label", [-1, 4])
@pytest.mark.parametrize("loss", [LOSS, lambda logits, y: -jnp.take(logits, y, mode="clip")])
def test_a_label_that_is_no_class_is_told_by_the_status(label, loss):
    network, state = stepped(Y, loss=loss)
    assert network.is_finite(state)
    _, state = stepped(with_entry(Y, label), loss=loss)
    assert not network.is_finite(state)


def test_losses_that_want_one_hot_rows_are_told_of():
    told = pytest.warns(UserWarning, match="'softmax_cross_entropy': slope 0 .* not one-hot rows")
    with told, jax.numpy_dtype_promotion("standard"):  # which Optax needs
        prepare(X, Y, loss=optax.losses.softmax_cross_entropy)


def test_a_margin_is_no_lack_of_slope(recwarn):
    def perceptron(logits, y):
        return jnp.maximum(jnp.max(logits) - logits[y], 0)

    prepare(X, Y, loss=perceptron)
    assert not recwarn


def without_bias(key):
    """One weight [4, 6], over whose last axis six numbers broadcast."""
    return eqx.nn.Linear(6, 4, use_bias=False, key=key)


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, logits, y):
        return logits[y]


def test_hyperparameters_may_be_arrays_where_the_optimiser_takes_them():
    check(
        {"optimiser": {"rates": jnp.ones(2)}}, lambda rates: optax.chain(*map(optax.scale, rates))
    )
    network = Network(without_bias, lambda rates: optax.sgd(lambda step: rates[step]))
    network.check({"optimiser": {"rates": jnp.ones(6)}}, 1)


def test_checks_pass_tracers():
    network = Network(make_linear, optax.sgd)

    @jax.jit
    def run(rate):
        network.check(at_rate(rate), 1)
        return network.init(KEY, at_rate(rate))

    assert isinstance(run(jnp.array(0.1)), NetworkState)
