"""Sums of numbers known by their logarithms, with zero (-inf) allowed and NaN-free derivatives."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nsh._shown import Shown
from nsh._types import Arrays

# exp(-LEAST) is still finite in 32-bit floats
LEAST = -80.0
FAR = 40.0


class Compensated(Shown):
    """Logarithms as `value + rest`: the sum up to some step, and what was added to it since.

    Small numbers are added to a small number, and now and then (`settled`) the rest is reduced to
    what rounding cuts off the sum: a compensated sum in blocks. Its derivatives are sums of the
    same kind. The logarithm of 0 has a rest of -inf and a finite value.

    Example:
        A move that floats alone would round away is kept in the rest:

        >>> from nsh.neurashed import Compensated
        >>> moved = Compensated.of(jnp.array([1e9])).moved(jnp.array([0.25]))
        >>> float(moved.rest[0])
        0.25
    """

    value: Float[Array, "..."]
    rest: Float[Array, "..."]

    @classmethod
    def of(cls, log_x: Float[Array, "..."]) -> Compensated:
        """Floats from which nothing has been cut off."""
        zero = jnp.isneginf(log_x)
        rest = jnp.zeros_like(log_x)
        return cls(jnp.where(zero, rest, log_x), jnp.where(zero, -jnp.inf, rest))

    @property
    def total(self) -> Float[Array, "..."]:
        """The sum as floats."""
        return self.value + self.rest

    def moved(self, change: Float[Array, "..."]) -> Compensated:
        """The sum with `change`, added to the rest."""
        return Compensated(self.value, self.rest + change)

    def settled(self) -> Compensated:
        """The same sum with a rest of at most half a unit in the last place of the value.

        Exact, by D. E. Knuth's sum of two floats (The Art of Computer Programming 2, 4.2.2).
        """
        total = self.total
        added = total - self.value
        rest = (self.value - (total - added)) + (self.rest - added)
        some = jnp.isfinite(total)
        return Compensated(jnp.where(some, total, 0), jnp.where(some, rest, total))


def plus(
    log_x: Compensated,
    shift: Float[Array, "..."],
    log_unit: Float[Array, "..."] | float = 0.0,
) -> Compensated:
    """``log(max(exp(log_x) + shift exp(log_unit), 0))`` for a shift of either sign.

    Differentiable in all three, in `shift` at 0 too (where log(shift) is not), one-sided at the
    clip to zero.
    """
    unit = jnp.asarray(log_unit, log_x.rest.dtype)
    given = jnp.broadcast_arrays(log_x.value, log_x.rest, shift, unit)
    return Compensated(given[0], _rest_plus(*given))


@jax.custom_jvp
def _rest_plus(
    value: Float[Array, "*n"],
    rest: Float[Array, "*n"],
    shift: Float[Array, "*n"],
    log_unit: Float[Array, "*n"],
) -> Float[Array, "*n"]:
    return _rest_and_slopes(value, rest, shift, log_unit)[0]


@_rest_plus.defjvp
def _(primals: Arrays, tangents: Arrays) -> tuple[Array, Array]:
    # few products for each tangent, where the chain rule through all of the terms takes ten
    after, from_x, alive, by_log_x, by_shift = _rest_and_slopes(*map(jnp.asarray, primals))
    by_value, by_rest, along_shift, by_unit = tangents
    change = by_log_x * ((by_value - by_unit) + by_rest) + by_shift * along_shift
    larger = jnp.where(from_x, by_rest, by_unit - by_value)
    return after, jnp.where(alive, larger + change, -by_value)


def _rest_and_slopes(
    value: Float[Array, "*n"],
    rest: Float[Array, "*n"],
    shift: Float[Array, "*n"],
    log_unit: Float[Array, "*n"],
) -> tuple[Array, ...]:
    """The rest of log(x + shift), whether x is the larger of the two, whether the sum is above 0.

    Then the slopes of log(x + shift) by log x and shift, that by log x less 1 if x is the larger.
    """
    size = jnp.abs(shift)
    some = jnp.where(size > 0, size, 1)
    log_size = jnp.log(some)
    log_x = (value - log_unit) + rest
    from_x = (size == 0) | (log_x >= log_size)  # the larger of the two is divided out
    finite_x = jnp.where(from_x & jnp.isfinite(log_x), log_x, 0)
    far = finite_x > FAR  # there 1 / x may be below the least of floats
    inverse_x = jnp.exp(-(jnp.maximum(finite_x, LEAST) - jnp.where(far, FAR, 0)))
    unit = jnp.where(far, math.exp(-FAR), 1)
    x_by_shift = jnp.exp(jnp.where(from_x, 0, log_x - log_size))
    ratio = jnp.where(from_x, jnp.where(from_x, shift, 0) * unit * inverse_x, x_by_shift)
    alive = jnp.where(from_x, ratio > -1, shift > 0)
    total = jnp.where(alive, 1 + ratio, 1)
    larger = jnp.where(from_x, rest, log_size + (log_unit - value))
    after = jnp.where(alive, larger + jnp.log1p(jnp.where(alive, ratio, 0)), -jnp.inf)
    by_log_x = jnp.where(from_x, -ratio, x_by_shift) / total
    by_shift = jnp.where(from_x, unit * inverse_x, 1 / some) / total
    return after, from_x, alive, by_log_x, by_shift


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
