"""Which members an ensemble has, and a function of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import plain_integer
from nsh.training.members import Device, map_members, shares


class Layout(eqx.Module):
    """The members of an ensemble: seeds first_seed .. first_seed + seeds - 1 at all grid points."""

    first_seed: Int[Array, ""]
    shape: tuple[int, ...] = eqx.field(static=True)
    seeds: int = eqx.field(static=True, converter=plain_integer)
    lanes: int = eqx.field(static=True, converter=plain_integer)
    devices: tuple[Device, ...] = eqx.field(static=True)

    @property
    def points(self) -> int:
        """Number of grid points."""
        return math.prod(self.shape)

    @property
    def members(self) -> int:
        """Number of members: seeds at every point."""
        return self.points * self.seeds

    def numbers(self, first: int, size: int) -> Int[Array, " size"]:
        """The members from the `first` on, the last being repeated to make up the size."""
        last = self.members - 1
        return jnp.asarray(np.minimum(np.arange(first, first + size), last), jnp.int32)

    def of(
        self,
        function: Callable[..., PyTree],
        shared: PyTree,
        hypers: PyTree,
        key: Key[Array, ""],
        numbers: Int[Array, " size"],
    ) -> PyTree:
        """``function(shared, hyper, key)`` of some members, leaves [size, ...]; inside `jit`.

        `hypers`: leaves [points, seeds, ...], with `seeds` 1 for all alike.
        """

        def one(given: Any, number: Int[Array, ""]) -> PyTree:
            shared, hypers, key, first_seed = given
            point, seed = jnp.divmod(number, jnp.int32(self.seeds))
            hyper = jax.tree.map(lambda leaf: leaf[point, seed % leaf.shape[1]], hypers)
            return function(shared, hyper, jax.random.fold_in(key, first_seed + seed))

        return map_members(
            one, (shared, hypers, key, self.first_seed), numbers, self.lanes, self.devices
        )

    def map(
        self, function: Callable[..., PyTree], shared: PyTree, hypers: PyTree, key: Key[Array, ""]
    ) -> PyTree:
        """``function(shared, hyper, key)`` of all members, leaves [points, seeds, ...]."""
        size, devices = shares(self.members, self.lanes, self.devices)
        used = replace(self, devices=devices)
        result = used.of(function, shared, hypers, key, self.numbers(0, size))
        parts = (self.points, self.seeds)
        return jax.tree.map(
            lambda leaf: leaf[: self.members].reshape(*parts, *leaf.shape[1:]), result
        )

    def over_points(self, hyper: PyTree) -> PyTree:
        """Hyperparameters [*grid, *leaf] as [points, 1, *leaf], alike for all seeds."""
        axes = len(self.shape)
        return jax.tree.map(lambda x: jnp.reshape(x, (self.points, 1, *x.shape[axes:])), hyper)

    def shaped(self, tree: PyTree) -> PyTree:
        """Leaves [points, ...] as [*grid, ...]."""
        return jax.tree.map(lambda leaf: leaf.reshape(*self.shape, *leaf.shape[1:]), tree)
