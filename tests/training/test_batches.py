"""Samplers, seen through training a system that does nothing but remember its last batch."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nsh import Epochs, FullBatch, SaveAt, System, TrainingProblem, WithReplacement, train

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
