"""Sums of numbers known by their logarithms, with zero (-inf) allowed and NaN-free derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# exp(-LEAST) is still finite in 32-bit floats
LEAST = -80.0


def log_plus(log_x: Float[Array, "..."], shift: Float[Array, "..."]) -> Float[Array, "..."]:
    """``log(max(exp(log_x) + shift, 0))`` for a shift of either sign.

    Differentiable in both, in `shift` at 0 too (where log(shift) is not), one-sided at the
    clip to zero.
    """
    log_x, shift = jnp.broadcast_arrays(log_x, shift)
    size = jnp.abs(shift)
    log_size = jnp.log(jnp.where(size > 0, size, 1))
    from_x = (size == 0) | (log_x >= log_size)
    finite_x = jnp.where(from_x & jnp.isfinite(log_x), log_x, 0)
    ratio = jnp.where(from_x, shift, 0) * jnp.exp(-jnp.maximum(finite_x, LEAST))
    alive = ratio > -1
    near_x = jnp.where(alive, log_x + jnp.log1p(jnp.where(alive, ratio, 0)), -jnp.inf)
    inverse = jnp.exp(jnp.where(from_x, 0, log_x - log_size))
    near_shift = jnp.where(shift > 0, log_size + jnp.log1p(inverse), -jnp.inf)
    return jnp.where(from_x, near_x, near_shift)


def segment_logsumexp(
    values: Float[Array, " entries"], segments: Int[Array, " entries"], count: int
) -> Float[Array, " count"]:
    """``log sum exp`` of the entries of each segment (sorted ids); -inf for an empty sum."""
    top = jax.ops.segment_max(
        jax.lax.stop_gradient(values), segments, num_segments=count, indices_are_sorted=True
    )
    top = jnp.where(jnp.isfinite(top), top, 0)
    total = jax.ops.segment_sum(
        jnp.exp(values - top[segments]), segments, num_segments=count, indices_are_sorted=True
    )
    some = total > 0
    return jnp.where(some, top + jnp.log(jnp.where(some, total, 1)), -jnp.inf)
