"""Sums of numbers known by their logarithms, with zero (-inf) allowed and NaN-free derivatives."""

from __future__ import annotations

from typing import Any

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
    return _log_plus(*jnp.broadcast_arrays(log_x, shift))


@jax.custom_jvp
def _log_plus(log_x: Float[Array, "*n"], shift: Float[Array, "*n"]) -> Float[Array, "*n"]:
    return _log_plus_and_slopes(log_x, shift)[0]


@_log_plus.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    # two products for each tangent, where the chain rule through all of the terms takes ten
    value, by_log_x, by_shift = _log_plus_and_slopes(*map(jnp.asarray, primals))
    return value, by_log_x * tangents[0] + by_shift * tangents[1]


def _log_plus_and_slopes(
    log_x: Float[Array, "*n"], shift: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"], Float[Array, "*n"]]:
    """log(x + shift), and its slopes ``x / (x + shift)`` and ``1 / (x + shift)``."""
    size = jnp.abs(shift)
    some = jnp.where(size > 0, size, 1)
    log_size = jnp.log(some)
    from_x = (size == 0) | (log_x >= log_size)  # the larger of the two is divided out
    finite_x = jnp.where(from_x & jnp.isfinite(log_x), log_x, 0)
    inverse_x = jnp.exp(-jnp.maximum(finite_x, LEAST))
    x_by_shift = jnp.exp(jnp.where(from_x, 0, log_x - log_size))
    ratio = jnp.where(from_x, jnp.where(from_x, shift, 0) * inverse_x, x_by_shift)
    alive = jnp.where(from_x, ratio > -1, shift > 0)
    total = jnp.where(alive, 1 + ratio, 1)
    larger = jnp.where(from_x, log_x, log_size)
    value = jnp.where(alive, larger + jnp.log1p(jnp.where(alive, ratio, 0)), -jnp.inf)
    by_log_x = jnp.where(alive, jnp.where(from_x, 1, x_by_shift), 0) / total
    by_shift = jnp.where(alive, jnp.where(from_x, inverse_x, 1 / some), 0) / total
    return value, by_log_x, by_shift


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
