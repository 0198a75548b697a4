"""Optimisers of a `Network`: their hyperparameters' types and bounds, those that need the loss."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_networks import at_rate

from nsh import SaveAt, TrainingProblem, ensemble
from nsh.networks import Classification, Network, Pruned
from nsh.training import tune

pytestmark = pytest.mark.core


class One(eqx.Module):
    """One weight, from 1 for all keys."""

    w: jax.Array

    def __init__(self, key, dtype=float):
        self.w = jnp.ones((), dtype)

    def __call__(self, x):
        return self.w[None] * x.astype(self.w.dtype)


def half(key):
    return One(key, jnp.bfloat16)


def square(out, label):
    return jnp.sum(out**2) / 2


def network(optimiser, make: Any = One):
    made = Network(make, optimiser, Classification(square))
    return made, made.prepare(np.ones((1, 1)), [0])


def after(optimiser, hyper, steps, make: Any = One):
    """The weight along training, one step at a time."""
    made, samples = network(optimiser, make)
    hyper = {"optimiser": hyper}
    made.check(hyper, steps)
    state, key = made.init(jax.random.key(0), hyper), jax.random.key(0)
    types = jax.tree.map(jnp.result_type, state)
    step, found = jax.jit(lambda state: made.step(state, samples, hyper, key)), []
    for _ in range(steps):
        state = step(state)
        assert jax.tree.map(jnp.result_type, state) == types
        found.append(float(state.params.w))
    return found


@pytest.mark.long
def test_rates_keep_their_own_type_beside_parameters_of_16_bits():
    """The first step of Adam is the learning rate, whatever b2 < 1; bfloat16 takes .999 for 1.

    The weight is kept in 32 bits, and the module computes in 16: its output is that of bfloat16.
    """
    hyper = {"learning_rate": np.float32(0.125), "b2": np.float32(0.999)}
    assert after(optax.adam, hyper, 1, half) == [0.875]
    # and so a rate that differs by less than 16 bits can tell makes another weight
    weights = [
        after(optax.sgd, {"learning_rate": np.float32(rate)}, 1, half) for rate in (0.252, 0.2515)
    ]
    assert float(jnp.bfloat16(0.252)) == float(jnp.bfloat16(0.2515))
    assert weights == [[float(1 - np.float32(rate))] for rate in (0.252, 0.2515)]
    made, samples = network(optax.sgd, half)
    state = made.init(jax.random.key(0), at_rate(0.1))
    state = eqx.tree_at(lambda s: s.params.w, state, jnp.asarray(0.7497))
    one = jax.tree.map(lambda leaf: leaf[0], samples)
    assert made.outputs(state, one).tolist() == [float(jnp.bfloat16(0.7497))]
    assert made.outputs(state, one).dtype == jnp.float32


def test_numbers_of_numpy_are_taken_without_a_word():
    """Warnings are errors here; and a float64 is a float of Python, too."""
    made, samples = network(optax.sgd)
    rates = at_rate(np.float64(0.5))
    problem = TrainingProblem(made, samples, rates, steps=2)
    run = ensemble(problem, jax.random.key(0), seeds=1)
    np.testing.assert_array_equal(run.state.params.w, 0.25)


def plateau(learning_rate):
    slower = optax.contrib.reduce_on_plateau(factor=0.5, patience=1)
    return optax.chain(optax.sgd(learning_rate), slower)


def momo(learning_rate):
    return optax.contrib.momo(learning_rate, beta=0.0)


@pytest.mark.parametrize("name", ["noisy_sgd", "sophia"])
def test_each_seed_has_its_own_noise(name):
    """Optax's own argument is the same for all: what it starts from still counts."""
    make: Any = {
        "noisy_sgd": lambda key: lambda rate: optax.noisy_sgd(rate, 0.1, 0.5, key=key),
        "sophia": lambda key: lambda rate: optax.contrib.sophia(rate),
    }[name]
    hyper, seeds = {"optimiser": {"rate": 0.1}}, [jax.random.key(seed) for seed in (0, 0, 1)]

    def keys(optimiser):
        states = [network(optimiser)[0].init(seed, hyper).optimiser_state for seed in seeds]
        leaves = [[leaf for leaf in jax.tree.leaves(state) if is_key(leaf)] for state in states]
        assert len(leaves[0]) == 1
        return [str(jax.random.key_data(leaf)) for (leaf,) in leaves]

    first, again, other = keys(make(5))
    assert first == again
    assert first != other
    assert name == "sophia" or keys(make(6))[0] != first


def is_key(leaf):
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) or leaf.dtype == jnp.uint32


@pytest.mark.thorough
def test_noise_of_seeds_is_independent_and_survives_chunks():
    """Steps of noise alone, but for a loss that is nearly flat: over 200, no correlation."""

    def noise(learning_rate):
        return optax.noisy_sgd(learning_rate, 1.0, 0.0, key=3)

    made = Network(One, noise, Classification(faint))
    samples, hyper = made.prepare(np.ones((1, 1)), [0]), at_rate(1.0)
    problem = TrainingProblem(made, samples, hyper, steps=200, save=SaveAt(weight, every=1))
    whole = ensemble(problem, jax.random.key(0), seeds=2)
    parts = ensemble(problem, jax.random.key(0), seeds=2, chunk=1)
    np.testing.assert_array_equal(whole.saved, parts.saved)
    one, other = np.diff(np.asarray(whole.saved, float))
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / 200**0.5
    np.testing.assert_allclose([one.std(), other.std()], 1, atol=4 / 400**0.5)


def faint(out, label):
    return 1e-9 * jnp.sum(out**2)


def weight(now):
    return now.state.params.w


@pytest.mark.long
def test_optimisers_get_the_loss_that_they_ask_for():
    """On w^2 / 2 from 1, where all that they do is known."""
    # Polyak's step: loss / gradient^2 = 1/2
    assert after(optax.polyak_sgd, {"max_learning_rate": 1.0}, 3) == [0.5, 0.25, 0.125]
    # Momo without momentum makes the same
    np.testing.assert_allclose(after(momo, {"learning_rate": 1.0}, 2), [0.5, 0.25], rtol=1e-6)
    # at rate 2 the loss stays as it is: the rate is halved
    assert after(plateau, {"learning_rate": 2.0}, 2) == [-1.0, 0.0]
    # a line search along the only direction there is
    assert abs(after(optax.lbfgs, {}, 2)[-1]) < 1e-6


def test_bounds_and_what_is_tuned_by_default():
    made, _ = network(optax.adam)
    hyper = at_rate(0.1, b1=0.9, eps=1e-8, eps_root=1e-16, other=1.0)
    inf = float("inf")
    assert made.bounds(hyper)["optimiser"] == {
        "learning_rate": (0.0, inf), "b1": (0.0, 1.0), "eps": (-inf, inf),
        "eps_root": (-inf, inf), "other": (-inf, inf),
    }  # fmt: skip
    params = made.init(jax.random.key(0), at_rate(0.1)).params
    pruned = Pruned(made, jax.tree.map(lambda leaf: leaf > 0, params))
    assert pruned.bounds(hyper) == made.bounds(hyper)
    assert pruned.tunable(hyper) == made.tunable(hyper)
    assert [name for name, tuned in made.tunable(hyper)["optimiser"].items() if not tuned] == [
        "eps",
        "eps_root",
    ]


def final(run):
    return jnp.sum(run.state.params.w**2)


@pytest.mark.long
def test_tuning_keeps_an_optimiser_sound():
    """One step from 1 to 1 - rate: the best rate is 1. The momentum has no part in it."""
    made, samples = network(optax.sgd)
    hyper = at_rate(0.2, momentum=0.9)
    problem = TrainingProblem(made, samples, hyper, steps=2)
    found = tune(
        final,
        problem,
        jax.random.key(0),
        seeds=1,
        optimiser=optax.adam(2.0),
        iterations=3,
        tuned={"optimiser": {"momentum": True}},
    )
    momenta = np.asarray(found.hypers["optimiser"]["momentum"])
    assert np.all((momenta > 0) & (momenta < 1))
    assert momenta[1] != momenta[0]
    rates = found.hypers["optimiser"]["learning_rate"]
    np.testing.assert_array_equal(rates, np.asarray(0.2, rates.dtype))
