"""Masks by magnitude and at random, and training with a mask held."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nsh import TrainingProblem, train
from nsh.networks import MLP, Network, NetworkState
from nsh.networks.pruning import Pruned, magnitude_mask, masked, random_mask
from nsh.training import FullBatch


def make(key):
    return MLP((6, 5, 4, 3), jnp.tanh, key=key)


def adam(learning_rate):
    return optax.adam(learning_rate, eps_root=1e-16)


NETWORK = Network(make, adam)
HYPER = {"optimiser": {"learning_rate": jnp.array(0.05)}}


@pytest.fixture(scope="module")
def params():
    return NETWORK.init(jax.random.key(1), HYPER).params


def weights(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree) if leaf.ndim == 2]


@pytest.mark.long
@pytest.mark.core
@pytest.mark.parametrize("keep", [0.01, 0.3, 0.5, 1.0])
def test_magnitude_masks_are_those_of_a_sorted_list(params, keep):
    sizes = [np.abs(w) for w in weights(params)]
    for mask, size in zip(weights(magnitude_mask(params, keep)), sizes, strict=True):
        count = max(round(keep * size.size), 1)
        least = sorted(size.ravel())[-count]
        np.testing.assert_array_equal(mask, size >= least)
        assert mask.sum() == count
    together = np.concatenate([size.ravel() for size in sizes])
    count = max(round(keep * together.size), 1)
    least = sorted(together)[-count]
    masks = weights(magnitude_mask(params, keep, "global"))
    for mask, size in zip(masks, sizes, strict=True):
        np.testing.assert_array_equal(mask, size >= least)
    assert all(leaf.all() for leaf in jax.tree.leaves(magnitude_mask(params, 0.01))[1::2])


@pytest.mark.long
@pytest.mark.core
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_no_more_is_kept_than_asked(scope):
    """Pruned weights and others of equal size: exactly the share asked for, the largest first."""
    pruned = {"W": jnp.array([[5.0, 4.0], [3.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])}
    for share, count in ((0.5, 5), (0.3, 3), (0.2, 2)):
        mask = np.asarray(magnitude_mask(pruned, share, scope)["W"])
        assert mask.sum() == count
        assert mask.ravel()[: min(count, 3)].all()
    equal = magnitude_mask({"W": jnp.full((4, 5), -0.5)}, 0.35, scope)["W"]
    assert equal.sum() == 7
    # NaN stays, lest a run that has diverged look healthy
    spoilt = magnitude_mask({"W": jnp.array([[1.0, jnp.nan, 3.0, jnp.nan]])}, 0.75, scope)["W"]
    np.testing.assert_array_equal(spoilt, [[False, True, True, True]])
    # counted in floats of 32 bits, whatever the weights': 0.7 of 1,000 is 700, not 698
    assert magnitude_mask({"W": jnp.ones((10, 100), jnp.bfloat16)}, 0.7, scope)["W"].sum() == 700


@pytest.mark.long
@pytest.mark.core
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_pruning_in_rounds(params, scope):
    """The documented recipe: round r keeps 0.8^r of all weights, each within the one before."""
    rng = np.random.default_rng(0)
    total = sum(w.size for w in weights(params))
    trained, before = params, jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), params)
    for number in range(1, 8):
        mask = magnitude_mask(trained, 0.8**number, scope)
        counts = [m.sum() for m in weights(mask)]
        if scope == "global":
            assert sum(counts) == round(0.8**number * total)
        else:
            assert counts == [round(0.8**number * w.size) for w in weights(params)]
        inside = jax.tree.map(lambda now, then: bool(np.all(then | ~now)), mask, before)
        assert all(jax.tree.leaves(inside))
        # any training that keeps the pruned weights at 0
        moved = jax.tree.map(
            lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), params
        )
        trained, before = masked(moved, mask), mask


@pytest.mark.long
def test_one_program_for_all_shares_and_seeds(params):
    keeps = jnp.array([0.2, 0.7])

    @jax.jit
    @jax.vmap
    def masks(keep, key):
        mask = magnitude_mask(params, keep)
        return mask, random_mask(key, mask)

    by_size, at_random = masks(keeps, jax.random.split(jax.random.key(0), 2))
    for place, keep in enumerate([0.2, 0.7]):
        alone = magnitude_mask(params, keep)
        for many, one in zip(weights_of_many(by_size), weights(alone), strict=True):
            np.testing.assert_array_equal(many[place], one)
        for drawn, one in zip(weights_of_many(at_random), weights(alone), strict=True):
            assert drawn[place].sum() == one.sum()


def weights_of_many(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree) if leaf.ndim == 3]


def test_random_masks_keep_every_weight_equally_often():
    mask = {"W": jnp.arange(12).reshape(3, 4) < 5, "b": jnp.ones(3, bool)}
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.jit(jax.vmap(lambda key: random_mask(key, mask)))(keys)
    assert drawn["b"].all()
    counts = np.asarray(drawn["W"]).sum((1, 2))
    assert (counts == 5).all()
    share = np.asarray(drawn["W"]).mean(0)
    error = np.sqrt(5 / 12 * 7 / 12 / len(keys))
    assert np.abs(share - 5 / 12).max() < 4 * error


@pytest.mark.long
def test_training_with_a_mask_is_descent_in_the_kept_weights(params):
    """Against Optax on the kept weights alone, in vectors of their own."""
    rng = np.random.default_rng(0)
    examples = NETWORK.prepare(rng.normal(size=(8, 6)), rng.integers(0, 3, 8))
    mask = magnitude_mask(params, 0.4)
    system, steps = Pruned(NETWORK, mask, params), 12
    problem = TrainingProblem(system, examples, HYPER, steps=steps, sampler=FullBatch())
    end = train(problem, jax.random.key(0)).state.params
    leaves, structure = jax.tree.flatten(params)
    places = [np.flatnonzero(leaf) for leaf in jax.tree.leaves(mask)]

    def whole(vectors):
        filled = [
            jnp.zeros(leaf.size, leaf.dtype).at[place].set(vector).reshape(leaf.shape)
            for leaf, place, vector in zip(leaves, places, vectors, strict=True)
        ]
        return jax.tree.unflatten(structure, filled)

    def loss(vectors):
        logits = jax.vmap(NETWORK.skeleton.module(whole(vectors)))(examples.x)
        labels = jax.nn.one_hot(examples.y, 3, dtype=logits.dtype)
        return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(logits), axis=1))

    vectors = [leaf.ravel()[place] for leaf, place in zip(leaves, places, strict=True)]
    optimiser = adam(HYPER["optimiser"]["learning_rate"])

    @jax.jit
    def descended(vectors, state):
        updates, state = optimiser.update(jax.grad(loss)(vectors), state)
        return optax.apply_updates(vectors, updates), state

    with jax.numpy_dtype_promotion("standard"):
        state = jax.jit(optimiser.init)(vectors)
        for _ in range(steps):
            vectors, state = descended(vectors, state)
    kept = jax.jit(whole)(vectors)
    for got, want in zip(jax.tree.leaves(end), jax.tree.leaves(kept), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
    dropped = jax.tree.map(lambda leaf, kept: leaf[~np.asarray(kept)], end, mask)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(dropped))
    # logits and features are the network's
    example = jax.tree.map(lambda leaf: leaf[0], examples)
    np.testing.assert_array_equal(
        system.outputs(NetworkState(end, None), example),
        NETWORK.outputs(NetworkState(end, None), example),
    )
    assert len(system.features(NetworkState(end, None), example)) == 2


def test_starts(params):
    mask = magnitude_mask(params, 0.4)
    key = jax.random.key(3)
    new = Pruned(NETWORK, mask).init(key, HYPER)
    chex.assert_trees_all_equal(new.params, masked(NETWORK.init(key, HYPER).params, mask))
    old = Pruned(NETWORK, mask, params).init(key, HYPER)
    chex.assert_trees_all_equal(old.params, masked(params, mask))
    chex.assert_trees_all_equal(old.optimiser_state, new.optimiser_state)


@pytest.mark.core
def test_bad_input(params):
    for keep in (0.0, 1.5, np.nan):
        with pytest.raises(ValueError, match=r"keep = .*: must be a share above 0"):
            magnitude_mask(params, keep)
    with pytest.raises(ValueError, match="scope = 'node': must be 'layer' or 'global'"):
        magnitude_mask(params, 0.5, "node")
    with pytest.raises(ValueError, match="with arrays of two or more axes to prune"):
        magnitude_mask({"b": jnp.ones(3)}, 0.5)
    mask = magnitude_mask(params, 0.5)
    with pytest.raises(ValueError, match="mask's shapes"):
        Pruned(NETWORK, {"W": jnp.ones((2, 2), bool)})
    with pytest.raises(ValueError, match=r"mask\.dtype"):
        Pruned(NETWORK, params)
    with pytest.raises(ValueError, match="start's shapes"):
        Pruned(NETWORK, mask, {"W": jnp.ones((2, 2))})
