"""Pruned networks: masks by magnitude or at random, and training with a mask held."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree

from nsh._checks import is_concrete, require, require_all
from nsh._types import ArrayLike
from nsh.networks.network import Network, NetworkExamples, NetworkState
from nsh.system import System


def magnitude_mask(params: PyTree, keep: float | Float[Array, ""], scope: str = "layer") -> PyTree:
    """Bools like `params`: the share `keep` of its weights that are largest in size.

    Weights are the floating-point arrays of two or more axes, such as W; others, such as biases,
    are kept whole. `keep` is a share of all weights, pruned ones included: of each array
    (``"layer"``) or of all together (``"global"``), rounded to the nearest number of weights, at
    least one. Exactly so many are kept; of equal sizes, the first (NaN counts as largest). (Frankle
    and Carbin, arXiv 1803.03635, Section 2, prune by layer; Section 4 globally.)

    To prune a share p in each of several rounds (the paper's Figure 1), give round r
    ``keep = (1 - p) ** r``: a weight that one round has pruned is 0 and stays out of the next.

    Jittable and vmappable, in `keep` too. Raises `ValueError` on a share outside (0, 1] and another
    scope; a traced share outside is cut to it, and NaN keeps all. Not differentiable.

    Example:
        Half of the weights are kept, and the bias:

        >>> from nsh.networks import magnitude_mask
        >>> params = {"w": jnp.array([[3.0, -1.0], [0.5, -4.0]]), "b": jnp.zeros(2)}
        >>> magnitude_mask(params, keep=0.5)["w"].tolist()
        [[True, False], [False, True]]
    """
    require(scope in ("layer", "global"), "scope", scope, "'layer' or 'global'")
    _check_share(keep)
    leaves, structure = jax.tree.flatten(params)
    prunable = [leaf for leaf in leaves if _is_weight(leaf)]
    require(prunable, "params", params, "with arrays of two or more axes to prune")
    rows = [jnp.abs(leaf).ravel() for leaf in prunable]
    if scope == "global":
        ends = np.cumsum([row.size for row in rows])[:-1]
        kept = jnp.split(_largest(jnp.concatenate(rows), keep), ends)
    else:
        kept = [_largest(row, keep) for row in rows]
    chosen = iter(kept)
    masks = [next(chosen) if _is_weight(leaf) else jnp.ones(leaf.size, bool) for leaf in leaves]
    shaped = [mask.reshape(leaf.shape) for mask, leaf in zip(masks, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def random_mask(key: Key[Array, ""], mask: PyTree) -> PyTree:
    """As many weights of each array kept as in `mask`, but drawn at random.

    Jittable, vmappable. Raises `ValueError` on a mask that is not of bools.

    Example:
        >>> from nsh.networks import random_mask
        >>> mask = {"w": jnp.array([[True, False, False], [False, True, False]])}
        >>> int(random_mask(jax.random.key(0), mask)["w"].sum())
        2
    """
    _require_bools(mask)
    leaves, structure = jax.tree.flatten(mask)
    # drawn in one row for all arrays: much faster to compile on CPUs
    bits = jax.random.bits(key, (sum(leaf.size for leaf in leaves),), jnp.uint32)
    ends = np.cumsum([leaf.size for leaf in leaves])
    shuffled = [
        _first_in_order(bits[end - leaf.size : end], jnp.sum(leaf)).reshape(leaf.shape)
        for leaf, end in zip(leaves, ends, strict=True)
    ]
    return jax.tree.unflatten(structure, shuffled)


class Pruned(System):
    """A `Network` whose weights outside `mask` are and stay 0.

    `mask`: bools like the network's parameters, e.g. from `magnitude_mask`. `start`: parameters to
    start from, e.g. those before the training that the mask comes from, which `nsh.training.start`
    gives (the winning ticket of Frankle and Carbin, arXiv 1803.03635); None: the network's own, new
    ones.

    After each step of the network the mask is applied again. That equals training the kept weights
    alone for every optimiser that treats each number by itself, such as SGD, momentum and Adam; it
    does not for one that looks at them all, as clipping by the global norm does. Differentiable
    as the network is. Raises `ValueError` on a mask or start unlike the parameters.

    Example:
        >>> from nsh.networks import Linear, Network, Pruned, magnitude_mask
        >>> network = Network(lambda key: Linear(4, 2, key=key), optax.sgd)
        >>> hyper = {"optimiser": {"learning_rate": 0.1}}
        >>> mask = magnitude_mask(network.init(jax.random.key(0), hyper).params, keep=0.25)
        >>> pruned = Pruned(network, mask)
        >>> int((pruned.init(jax.random.key(1), hyper).params.weight != 0).sum())
        2
    """

    network: Network
    mask: PyTree
    start: PyTree = None

    def __check_init__(self):
        params = self.network.shapes
        _require_alike("mask", self.mask, params)
        _require_bools(self.mask)
        if self.start is not None:
            _require_alike("start", self.start, params)

    def prepare(self, x: ArrayLike, y: ArrayLike) -> NetworkExamples:
        """See `Network.prepare`."""
        return self.network.prepare(x, y)

    def check(self, hyper: PyTree, steps: int) -> None:
        """See `Network.check`."""
        self.network.check(hyper, steps)

    def check_fit(self, num_examples: int, hyper: PyTree) -> None:
        """See `Network.check_fit`."""
        self.network.check_fit(num_examples, hyper)

    def check_examples(self, examples: NetworkExamples) -> None:
        """See `Network.check_examples`."""
        self.network.check_examples(examples)

    def bounds(self, hyper: PyTree) -> PyTree:
        """See `Network.bounds`."""
        return self.network.bounds(hyper)

    def tunable(self, hyper: PyTree) -> PyTree:
        """See `Network.tunable`."""
        return self.network.tunable(hyper)

    def init(self, key: Key[Array, ""], hyper: PyTree) -> NetworkState:
        """The start, masked, and the optimiser's state before its first step."""
        new = self.network.init(key, hyper)
        params = new.params if self.start is None else self.start
        return self.network.started(masked(params, self.mask), hyper, key, new.module_state)

    def step(
        self,
        state: NetworkState,
        batch: NetworkExamples,
        hyper: PyTree,
        key: Key[Array, ""],
    ) -> NetworkState:
        """One step of the network, then the mask."""
        after = self.network.step(state, batch, hyper, key)
        return dataclasses.replace(after, params=masked(after.params, self.mask))

    def update_at(
        self, state: NetworkState, example: NetworkExamples, hyper: PyTree, key: Key[Array, ""]
    ) -> NetworkState:
        """One update of the network at one example, then the mask."""
        after = self.network.update_at(state, example, hyper, key)
        return dataclasses.replace(after, params=masked(after.params, self.mask))

    def convert(self, x: Any, y: Any) -> NetworkExamples:
        """See `Network.convert`."""
        return self.network.convert(x, y)

    def targets(self, y: Any) -> Any:
        """See `Network.targets`."""
        return self.network.targets(y)

    def masked(self, batch: NetworkExamples, present: Bool[Array, " batch"]) -> NetworkExamples:
        """See `Network.masked`."""
        return self.network.masked(batch, present)

    @property
    def predicts(self) -> Literal["classes", "labels", "numbers", "anything"]:
        """See `Network.predicts`."""
        return self.network.predicts

    @property
    def class_names(self) -> tuple[Any, ...] | None:
        """See `Network.class_names`."""
        return self.network.class_names

    def outputs(self, state: NetworkState, example: NetworkExamples) -> PyTree:
        """See `Network.outputs`."""
        return self.network.outputs(state, example)

    def features(
        self, state: NetworkState, example: NetworkExamples
    ) -> tuple[Float[Array, " width"], ...]:
        """See `Network.features`."""
        return self.network.features(state, example)


def masked(params: PyTree, mask: PyTree) -> PyTree:
    """The parameters, with 0 outside the mask. Differentiable in the parameters.

    Raises `ValueError` on a mask that is not of bools.

    Example:
        >>> from nsh.networks import masked
        >>> masked(jnp.array([1.0, 2.0]), jnp.array([True, False])).tolist()
        [1.0, 0.0]
    """
    _require_bools(mask)
    return jax.tree.map(lambda leaf, kept: jnp.where(kept, leaf, 0), params, mask)


def _require_bools(mask: PyTree) -> None:
    """Or weights would pass for a mask: all that are not 0."""
    kinds = {str(jnp.result_type(leaf)) for leaf in jax.tree.leaves(mask)}
    require(kinds == {"bool"}, "mask.dtype", sorted(kinds), "bool")


def _require_alike(field: str, tree: PyTree, params: PyTree) -> None:
    """Raise `ValueError` unless the tree has the parameters' structure and shapes."""
    shapes = [tuple(np.shape(leaf)) for leaf in jax.tree.leaves(tree)]
    wanted = [leaf.shape for leaf in jax.tree.leaves(params)]
    require(shapes == wanted, f"{field}'s shapes", shapes, f"the parameters': {wanted}")


def _is_weight(leaf: Array) -> bool:
    return jnp.ndim(leaf) >= 2 and jnp.issubdtype(leaf.dtype, jnp.floating)


def _largest(sizes: Float[Array, " n"], keep: ArrayLike) -> Bool[Array, " n"]:
    """Mark the largest values, a fraction `keep` of all."""
    share = jnp.asarray(keep, float)
    count = jnp.clip(jnp.round(jnp.nan_to_num(share, nan=1.0) * sizes.size), 1, sizes.size)
    # NaN, of a run that has diverged, stays in: dropped, the run would pass for healthy
    return _first_in_order(jnp.where(jnp.isnan(sizes), -jnp.inf, -sizes), count)


def _first_in_order(values: Array, count: Array) -> Bool[Array, " n"]:
    """Mark the `count` smallest values, with ties broken."""
    ranked = jnp.arange(values.size, dtype=jnp.int32) < count.astype(jnp.int32)
    return jnp.zeros(values.size, bool).at[jnp.argsort(values)].set(ranked)


def _check_share(keep: ArrayLike) -> None:
    if is_concrete(keep):
        share = np.asarray(keep)
        require(share.ndim == 0, "keep.shape", share.shape, "(), one share; for more use jax.vmap")
        require_all((share > 0) & (share <= 1), "keep", share, "a share above 0, up to 1")
