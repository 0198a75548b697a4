"""Matrices of pairs of inputs, computed some inputs on a side at a time."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree


def in_blocks(
    block_of: Callable[[Array, Array], PyTree],
    shape: tuple[int, int],
    block: int,
    *,
    symmetric: bool,
) -> PyTree:
    """``block_of(first row, first column)``, leaves [block, block, ...], as leaves [n, m, ...].

    `shape`: (n, m). The last blocks begin in the matrix and may end beyond it. `symmetric`: only
    blocks on and above the diagonal are computed. Those below hold what `mirrored` replaces.
    """
    blocks = tuple(-(-count // block) for count in shape)
    number = np.arange(blocks[0] * blocks[1]).reshape(blocks)
    if symmetric:
        row, column = np.triu_indices(blocks[0])
        number[row, column] = number[column, row] = np.arange(len(row))
    else:
        row, column = np.indices(blocks).reshape(2, -1)
    starts = jnp.asarray(block * np.stack([row, column], 1), jnp.int32)
    found = jax.lax.map(lambda start: block_of(start[0], start[1]), starts)

    def whole(parts: Array) -> Array:
        ordered = jnp.swapaxes(parts[number], 1, 2)
        sides = blocks[0] * block, blocks[1] * block
        return ordered.reshape(*sides, *ordered.shape[4:])[: shape[0], : shape[1]]

    return jax.tree.map(whole, found)


def mirrored(pairs: Array, diagonal: Array | None = None) -> Array:
    """What is above the diagonal on both sides of it, or of the given one: [n, n, ...]."""
    more = (1,) * (pairs.ndim - 2)
    row = jnp.arange(len(pairs)).reshape(-1, 1, *more)
    column = jnp.swapaxes(row, 0, 1)
    found = jnp.where(row < column, pairs, jnp.swapaxes(pairs, 0, 1))
    return found if diagonal is None else jnp.where(row == column, diagonal[:, None], found)
