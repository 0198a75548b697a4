"""Many steps as blocks of steps: for drawing mini-batches at once, and for checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

Block = Callable[..., tuple[Any, PyTree]]


def scan_blocks(
    block: Block, carry: Any, first: Int[Array, ""], count: int, most: int, *, checkpoint: bool
) -> tuple[Any, PyTree]:
    """Carry through steps first .. first + count - 1, at most `most` of them at once.

    ``block(carry, first, size)`` takes `size` steps and gives the carry and what it records,
    with leading axis. With `checkpoint`, reverse mode keeps only the carry between blocks and
    computes each block again.
    """
    size = block_size(count, most)
    blocks, rest = divmod(count, size)

    def steps(carry: Any, first: Any, size: int) -> tuple[Any, PyTree]:
        one = partial(block, size=size)
        return (jax.checkpoint(one, prevent_cse=False) if checkpoint else one)(carry, first)

    if blocks == 1:
        carry, recorded = steps(carry, first, size)
    else:
        starts = first + size * jnp.arange(blocks, dtype=jnp.int32)
        carry, recorded = jax.lax.scan(partial(steps, size=size), carry, starts)
        recorded = jax.tree.map(lambda leaf: leaf.reshape(blocks * size, *leaf.shape[2:]), recorded)
    if rest:
        carry, last = steps(carry, first + blocks * size, rest)
        recorded = jax.tree.map(lambda *parts: jnp.concatenate(parts), recorded, last)
    return carry, recorded


def block_size(count: int, most: int) -> int:
    """Choose how many of `count` steps to take at once: `most`, or somewhat less to leave no rest.

    A rest is a second program to compile.
    """
    if count <= most:
        return count
    exact = max(size for size in range(1, most + 1) if count % size == 0)
    return exact if 4 * exact >= most else most


class Stretch(NamedTuple):
    """Recordings at equal distances: each a scan, which compiles the recording once."""

    gap: int
    count: int
    from_start: bool
    first: int


def stretches(times: Sequence[int]) -> list[Stretch]:
    """Recorded times as stretches of equal gaps.

    `count` recordings, `gap` steps between them, after step `first`; `from_start`: step 0 is
    recorded before them.
    """
    at_start = len(times) > 0 and times[0] == 0
    gaps = np.diff(np.asarray(times, int), prepend=0)[int(at_start) :].tolist()
    found, first = [], 0
    for gap, same in groupby(gaps):
        count = len(list(same))
        found.append(Stretch(gap, count, at_start and first == 0, first))
        first += gap * count
    return found or [Stretch(0, 0, True, 0)] * at_start
