"""`Network`: steps against NumPy, seeds and hyperparameters side by side, and its errors."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_networks import KEY, X, Y, at_rate, make_linear

from nsh.networks import MLP, Classification, Linear, Network, NetworkExamples

pytestmark = pytest.mark.core


def make_mlp(key):
    return MLP((6, 5, 4), key=key)


class Permuted(eqx.Module):
    """A linear classifier of shuffled inputs: integers that depend on the key, not trained."""

    order: jax.Array
    linear: Linear

    def __init__(self, key):
        self.order = jax.random.permutation(key, 6)
        self.linear = make_linear(key)

    def __call__(self, x):
        return self.linear(x.reshape(-1)[self.order])


def train(network, examples, hyper, key, steps=8, batch=5):
    """Plain gradient descent over batches that go through the data in order."""
    picks = jnp.arange(steps * batch).reshape(steps, batch) % len(Y)

    def body(state, pick):
        return network.step(state, jax.tree.map(lambda a: a[pick], examples), hyper, key), None

    return jax.lax.scan(body, network.init(key, hyper), picks)[0]


def softmax_regression(weight, bias, rate, momentum, steps=8, batch=5):
    """The same descent for the linear classifier, by hand, one sample at a time."""
    moving = [np.zeros_like(weight), np.zeros_like(bias)]
    for step in range(steps):
        slope = [np.zeros_like(weight), np.zeros_like(bias)]
        for i in range(step * batch, (step + 1) * batch):
            x, y = X[i % len(Y)].ravel(), Y[i % len(Y)]
            p = np.exp(x @ weight + bias)
            error = p / p.sum() - np.eye(len(bias))[y]
            slope[0] += np.outer(x, error) / batch
            slope[1] += error / batch
        moving = [momentum * m + s for m, s in zip(moving, slope, strict=True)]
        weight, bias = weight - rate * moving[0], bias - rate * moving[1]
    return weight, bias


@pytest.mark.parametrize("momentum", [None, 0.8])
def test_linear_network_is_softmax_regression(momentum):
    hyper = at_rate(0.5, **({} if momentum is None else {"momentum": momentum}))
    network = Network(make_linear, optax.sgd)
    start = network.module(network.init(KEY, hyper))
    end = network.module(train(network, network.prepare(X, Y), hyper, KEY))
    initial = np.asarray(start.weight, float), np.asarray(start.bias, float)
    weight, bias = softmax_regression(*initial, 0.5, momentum or 0.0)
    assert np.abs(weight - initial[0]).max() > 0.1
    np.testing.assert_allclose(end.weight, weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(end.bias, bias, rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.thorough
def test_seeds_and_learning_rates_side_by_side_are_single_runs():
    network = Network(make_mlp, optax.adam)
    examples = network.prepare(X, Y)
    keys, rates = jax.random.split(KEY, 3), jnp.array([0.003, 0.03])
    run = lambda key, rate: train(network, examples, at_rate(rate), key)  # noqa: E731
    grid = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))(keys, rates)
    single = jax.jit(run)
    for i, j in np.ndindex(3, 2):
        cell = jax.tree.map(lambda a, i=i, j=j: a[i, j], grid)
        for ours, alone in zip(
            jax.tree.leaves(cell), jax.tree.leaves(single(keys[i], rates[j])), strict=True
        ):
            np.testing.assert_allclose(ours, alone, rtol=1e-4, atol=1e-6)
    first, *others = np.asarray(grid.params.readout.weight).reshape(6, -1)
    assert all(np.abs(first - other).max() > 1e-3 for other in others)


def test_values_and_equal_networks_do_not_recompile():
    traces = []

    def loss(logits, y):
        traces.append(0)
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y)

    step = eqx.filter_jit(lambda network, *args: network.step(*args))
    runs = [(0, 0.1, 8, 1), (1, 0.2, 8, 0), (2, 0.3, 8, 0), (3, 0.3, 9, 1)]
    for seed, rate, size, compiles in runs:
        network = Network(make_mlp, optax.sgd, Classification(loss))
        hyper, key = at_rate(jnp.asarray(rate)), jax.random.key(seed)
        examples = network.prepare(X[:size], Y[:size])  # it tries the loss, too
        traces.clear()
        step(network, network.init(key, hyper), examples, hyper, key)
        assert len(traces) == compiles


@pytest.mark.long
@pytest.mark.parametrize(
    ("optimiser", "hyper"),
    [
        (optax.sgd, at_rate(0.1)),
        (optax.sgd, at_rate(0.1, momentum=0.9)),
        (optax.adam, at_rate(0.1, b1=0.8, eps_root=1e-12)),
        (optax.adamw, at_rate(np.float64(0.1), weight_decay=0.01)),
        (
            functools.partial(optax.rmsprop, centered=True),
            at_rate(np.float32(0.1)),
        ),
        (optax.inject_hyperparams(optax.sgd), at_rate(jnp.array(0.1))),
        (lambda rate: optax.chain(optax.clip(1.0), optax.sgd(rate)), {"optimiser": {"rate": 1}}),
    ],
)
def test_any_optimiser_keeps_a_state_of_arrays_of_fixed_type(optimiser, hyper):
    network = Network(make_mlp, optimiser)
    network.check(hyper, 10)
    state, batch = network.init(KEY, hyper), network.prepare(X, Y)
    assert all(eqx.is_array(leaf) for leaf in jax.tree.leaves(state))
    shape_of = lambda tree: jax.tree.map(lambda a: (a.shape, a.dtype), tree)  # noqa: E731
    after = jax.jit(network.step)(state, batch, hyper, KEY)
    assert shape_of(after) == shape_of(state)
    assert jax.tree.structure(after) == jax.tree.structure(state)

    def loss(s):
        losses = jax.vmap(lambda e: network.task.loss(network.outputs(s, e), e.y))(batch)
        return jnp.mean(losses)

    assert loss(after) < loss(state)


def test_arrays_that_are_not_trained_stay_in_the_state():
    network = Network(Permuted, optax.sgd)
    hyper, examples = at_rate(0.1), network.prepare(X, Y)
    for seed in (0, 1):
        key = jax.random.key(seed)
        state = train(network, examples, hyper, key)
        np.testing.assert_array_equal(state.params.order, Permuted(key).order)
        assert not np.allclose(state.params.linear.weight, Permuted(key).linear.weight)
        example = jax.tree.map(lambda a: a[0], examples)
        shuffled = example.x.reshape(-1)[np.asarray(state.params.order)]
        expected = state.params.linear(shuffled)
        np.testing.assert_allclose(network.outputs(state, example), expected, rtol=1e-5)


def test_features_of_the_module_or_of_the_argument():
    examples = Network(make_mlp, optax.sgd).prepare(X, Y)
    one, hyper = jax.tree.map(lambda a: a[0], examples), at_rate(0.1)
    own = Network(make_mlp, optax.sgd)
    state = own.init(KEY, hyper)
    (level,) = own.features(state, one)
    np.testing.assert_array_equal(level, own.module(state).features(one.x)[0])
    np.testing.assert_array_equal(own.module(state).readout(level), own.outputs(state, one))
    given = Network(make_mlp, optax.sgd, features=lambda module, x: (x, module(x)))
    levels = given.features(state, one)
    np.testing.assert_array_equal(levels[0], one.x.reshape(-1))
    np.testing.assert_array_equal(levels[1], own.outputs(state, one))
    neither = Network(lambda key: eqx.nn.Linear(6, 4, key=key), optax.sgd)
    assert neither.features(neither.init(KEY, hyper), one) == ()
    array = Network(make_mlp, optax.sgd, features=lambda module, x: x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"array of shape \(2, 3\): must be a tuple with one vec"):
        array.features(state, one)


@pytest.mark.thorough
def test_equinox_modules_serve_unchanged():
    make = lambda key: eqx.nn.MLP(6, 4, 8, 2, jax.nn.relu, key=key)  # noqa: E731
    network = Network(make, optax.sgd)
    state = train(network, network.prepare(X.reshape(-1, 6), Y), at_rate(0.1), KEY)
    assert bool(network.is_finite(state))
    example = NetworkExamples(jnp.ones(6), jnp.array(0))
    np.testing.assert_array_equal(network.module(state)(example.x), network.outputs(state, example))


def test_a_diverged_network_is_not_healthy():
    network = Network(make_linear, optax.sgd)
    examples = network.prepare(X, Y)
    assert network.is_finite(train(network, examples, at_rate(0.1), KEY))
    largest = jnp.finfo(jnp.result_type(float)).max
    assert not network.is_finite(train(network, examples, at_rate(largest), KEY))


def test_prepared_samples_are_floats_and_int32():
    samples = Network(make_linear, optax.sgd).prepare(X.astype(np.float16) > 0, Y.astype(np.uint8))
    assert isinstance(samples, NetworkExamples)
    assert samples.x.shape == X.shape
    assert samples.x.dtype == jnp.result_type(float)
    assert samples.y.dtype == jnp.int32
    np.testing.assert_array_equal(samples.x, X > 0)
    np.testing.assert_array_equal(samples.y, Y)


class InLists(eqx.Module):
    """An MLP as many write it: its layers in a list, which has no hash."""

    layers: list[Linear]

    def __init__(self, key):
        self.layers = [Linear(6, 5, key=key), Linear(5, 4, key=key)]

    def __call__(self, x):
        return self.layers[1](jax.nn.relu(self.layers[0](x)))


def test_a_module_may_hold_lists():
    network, again = Network(InLists, optax.sgd), Network(InLists, optax.sgd)
    assert (network, hash(network)) == (again, hash(again))
    state = network.init(KEY, at_rate(0.1))
    example = network.prepare(X, Y).x[0]
    assert isinstance(network.module(state).layers, list)
    np.testing.assert_array_equal(network.module(state)(example), InLists(KEY)(example))
