"""How an activation acts on kernels, in terms of variances and gaps (see `gap`)."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
from jaxtyping import Array, Float

from nsh.theory.effective.infinite_width.arccos import safe_sqrt


class Moments(eqx.Module):
    """One input's part: its variance K, <s^2>, <s'^2>, their roots, and what else pairs need.

    Roots are here because a program that takes them of broadcast numbers does so for every pair.
    `more`: arrays whose last axes are those of K, or None.
    """

    K: Float[Array, "*shape"]
    square: Float[Array, "*shape"]
    slope: Float[Array, "*shape"]
    root_K: Float[Array, "*shape"]
    root_square: Float[Array, "*shape"]
    root_slope: Float[Array, "*shape"]
    more: Any = None

    @classmethod
    def of(cls, K: Array, square: Array, slope: Array, more: Any = None) -> Moments:
        """Take the roots."""
        return cls(K, square, slope, safe_sqrt(K), safe_sqrt(square), safe_sqrt(slope), more)

    def as_rows(self) -> Moments:
        """With an axis appended, to broadcast along rows."""
        return jax.tree.map(lambda leaf: leaf[..., :, None], self)

    def as_columns(self) -> Moments:
        """With an axis before the last, to broadcast along columns."""
        return jax.tree.map(lambda leaf: leaf[..., None, :], self)


class Pairs(NamedTuple):
    """Of pairs: the gap of <s_a s_b>, <s'_a s'_b>, and the estimated errors of both.

    The errors are relative to sqrt(<s_a^2> <s_b^2>) and sqrt(<s'_a^2> <s'_b^2>).
    """

    gap: Array
    slope: Array
    error: Array | float
    slope_error: Array | float


@runtime_checkable
class Dual(Protocol):
    """How an activation acts on kernels: first on the diagonal, then on pairs."""

    def moments(self, K: Array) -> Moments:
        """Of variances K [...]."""
        ...

    def pairs(self, a: Moments, b: Moments, gap: Array) -> Pairs:
        """Of gaps, and moments that broadcast against them."""
        ...
