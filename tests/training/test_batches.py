"""Samplers, seen through training a system that does nothing but remember its last batch."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untyped import stats

from nsh import (
    Bootstrap,
    Constant,
    Epochs,
    FixedBatches,
    FullBatch,
    Geometric,
    Neurashed,
    PerPoint,
    RandomSubset,
    Rules,
    SaveAt,
    Subset,
    System,
    TrainingProblem,
    VariableSize,
    WithReplacement,
    ensemble,
    train,
)
from nsh.neurashed import figure4
from nsh.neurashed.extensions import RandomPathways, RandomPathwaysHyper
from nsh.theory.two_layer import Linearised, Symmetric, TwoLayer
from nsh.training import Keys
from nsh.training.counters import count_bits

pytestmark = pytest.mark.core


class Recorder(System):
    size: int = eqx.field(static=True)

    def prepare(self, x, y):
        return jnp.asarray(x)

    def init(self, key, hyper):
        return jnp.full(self.size, -1, jnp.int32)

    def step(self, state, batch, hyper, key):
        return batch

    def outputs(self, state, example):
        return jnp.zeros(2)

    def features(self, state, example):
        return (jnp.zeros(1),)


def batches(sampler, size, samples, steps, seed=0):
    """Which samples each step's mini-batch holds."""
    examples = jnp.arange(samples, dtype=jnp.int32)
    problem = TrainingProblem(
        Recorder(size), examples, None, steps=steps, sampler=sampler, save=SaveAt(every=1)
    )
    run = train(problem, jax.random.key(seed))
    assert np.all(run.saved[0] == -1)
    assert run.status == 0
    return np.asarray(run.saved[1:])


@pytest.mark.parametrize("size", [1, 3])
def test_with_replacement_is_uniform_and_independent(size):
    drawn = batches(WithReplacement(size), size, samples=7, steps=4200)
    assert stats.chisquare(np.bincount(drawn.ravel(), minlength=7)).pvalue > 1e-3
    following = np.bincount(7 * drawn[:-1, 0] + drawn[1:, 0], minlength=49)
    assert stats.chisquare(following).pvalue > 1e-3
    beside = np.bincount(7 * drawn[:, 0] + drawn[:, -1], minlength=49)
    assert size == 1 or stats.chisquare(beside).pvalue > 1e-3


def test_with_replacement_takes_batches_larger_than_the_data():
    drawn = batches(WithReplacement(20), 20, samples=3, steps=50)
    assert stats.chisquare(np.bincount(drawn.ravel())).pvalue > 1e-3


@pytest.mark.parametrize(("size", "samples"), [(4, 12), (5, 12), (12, 12)])
def test_epochs_are_permutations(size, samples):
    per_epoch = samples // size
    drawn = batches(Epochs(size), size, samples, steps=6 * per_epoch + per_epoch // 2)
    epochs = drawn[: 6 * per_epoch].reshape(6, per_epoch * size)
    for epoch in epochs:
        assert len(set(epoch.tolist())) == per_epoch * size
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 6
    # those left over at the end of one epoch come up in others
    assert set(drawn.ravel().tolist()) == set(range(samples))


@pytest.mark.thorough
def test_each_place_in_an_epoch_is_uniform():
    drawn = batches(Epochs(2), 2, samples=5, steps=4000)
    for place in (drawn[::2, 0], drawn[1::2, 1]):
        assert stats.chisquare(np.bincount(place, minlength=5)).pvalue > 1e-3


def test_full_batch_is_everything_in_order():
    np.testing.assert_array_equal(batches(FullBatch(), 5, 5, 4), np.tile(np.arange(5), (4, 1)))


def test_seeds_see_other_batches():
    first, again, other = (batches(WithReplacement(3), 3, 50, 9, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_fixed_batches_come_in_turn():
    given = np.array([[0, 3], [2, 2], [1, 0]])
    found = batches(FixedBatches(given), 2, 4, 7)
    np.testing.assert_array_equal(found, given[np.arange(7) % 3])


def rows(sampler, seeds, samples=12, steps=6):
    """The sampler's mini-batches for some seeds in a row: [seeds, steps, batch]."""

    def one(seed):
        key = jax.random.key(seed)
        return sampler.draw(sampler.init(key, samples), jnp.int32(0), steps, key, samples)[0]

    return np.asarray(jax.jit(jax.vmap(one))(jnp.arange(seeds)))


def test_a_random_subset_is_the_seeds_own_and_stays():
    drawn = rows(RandomSubset(Epochs(2), 4), 400)
    own = [np.unique(seed) for seed in drawn]
    assert {len(chosen) for chosen in own} == {4}
    # each epoch of two mini-batches holds all of it
    np.testing.assert_array_equal(np.sort(drawn[:, 2:4].reshape(400, -1)), np.stack(own))
    assert stats.chisquare(np.bincount(np.concatenate(own), minlength=12)).pvalue > 1e-3
    assert len({tuple(chosen) for chosen in own}) > 200  # of 495


def test_a_subset_of_all_is_all_and_its_draws_depend_on_its_size_alone():
    whole, other = rows(WithReplacement(3), 2), np.array([3, 3, 7, 0, 9, 11, 1, 5, 2, 4, 6, 8])
    np.testing.assert_array_equal(rows(Subset(WithReplacement(3), np.arange(12)), 2), whole)
    np.testing.assert_array_equal(rows(Subset(WithReplacement(3), other), 2), other[whole])
    sized = rows(Subset(VariableSize(WithReplacement(3), 2), other), 2)
    np.testing.assert_array_equal(sized[..., :2], other[whole][..., :2])
    np.testing.assert_array_equal(sized[..., 2], ~other[whole][..., 0])  # a repeat stays one


def test_a_bootstrap_is_drawn_once_for_each_seed():
    drawn = rows(Bootstrap(FullBatch()), 2000, steps=2)
    assert drawn.shape == (2000, 2, 12)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    counts = np.stack([np.bincount(seed, minlength=12) for seed in drawn[:, 0]])
    # a count is binomial: 12 draws, each with chance 1/12
    times = np.bincount(counts[:, 0], minlength=5)
    expected = 2000 * stats.binom.pmf(np.arange(4), 12, 1 / 12)
    expected = np.append(expected, 2000 - expected.sum())
    found = np.append(times[:4], times[4:].sum())
    assert stats.chisquare(found, expected).pvalue > 1e-3
    inside = rows(Bootstrap(WithReplacement(3)), 50, steps=40)
    again = rows(Bootstrap(FullBatch()), 50, steps=1)
    for mine, whole in zip(inside, again, strict=True):
        assert set(mine.ravel()) <= set(whole.ravel())


def small_batches(system, examples, hyper, sampler, indices, size):
    """Final states by the mini-batches' first `size` examples: masked, and alone."""
    problem = TrainingProblem(system, examples, hyper, steps=len(indices), sampler=sampler)
    key = jax.random.key(1)
    found = train(problem, key).state
    alone = FixedBatches(indices[:, :size])
    return found, train(eqx.tree_at(lambda p: p.sampler, problem, alone), key).state


def test_variable_size_is_exact_for_means():
    rng, given = np.random.default_rng(0), np.random.default_rng(1).integers(6, size=(5, 4))
    system = Linearised(TwoLayer(3, Symmetric(4), activation="tanh"))
    examples = system.prepare(rng.normal(size=(6, 3)), rng.normal(size=6))
    hyper = {"alpha": 1.0, "learning_rate": 0.5, "temperature": 0.1}
    sampler = VariableSize(FixedBatches(given), 3)  # 4 is no multiple: repeats would tilt the mean
    found, alone = small_batches(system, examples, hyper, sampler, given, 3)
    for mine, other in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.thorough
def test_batch_size_is_a_grid_axis_for_neurashed():
    graph, inputs = figure4()
    system = Neurashed(graph, Constant(0.5), Constant(0.5))
    sizes, rules = jnp.array([1, 3, 4]), Rules(Geometric(1.5), Geometric(0.75))
    spread = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (3, *leaf.shape)), rules)
    examples, drawn = system.prepare(inputs.x, inputs.y), WithReplacement(4)
    problem = TrainingProblem(
        system, examples, spread, steps=9, sampler=VariableSize(drawn, PerPoint(sizes)), grid_ndim=1
    )
    found, key = ensemble(problem, jax.random.key(0), seeds=2).state, jax.random.key(0)
    of_batches = Keys.of(jax.random.fold_in(key, 1)).batches
    indices, _ = drawn.draw(None, jnp.int32(0), 9, of_batches, 8)
    for place, size in enumerate(sizes.tolist()):
        words = [system.events(some(examples, batch[:size])) for batch in indices]
        counts = count_bits(jnp.stack(words))
        state = system.state_from_counts(system.init(key, rules), counts, 9, rules)
        np.testing.assert_allclose(
            found.log_amplification[place, 1], state.log_amplification, rtol=1e-5, atol=1e-5
        )


def some(examples, which):
    return jax.tree.map(lambda leaf: leaf[which], examples)


def test_repeats_are_not_drawn_anew():
    """One example of eight places: a node is dropped as often as in a batch of one."""
    graph, inputs = figure4()
    system = RandomPathways(Neurashed(graph, Constant(1.0), Constant(1.0)))
    hyper = RandomPathwaysHyper(Rules(Geometric(2.0), Geometric(0.5)), 0.5)
    sampler = VariableSize(WithReplacement(8), 1)
    examples = system.prepare(inputs.x[:1], inputs.y[:1])
    problem = TrainingProblem(system, examples, hyper, steps=1, sampler=sampler)
    state = ensemble(problem, jax.random.key(0), seeds=2000).state
    fires = int(np.argmax(np.asarray(inputs.x)[0]))  # of level 1: a node of the pathway
    grown = np.asarray(state.inner.log_amplification[:, fires]) > 0
    assert abs(grown.mean() - 0.5) < 4 * np.sqrt(0.25 / 2000)
