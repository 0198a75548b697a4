"""Which members an ensemble has, and a function of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh.training.members import Device, Member, map_members, shares


class Layout(eqx.Module):
    """The members of an ensemble: seeds first_seed .. first_seed + seeds - 1 at all grid points."""

    first_seed: Int[Array, ""]
    shape: tuple[int, ...] = eqx.field(static=True)
    seeds: int = eqx.field(static=True)
    lanes: int = eqx.field(static=True)
    devices: tuple[Device, ...] = eqx.field(static=True)

    @property
    def points(self) -> int:
        """How many points the grid has."""
        return math.prod(self.shape)

    def map(
        self, function: Callable[..., PyTree], shared: PyTree, hypers: PyTree, key: Key[Array, ""]
    ) -> PyTree:
        """``function(shared, hyper, key)`` of all members, leaves [points, seeds, ...]; inside jit.

        `hypers`: leaves [points, ...], or [points, seeds, ...] with `seeds` 1 for all alike.
        """
        members = self.points * self.seeds
        size, devices = shares(members, self.lanes, self.devices)
        numbers = np.minimum(np.arange(size), members - 1)
        point, seed = (jnp.asarray(n, jnp.int32) for n in np.divmod(numbers, self.seeds))

        def one(given: Any, member: Member) -> PyTree:
            (shared, hypers, key, first_seed), (point, seed) = given, member
            hyper = jax.tree.map(lambda leaf: leaf[point, seed % leaf.shape[1]], hypers)
            return function(shared, hyper, jax.random.fold_in(key, first_seed + seed))

        given = (shared, hypers, key, self.first_seed)
        result = map_members(one, given, (point, seed), self.lanes, devices)
        parts = (self.points, self.seeds)
        return jax.tree.map(lambda leaf: leaf[:members].reshape(*parts, *leaf.shape[1:]), result)

    def shaped(self, tree: PyTree) -> PyTree:
        """Leaves [points, ...] as [*grid, ...]."""
        return jax.tree.map(lambda leaf: leaf.reshape(*self.shape, *leaf.shape[1:]), tree)
