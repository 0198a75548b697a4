"""Random networks as a seed ensemble: one network a seed, in chunks and on all devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from nsh._checks import MOST, require_integer, require_key
from nsh._types import DTypeLike
from nsh.training.ensemble import Device, Members, checked_devices, padded

Shared = TypeVar("Shared")
Sample = TypeVar("Sample")
VMAP_SIZE = 64  # networks vmapped together


def over_seeds(
    sample: Callable[[Shared, Key[Array, ""]], Sample],
    shared: Shared,
    key: Key[Array, ""],
    *,
    seeds: int,
    chunk: int | None = None,
    devices: Sequence[Device] | None = None,
    callback: Callable[[int], object] | None = None,
) -> Sample:
    """``sample(shared, fold_in(key, i))`` for i < seeds, with leading axis [seeds].

    The machinery of `nsh.training.ensemble`, without its training: `chunk`, `devices` and
    `callback` as there, and seed i is bitwise the same whatever they and `seeds` are.
    Raises `ValueError` on bad input.
    """
    require_key(key)
    require_integer("seeds", seeds, 1, MOST)
    chunk = seeds if chunk is None else require_integer("chunk", chunk, 1)
    # two groups to vmap or more a device: XLA would dissolve a loop over one, and round otherwise
    size, devices = padded(min(chunk, seeds), 2 * VMAP_SIZE, checked_devices(devices))
    # any seed may be asked for, so that one program serves all numbers of seeds
    members, parts = Members(jnp.zeros((), jnp.int32), (), MOST, VMAP_SIZE, devices), []
    for first in range(0, seeds, chunk):
        count = min(chunk, seeds - first)
        result = _sampled(sample, shared, key, members, members.indices(first, size))
        part = jax.tree.map(lambda leaf, count=count: leaf[:count], result)
        parts.append(part if chunk >= seeds else jax.device_get(part))
        if callback is not None:
            jax.block_until_ready(part)
            callback(count)
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *p: np.concatenate(p), *parts)


@eqx.filter_jit
def _sampled(
    sample: Callable[[Shared, Array], Sample],
    shared: Shared,
    key: Key[Array, ""],
    members: Members,
    indices: Int[Array, " size"],
) -> Sample:
    def one(shared: Shared, _: None, key: Key[Array, ""]) -> Sample:
        return sample(shared, key)

    return members.map_some(one, shared, None, key, indices)


def standard_normals(
    key: Key[Array, ""], dtype: DTypeLike, *shapes: tuple[int, ...]
) -> list[Float[Array, "..."]]:
    """Independent N(0, 1) of all these shapes, in one call: each call takes a second to compile."""
    sizes = np.cumsum([math.prod(shape) for shape in shapes])
    flat = jax.random.normal(key, (int(sizes[-1]),), dtype)
    parts = jnp.split(flat, sizes[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
