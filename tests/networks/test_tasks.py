"""Tasks of a `Network`: targets, losses and what of them is a hyperparameter."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit, log_softmax, logsumexp
from small_networks import KEY, X, Y, at_rate, make_linear

from nsh import FullBatch, TrainingProblem, VariableSize, WithReplacement, train
from nsh.data import Classes
from nsh.networks import Classification, Custom, MultiLabel, Network, Regression

pytestmark = pytest.mark.core
RNG = np.random.default_rng(1)
LOGITS, TARGETS = RNG.normal(size=4), RNG.normal(size=(24, 4))


def test_smoothing_and_class_weights_are_the_formulas():
    weights, smoothing = np.array([0.5, 1.0, 2.0, 3.0]), 0.2
    q = (1 - smoothing) * np.eye(4)[2] + smoothing / 4
    expected = -weights[2] * q @ log_softmax(LOGITS)
    loss = Classification().loss
    given = {"label_smoothing": smoothing, "class_weights": jnp.asarray(weights, float)}
    found = loss(jnp.asarray(LOGITS, float), jnp.int32(2), **given)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    plain = loss(jnp.asarray(LOGITS, float), jnp.int32(2))
    np.testing.assert_allclose(plain, logsumexp(LOGITS) - LOGITS[2], rtol=1e-5)


def test_several_labels_are_so_many_logistic_regressions():
    target = np.array([0.0, 1.0, 1.0, 0.0])
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    p, q = expit(LOGITS), 0.9 * target + 0.05
    expected = -np.mean(weights * (q * np.log(p) + (1 - q) * np.log(1 - p)))
    given = {"label_smoothing": 0.1, "label_weights": jnp.asarray(weights, float)}
    found = MultiLabel().loss(jnp.asarray(LOGITS, float), jnp.asarray(target, float), **given)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    rows = np.eye(4)[Y]
    prepared = Network(make_linear, optax.sgd, MultiLabel()).prepare(X, rows.astype(int))
    np.testing.assert_array_equal(prepared.y, rows)


@pytest.mark.parametrize("weights", [None, np.arange(24.0)])
def test_gradient_descent_on_real_targets_is_that_by_hand(weights):
    hyper = at_rate(0.1) | ({} if weights is None else {"data": {"weights": weights}})
    network = Network(make_linear, optax.sgd, Regression())
    examples = network.prepare(X, TARGETS)
    start = network.init(KEY, hyper)
    after = network.step(start, examples, hyper, KEY)
    x, w, b = X.reshape(24, -1), np.asarray(start.params.weight), np.asarray(start.params.bias)
    off = (x @ w + b - TARGETS) * (1 if weights is None else weights[:, None])
    np.testing.assert_allclose(after.params.weight, w - 0.1 * 2 / 4 * x.T @ off / 24, rtol=1e-4)
    assert not network.classifies


def test_labels_of_any_kind_are_named():
    names = np.array(["ant", "bee", "cat", "dog"])[Y]
    network = Network(make_linear, optax.sgd, Classification(classes=Classes.of(names)))
    np.testing.assert_array_equal(network.prepare(X, names).y, Y)
    np.testing.assert_array_equal(network.targets(names), Y)
    with pytest.raises(ValueError, match=r"= bea: must be one of .*did you mean bee"):
        network.prepare(X, np.where(names == "bee", "bea", names))
    few = Network(make_linear, optax.sgd, Classification(classes=Classes.of(names[Y < 3])))
    with pytest.raises(ValueError, match="number of classes = 3: must be 4"):
        few.prepare(X, names)


def test_any_loss_on_any_targets():
    def loss(outputs, target, power):
        return jnp.sum(jnp.abs(outputs - target["wanted"]) ** power) * target["counts"].astype(
            float
        )

    network = Network(make_linear, optax.sgd, Custom(loss))
    y = {"wanted": TARGETS, "counts": np.arange(24) % 2}
    examples = network.prepare(X, y)
    hyper = at_rate(0.01) | {"loss": {"power": 3.0}}
    after = network.step(network.init(KEY, hyper), examples, hyper, KEY)
    assert network.is_finite(after)
    with pytest.raises(ValueError, match=r"hyper\[\"loss\"\] = \[\].*power"):
        TrainingProblem(network, examples, at_rate(0.1), steps=1)


def test_a_loss_of_a_batch_sees_it_whole():
    """The variance of all outputs, which no mean over examples is."""

    def spread(outputs, targets):
        return jnp.var(outputs[:, 0]) + 0.0 * jnp.sum(targets)

    network = Network(make_linear, optax.sgd, Custom(spread, per_batch=True))
    examples, hyper = network.prepare(X, TARGETS), at_rate(0.1)
    start = network.init(KEY, hyper)
    slope = jax.grad(
        lambda p: jnp.var(jax.vmap(network.module(eqx.tree_at(lambda s: s.params, start, p)))(
            examples.x
        )[:, 0])
    )(start.params)  # fmt: skip
    after = network.step(start, examples, hyper, KEY)
    expected = start.params.weight - 0.1 * slope.weight
    np.testing.assert_allclose(after.params.weight, expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="without weights of examples"):
        network.check(hyper | {"data": {"weights": np.ones(24)}}, 1)
    with pytest.raises(ValueError, match="examples do not act on each other"):
        network.masked(examples, jnp.ones(24, bool))


@pytest.mark.thorough
def test_a_batch_of_traced_size_has_the_mean_of_its_examples():
    """Three of a mini-batch of four: the fourth repeats one, and does not count."""
    network = Network(make_linear, optax.sgd, Regression())
    examples = network.prepare(X, TARGETS)
    hyper = at_rate(0.1)
    size = VariableSize(WithReplacement(4), jnp.int32(3))
    problem = TrainingProblem(network, examples, hyper, steps=1, sampler=size)
    indices, _ = WithReplacement(4).draw(None, jnp.int32(0), 1, jax.random.split(KEY, 4)[2], 24)
    batch = jax.tree.map(lambda leaf: leaf[indices[0, :3]], examples)
    start = train(TrainingProblem(network, examples, hyper, steps=0), KEY).state
    expected = network.step(start, batch, hyper, KEY)
    found = train(problem, KEY).state
    np.testing.assert_allclose(found.params.weight, expected.params.weight, rtol=1e-5, atol=1e-7)


def test_inputs_are_augmented_in_training_alone():
    def scaled(x, key, scale):
        return x * scale + 0.0 * jax.random.normal(key)

    network = Network(make_linear, optax.sgd, Regression(), augment=scaled)
    examples = network.prepare(X, TARGETS)
    hyper = at_rate(0.1) | {"data": {"scale": 2.0}}
    start = network.init(KEY, hyper)
    twice = network.prepare(2 * X, TARGETS)
    plain = Network(make_linear, optax.sgd, Regression())
    expected = plain.step(start, twice, at_rate(0.1), KEY)
    found = network.step(start, examples, hyper, KEY)
    np.testing.assert_allclose(found.params.weight, expected.params.weight, rtol=1e-5)
    one = jax.tree.map(lambda leaf: leaf[0], examples)
    np.testing.assert_array_equal(network.outputs(start, one), plain.outputs(start, one))


@pytest.mark.thorough
def test_weights_of_other_examples_are_told():
    network = Network(make_linear, optax.sgd)
    examples = network.prepare(X, Y)
    hyper = at_rate(0.1) | {"data": {"weights": np.ones(23)}}
    with pytest.raises(ValueError, match=r"shape = \(23,\): must be \(24,\), one per example"):
        TrainingProblem(network, examples, hyper, steps=1, sampler=FullBatch())
    # what `step` is handed past all checks is no number
    state = network.step(network.init(KEY, hyper), examples, hyper, KEY)
    assert not network.is_finite(state)


@pytest.mark.parametrize(
    ("task", "y", "message"),
    [
        (Regression(), TARGETS[:, :2], r"y.shape = \(24, 2\): must be \(24, 4\)"),
        (Regression(), np.where(TARGETS > 2, np.inf, TARGETS), "finite"),
        (Regression(), TARGETS.astype(str), r"y.dtype"),
        (MultiLabel(), TARGETS, "must be 0 or 1 for each label"),
        (
            Custom(optax.losses.squared_error),
            {"a": TARGETS[:3]},
            r"y.shape = \(3, 4\)",
        ),
        (Classification(), TARGETS, r"y.*whole number"),
    ],
)
def test_bad_targets_are_named(task, y, message):
    with pytest.raises(ValueError, match=message):
        Network(make_linear, optax.sgd, task).prepare(X, y)
