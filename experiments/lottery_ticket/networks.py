"""Lottery tickets in networks: MLPs on the digits, pruned by magnitude and trained again."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Key, PyTree

from experiments.harness.progress import Progress
from nsh import TrainingProblem, WithReplacement
from nsh.measure import accuracy, cross_entropy, observe
from nsh.networks import Network, NetworkState, digit_mlp, digits
from nsh.networks.pruning import Pruned, magnitude_mask, masked, random_mask
from nsh.training import train

KINDS = ("ticket", "new start", "new start, rescaled", "random mask", "not retrained")


class Trained(NamedTuple):
    """Parameters after training, and the results on the test set."""

    params: PyTree
    accuracy: Float[Array, ""]
    loss: Float[Array, ""]


class Lab(eqx.Module):
    """What all runs share: the network, the data and how it is trained."""

    network: Network
    train: PyTree
    test: PyTree
    rate: Float[Array, ""]
    batch: int = eqx.field(static=True)

    @eqx.filter_jit
    def fitted(
        self, mask: PyTree, start: PyTree, keys: Key[Array, " seeds"], steps: int
    ) -> Trained:
        """Each seed's network from its start, its mask held, on its mini-batches."""

        def one(given: tuple[PyTree, PyTree, Array]) -> Trained:
            mask, start, key = given
            system, hyper = Pruned(self.network, mask, start), {"learning_rate": self.rate}
            sampler = WithReplacement(self.batch)
            problem = TrainingProblem(system, self.train, hyper, steps=steps, sampler=sampler)
            run = train(problem, key)
            return self.judged(run.state.params)

        return jax.lax.map(one, (mask, start, keys), batch_size=8)

    @eqx.filter_jit
    def starts(self, keys: Key[Array, " seeds"]) -> PyTree:
        """New parameters for each key."""
        hyper = {"learning_rate": self.rate}
        return jax.lax.map(lambda key: self.network.init(key, hyper).params, keys)

    def judged(self, params: PyTree) -> Trained:
        """Parameters with their results on the test set."""
        logits = observe(self.network, NetworkState(params, None), self.test).logits
        return Trained(params, accuracy(logits, self.test.y), cross_entropy(logits, self.test.y))


@eqx.filter_jit
def _masks(ends: PyTree, keep: Array, keys: Array, scope: str) -> tuple[PyTree, PyTree]:
    """By magnitude, and at random with as many weights of each layer; for each seed."""

    def one(given: tuple[PyTree, Array]) -> tuple[PyTree, PyTree]:
        mask = magnitude_mask(given[0], keep, scope)
        return mask, random_mask(given[1], mask)

    return jax.lax.map(one, (ends, keys))  # as quick as a vmap, sooner compiled


@eqx.filter_jit
@eqx.filter_vmap
def _rescaled(new: PyTree, ticket: PyTree, mask: PyTree) -> PyTree:
    """New weights, of the same mean square over the mask as the ticket's in each layer."""

    def one(new: Array, ticket: Array, kept: Array) -> Array:
        squares = [jnp.sum(jnp.where(kept, w, 0) ** 2) for w in (ticket, new)]
        return jnp.where(squares[1] > 0, new * jnp.sqrt(squares[0] / squares[1]), new)

    return jax.tree.map(one, new, ticket, mask)


def run_networks(config: Any, progress: Progress) -> xr.Dataset:
    """Dense networks, and their pruned parts of every kind and size."""
    system, data = digit_mlp(config.network_hidden, "relu"), digits()
    lab = Lab(
        system, system.prepare(data.train_x, data.train_y),
        system.prepare(data.test_x, data.test_y), jnp.asarray(config.network_learning_rate),
        config.network_batch,
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(config.seed), 4 * config.network_seeds)
    run_keys, start_keys, new_keys, mask_keys = keys.reshape(4, -1)
    start, new = lab.starts(start_keys), lab.starts(new_keys)
    everything = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), start)

    def fit(mask: PyTree, start: PyTree) -> Trained:
        return lab.fitted(mask, start, run_keys, config.network_steps)

    shares, found = config.kept_shares, []
    with progress("tickets, digits", 1 + 4 * len(shares)) as advance:
        dense = fit(everything, start)
        advance(1)
        for share in shares:
            mask, other = _masks(dense.params, jnp.asarray(share), mask_keys, config.scope)
            results = [
                fit(mask, start), fit(mask, new), fit(mask, _rescaled(new, start, mask)),
                fit(other, start), _judged(lab, jax.vmap(masked)(dense.params, mask)),
            ]  # fmt: skip
            found.append(results)
            advance(4)
    dims, plain = ("kept", "kind", "network_seed"), {"units": "1"}
    losses = [[np.asarray(result.loss) for result in results] for results in found]
    accuracies = [[np.asarray(result.accuracy) for result in results] for results in found]
    return xr.Dataset(
        {
            "network_accuracy": (dims, accuracies, plain),
            "network_loss": (dims, losses, {"units": "nat"}),
            "dense_accuracy": ("network_seed", np.asarray(dense.accuracy), plain),
            "dense_loss": ("network_seed", np.asarray(dense.loss), {"units": "nat"}),
        },
        {"kept": ("kept", list(shares), plain), "kind": list(KINDS)},
    )


@eqx.filter_jit
def _judged(lab: Lab, params: PyTree) -> Trained:
    return jax.vmap(lab.judged)(params)
