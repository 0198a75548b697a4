"""How often each bit is set in many packed words: bit-sliced counters."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Int, UInt32

Planes = list[UInt32[Array, "n words"]]
WORD = 32


def count_bits(words: UInt32[Array, "n words"]) -> Int[Array, " bits"]:
    """Count the rows, of n, that have each bit set; bit i of word w is entry 32 w + i.

    A tree of adders on bit planes (plane p of a counter holds its p-th binary digit): about five
    operations on whole words a row, where adding unpacked bits takes 32 or more.
    """
    rows = words.shape[0]
    size = 1 << max(rows - 1, 0).bit_length()
    planes = [jnp.pad(words, [(0, size - rows), (0, 0)])]
    while size > 1:
        size //= 2
        planes = _sum([p[:size] for p in planes], [p[size:] for p in planes])
    shifts = jnp.arange(WORD, dtype=jnp.uint32)[None]
    total = jnp.zeros((words.shape[1], WORD), jnp.int32)
    for digit, plane in enumerate(planes):
        bits = (plane[0][:, None] >> shifts) & jnp.uint32(1)
        total += bits.astype(jnp.int32) << digit
    return total.reshape(-1)


def _sum(a: Planes, b: Planes) -> Planes:
    """Binary addition of counters, all bits of a word at once, with a new plane for the carry."""
    carry, planes = jnp.zeros_like(a[0]), []
    for x, y in zip(a, b, strict=True):
        either = x ^ y
        planes.append(either ^ carry)
        carry = (x & y) | (either & carry)
    return [*planes, carry]
