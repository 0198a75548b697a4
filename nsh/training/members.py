"""The members of an ensemble, one by one, in lanes of a vector and on many devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree

# a Device, which type checkers know as a variable
Device = Any
AXIS = "members"


def map_members(
    function: Callable[[Any, Int[Array, ""]], PyTree],
    shared: PyTree,
    numbers: Int[Array, " members"],
    lanes: int,
    devices: Sequence[Device],
) -> PyTree:
    """``function(shared, number)`` for all these members, with leading axis; called inside jit.

    `lanes` of them are vmapped together, such groups run one after the other (`lax.map`), and
    each device has an equal share of the groups: number of members and devices are those of
    `shares`. What a device computes of a group does not depend on the others,
    so members are bitwise the same on any number of devices.
    """

    arrays, rest = eqx.partition(shared, eqx.is_array)

    def of_one_device(arrays: PyTree, numbers: Int[Array, " share"]) -> PyTree:
        def one(number: Int[Array, ""]) -> PyTree:
            return function(eqx.combine(arrays, rest), number)

        if lanes == 1:
            return jax.lax.map(one, numbers)
        # not by `batch_size` of `lax.map`, which cannot shape results without numbers
        groups = numbers.reshape(-1, lanes)
        result = jax.lax.map(jax.vmap(one), groups)
        return jax.tree.map(lambda leaf: leaf.reshape(groups.size, *leaf.shape[2:]), result)

    if len(devices) == 1:
        return of_one_device(arrays, numbers)
    mesh = Mesh(np.asarray(devices), (AXIS,))
    everywhere, split = PartitionSpec(), PartitionSpec(AXIS)
    result = jax.shard_map(
        of_one_device, mesh=mesh, in_specs=(everywhere, split), out_specs=split, check_vma=False
    )(arrays, numbers)
    if jax.process_count() > 1:  # so that every host has all of it
        result = jax.lax.with_sharding_constraint(result, NamedSharding(mesh, everywhere))
    return result


def shares(count: int, lanes: int, devices: Sequence[Device]) -> tuple[int, tuple[Device, ...]]:
    """`count` members rounded up to whole groups of lanes on every device, and these devices.

    No more devices than groups, except that every host must take part.
    """
    groups = math.ceil(count / lanes)
    used = tuple(devices if jax.process_count() > 1 else devices[:groups])
    return math.ceil(groups / len(used)) * len(used) * lanes, used
