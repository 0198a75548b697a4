"""Twelve modules as people write them: trained, measured, differentiated."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import check_three_ways
from small_networks import at_rate
from twelve_modules import LABELS, MODULES, VECTORS, BatchNormCNN, Case, of_32_bits

from nsh import TrainingProblem, WithReplacement, ensemble, hypergradient, observe, train
from nsh.measure import elasticity_matrix

KEY = jax.random.key(0)
HYPER = at_rate(0.05) | {"data": {"weights": np.linspace(0.5, 1.5, 12)}}


def problem_of(case, hyper=HYPER, steps=3, optimiser=optax.sgd):
    network = case.network(optimiser)
    examples = network.prepare(case.x, case.y)
    sampler = WithReplacement(6)
    return TrainingProblem(network, examples, hyper, steps=steps, sampler=sampler)


def loss_of(problem, state):
    """The task's mean loss over all examples, in inference."""
    network, examples = problem.system, problem.examples
    outputs = observe(network, state, examples).outputs
    return network.task.mean_loss(outputs, examples.y, {})


@pytest.mark.long
@pytest.mark.optimised
@pytest.mark.parametrize("name", MODULES)
def test_trains_in_an_ensemble_and_is_measured(name):
    problem = problem_of(MODULES[name], steps=40, optimiser=optax.sgd)
    network, examples = problem.system, problem.examples
    run = ensemble(problem, KEY, seeds=3, vmap_size=2)
    np.testing.assert_array_equal(run.status, 0)
    start = network.init(jax.random.fold_in(KEY, 0), problem.hyper)
    first = jax.tree.map(lambda leaf: leaf[0], run.state)
    assert loss_of(problem, first) < loss_of(problem, start)
    # seed 2 is bitwise the same alone
    alone = ensemble(problem, KEY, seeds=1, first_seed=2, vmap_size=2)
    for one, other in zip(jax.tree.leaves(alone.state), jax.tree.leaves(run.state), strict=True):
        np.testing.assert_array_equal(one[0], other[2])
    few = jax.tree.map(lambda leaf: leaf[:3], examples)
    matrix = elasticity_matrix(network, first, problem.hyper, few, KEY)
    np.testing.assert_allclose(jnp.diagonal(matrix), 1, rtol=1e-6)
    assert np.all(np.isfinite(matrix))
    # looking changes nothing, and can be done again
    before = jax.tree.leaves(first)
    for _ in range(2):
        observe(network, first, examples)
    for one, other in zip(jax.tree.leaves(first), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in MODULES if name != "bfloat16"])
def test_hypergradients_are_differences(name, monkeypatch):
    if name == "SpectralNorm":
        # Equinox stops the slope of its power iteration, so that a hypergradient lacks that part;
        # without the stop it is exact
        monkeypatch.setattr(jax.lax, "stop_gradient", lambda x: x)

    def objective(rate, weights):
        problem = problem_of(MODULES[name], at_rate(rate) | {"data": {"weights": weights}})
        return loss_of(problem, train(problem, KEY).state)

    check_three_ways(objective, np.float64(0.05), np.linspace(0.5, 1.5, 12))


@pytest.mark.long
def test_hypergradients_of_16_bits_are_those_of_32_to_their_own_precision():
    """Differences of a function of 16 bits are those of its rounding: so its twin is the oracle.

    Each of a few products rounds by 2^-9, so that slopes agree within some percent.
    """
    found = []
    for case in (MODULES["bfloat16"], Case(of_32_bits, VECTORS)):
        problem = problem_of(case)

        def objective(run, problem=problem):
            return loss_of(problem, run.state)

        gradient = hypergradient(objective, problem, KEY, seeds=2).gradient
        found.append(np.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(gradient)]))
    low, high = found
    assert np.linalg.norm(low - high) < 0.05 * np.linalg.norm(high)
    assert np.any(low != high)


def one_step(case, x, y, hyper, key=KEY):
    network = case.network()
    batch = network.prepare(x, y)
    state = eqx.filter_jit(network.init)(KEY, hyper)
    return network, state, batch, eqx.filter_jit(network.step)(state, batch, hyper, key)


@pytest.mark.parametrize("mode", [pytest.param("batch", marks=pytest.mark.long), "ema"])
def test_a_step_under_batch_norm_is_equinoxs_own(mode):
    """One step by hand, as Equinox's documentation trains it."""
    case = MODULES["BatchNorm CNN"]._replace(make=lambda key: BatchNormCNN(key, mode))
    network, state, batch, after = one_step(case, case.x, case.y, at_rate(0.5))
    module, norms = eqx.nn.make_with_state(case.make)(KEY)
    params, rest = eqx.partition(module, eqx.is_inexact_array)

    def loss(params):
        called = jax.vmap(
            eqx.combine(params, rest), axis_name="batch", in_axes=(0, None), out_axes=(0, None)
        )
        logits, norms_after = called(batch.x, norms)
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch.y)
        return losses.mean(), norms_after

    slope, norms = jax.jit(jax.grad(loss, has_aux=True))(params)
    expected = jax.tree.map(lambda w, g: w - 0.5 * g, params, slope)
    trained = eqx.filter(after.params, eqx.is_inexact_array)
    for one, other in zip(jax.tree.leaves(trained), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(jax.tree.leaves(after.module_state), jax.tree.leaves(norms), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    # all else looks at the network in inference, by its running means
    quiet = eqx.nn.inference_mode(network.module(after))
    example = jax.tree.map(lambda leaf: leaf[3], batch)
    copy = jax.tree.map(lambda leaf: leaf, after.module_state)
    np.testing.assert_allclose(network.outputs(after, example), quiet(example.x, copy)[0])
    del state


@pytest.mark.long
def test_an_update_at_one_example_is_one_in_inference():
    """As by hand: a step of SGD down the loss of the network that predicts."""
    case, hyper = MODULES["BatchNorm CNN"], at_rate(0.5)
    network, _, batch, state = one_step(case, case.x, case.y, hyper)
    example = jax.tree.map(lambda leaf: leaf[3], batch)
    moved = network.update_at(state, example, hyper, KEY)

    def loss(params):
        outputs = network.outputs(eqx.tree_at(lambda s: s.params, state, params), example)
        return network.task.loss(outputs, example.y)

    slope = jax.grad(loss)(state.params)
    expected = jax.tree.map(lambda w, g: w - 0.5 * g, state.params, slope)
    for one, other in zip(jax.tree.leaves(moved.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(
        jax.tree.leaves(moved.module_state), jax.tree.leaves(state.module_state), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_dropout_is_drawn_anew_for_each_example_and_step():
    case, hyper = MODULES["Dropout MLP"], at_rate(0.5)
    same = np.repeat(VECTORS[:1], 12, 0), np.repeat(LABELS[:1], 12)
    network, state, batch, after = one_step(case, *same, hyper)
    _, _, _, again = one_step(case, *same, hyper)
    _, _, _, other = one_step(case, *same, hyper, jax.random.key(1))
    weights = [now.params.readout.weight for now in (after, again, other)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.all(np.any(weights[0] != weights[2], axis=0))
    # twelve equal examples with one mask would leave some units' weights as they are
    assert np.all(weights[0] != state.params.readout.weight)
    # in inference no unit is dropped
    example = jax.tree.map(lambda leaf: leaf[0], batch)
    quiet = eqx.nn.inference_mode(network.module(state))
    np.testing.assert_array_equal(network.outputs(state, example), quiet(example.x))


def test_frozen_leaves_stay_and_start_where_hyperparameters_say():
    case = MODULES["frozen trunk"]
    _, state, _, after = one_step(case, case.x, case.y, at_rate(0.5))
    np.testing.assert_array_equal(after.params.trunk.weight, state.params.trunk.weight)
    assert np.all(after.params.readout.weight != state.params.readout.weight)
    case = MODULES["residual block with BatchNorm"]
    strength = at_rate(0.0) | {"start": {"strength": 0.25}}
    _, _, _, after = one_step(case, case.x, case.y, strength)
    assert after.params.strength == 0.25


def test_whole_numbers_stay_whole_where_the_module_wants_them():
    tokens = MODULES["tokens"].network().prepare(MODULES["tokens"].x, LABELS)
    assert tokens.x.dtype == jnp.int32
    pixels = MODULES["Dropout MLP"].network().prepare(VECTORS.astype(int), LABELS)
    assert pixels.x.dtype == jnp.result_type(float)


def test_a_module_of_another_convention_is_adapted():
    def call(module, x, state, key):
        noise = 0.0 if key is None else jax.random.normal(key, (3,))
        return module(x=x, scale=2.0) + noise, state

    class Named(eqx.Module):
        linear: eqx.nn.Linear

        def __init__(self, key):
            self.linear = eqx.nn.Linear(6, 3, key=key)

        def __call__(self, *, x, scale):
            return scale * self.linear(x)

    case = Case(Named, VECTORS, more={"call": call})
    network, state, batch, after = one_step(case, VECTORS, LABELS, at_rate(0.1))
    example = jax.tree.map(lambda leaf: leaf[0], batch)
    expected = 2 * network.module(state).linear(example.x)
    np.testing.assert_allclose(network.outputs(state, example), expected)
    assert network.is_finite(after)
