"""Lottery tickets in networks: MLPs on the digits, pruned by magnitude and trained again."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Key, PyTree

from experiments.harness.dataset import dataset
from experiments.lottery_ticket.config import Config
from nsh import PerSeed, TrainingProblem, WithReplacement, ensemble
from nsh.data import digits
from nsh.measure import accuracy, cross_entropy, observe
from nsh.networks import Network, NetworkState, digit_mlp
from nsh.networks.pruning import Pruned, magnitude_mask, masked, random_mask
from nsh.study.progress import Progress

TABLE = """
    network_accuracy: kept kind network_seed [1]
    network_loss: kept kind network_seed [nat]
    dense_accuracy: network_seed [1]
    dense_loss: network_seed [nat]
    kept: kept [1]
"""
KINDS = ("ticket", "new start", "new start, rescaled", "random mask", "not retrained")


class Trained(NamedTuple):
    """Parameters after training, and the results on the test set."""

    params: PyTree
    accuracy: Float[Array, ""]
    loss: Float[Array, ""]


class Setup(eqx.Module):
    """What all runs share: the network, the data and how it is trained."""

    network: Network
    train: PyTree
    test: PyTree
    rate: Float[Array, ""]
    batch: int = eqx.field(static=True)

    @eqx.filter_jit
    def train_all(self, mask: PyTree, start: PyTree, key: Key[Array, ""], steps: int) -> Trained:
        """Each seed's network from its start, its mask held, on its mini-batches."""
        pruned = eqx.filter_vmap(lambda mask, start: Pruned(self.network, mask, start))
        hyper, sampler = {"optimiser": {"learning_rate": self.rate}}, WithReplacement(self.batch)
        system = PerSeed(pruned(mask, start))
        problem = TrainingProblem(system, self.train, hyper, steps=steps, sampler=sampler)
        seeds = jax.tree.leaves(start)[0].shape[0]
        params = ensemble(problem, key, seeds=seeds).state.params
        return jax.vmap(self.evaluate)(params)

    @eqx.filter_jit
    def starts(self, keys: Key[Array, " seeds"]) -> PyTree:
        """New parameters for each key."""
        hyper = {"optimiser": {"learning_rate": self.rate}}
        return jax.lax.map(lambda key: self.network.init(key, hyper).params, keys)

    def evaluate(self, params: PyTree) -> Trained:
        """Parameters with their results on the test set."""
        logits = observe(self.network, NetworkState(params, None), self.test).outputs
        return Trained(params, accuracy(logits, self.test.y), cross_entropy(logits, self.test.y))


@eqx.filter_jit
def _masks(ends: PyTree, keep: Array, keys: Array, scope: str) -> tuple[PyTree, PyTree]:
    """By magnitude, and at random with as many weights of each layer; for each seed."""

    def one(member: tuple[PyTree, Array]) -> tuple[PyTree, PyTree]:
        mask = magnitude_mask(member[0], keep, scope)
        return mask, random_mask(member[1], mask)

    return jax.lax.map(one, (ends, keys))  # as quick as a vmap, sooner compiled


@eqx.filter_jit
@eqx.filter_vmap
def _rescaled(new: PyTree, ticket: PyTree, mask: PyTree) -> PyTree:
    """New weights, of the same mean square over the mask as the ticket's in each layer."""

    def one(new: Array, ticket: Array, kept: Array) -> Array:
        squares = [jnp.sum(jnp.where(kept, w, 0) ** 2) for w in (ticket, new)]
        return jnp.where(squares[1] > 0, new * jnp.sqrt(squares[0] / squares[1]), new)

    return jax.tree.map(one, new, ticket, mask)


def run_networks(config: Config, progress: Progress) -> xr.Dataset:
    """Dense networks, and their pruned parts of every kind and size."""
    system, data = digit_mlp(config.network_hidden, "relu"), digits()
    setup = Setup(
        system, system.prepare(data.train_x, data.train_y),
        system.prepare(data.test_x, data.test_y), jnp.asarray(config.network_learning_rate),
        config.network_batch,
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(config.seed), 4 * config.network_seeds)
    run_keys, start_keys, new_keys, mask_keys = keys.reshape(4, -1)
    start, new = setup.starts(start_keys), setup.starts(new_keys)
    everything = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), start)

    def fit(mask: PyTree, start: PyTree) -> Trained:
        return setup.train_all(mask, start, run_keys[0], config.network_steps)

    shares, results = config.kept_shares, []
    with progress("tickets, digits", 1 + 4 * len(shares)) as advance:
        dense = fit(everything, start)
        advance(1)
        for share in shares:
            mask, other = _masks(dense.params, jnp.asarray(share), mask_keys, config.scope)
            rescaled = _rescaled(new, start, mask)
            parts = [(mask, start), (mask, new), (mask, rescaled), (other, start)]
            pruned = _evaluate_all(setup, jax.vmap(masked)(dense.params, mask))
            results.append([*(fit(*part) for part in parts), pruned])
            advance(4)
    values = {
        "network_accuracy": [[np.asarray(part.accuracy) for part in row] for row in results],
        "network_loss": [[np.asarray(part.loss) for part in row] for row in results],
        "dense_accuracy": dense.accuracy,
        "dense_loss": dense.loss,
    }
    return dataset(TABLE, values, kept=list(shares), kind=list(KINDS))


@eqx.filter_jit
def _evaluate_all(setup: Setup, params: PyTree) -> Trained:
    return jax.vmap(setup.evaluate)(params)
