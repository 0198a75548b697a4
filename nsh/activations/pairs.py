"""How an activation acts on kernels, in terms of variances and gaps (see `gap`)."""

from __future__ import annotations

import abc
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from nsh.activations.arccos import safe_sqrt


def _entry(field: str, place: int, doc: str) -> property:
    return property(lambda self: getattr(self, field)[place], doc=doc)


class InputMoments(eqx.Module):
    """One input's part: its variance K, <s^2>, <s'^2>, their roots, and what else pairs need.

    `numbers` and `roots`: all three, along the first axis. In one array, as a loop over layers
    compiles a program for each array that it writes. Roots are here because a program that takes
    them of broadcast numbers does so for every pair. `more`: arrays whose last axes are those of
    K, or None. These alone are not broadcast by `as_rows` and `as_columns`, as loops see one of
    them at a time: `beside` does it there.
    """

    numbers: Float[Array, "3 ..."]
    roots: Float[Array, "3 ..."]
    more: PyTree = None
    axis: int | None = eqx.field(static=True, default=None)

    @classmethod
    def of(cls, K: Array, square: Array, slope: Array, more: PyTree = None) -> InputMoments:
        """Take the roots."""
        numbers = jnp.stack([K, square, slope])
        return cls(numbers, safe_sqrt(numbers), more)

    K = _entry("numbers", 0, "The variance.")
    square = _entry("numbers", 1, "<s^2>.")
    slope = _entry("numbers", 2, "<s'^2>.")
    root_K = _entry("roots", 0, "The standard deviation.")
    root_square = _entry("roots", 1, "sqrt <s^2>.")
    root_slope = _entry("roots", 2, "sqrt <s'^2>.")

    def as_rows(self) -> InputMoments:
        """With an axis appended, to broadcast along rows."""
        return self._along(-1)

    def as_columns(self) -> InputMoments:
        """With an axis before the last, to broadcast along columns."""
        return self._along(-2)

    def beside(self, part: Array) -> Array:
        """Part of `more`, as it broadcasts with the rest."""
        return part if self.axis is None else jnp.expand_dims(part, self.axis)

    def _along(self, axis: int) -> InputMoments:
        numbers, roots = (jnp.expand_dims(part, axis) for part in (self.numbers, self.roots))
        return InputMoments(numbers, roots, self.more, axis)


class PairMoments(NamedTuple):
    """Of pairs: the gap of <s_a s_b>, <s'_a s'_b>, and the estimated errors of both.

    The errors are relative to sqrt(<s_a^2> <s_b^2>) and sqrt(<s'_a^2> <s'_b^2>).
    """

    gap: Array
    slope: Array
    error: Array | float
    slope_error: Array | float


class Dual(eqx.Module):
    """How an activation acts on kernels: first on the diagonal, then on pairs."""

    exact: ClassVar[bool] = False
    """Whether `pairs` has no errors but rounding, so that none are carried through the layers."""

    @abc.abstractmethod
    def moments(self, K: Array) -> InputMoments:
        """Of variances K [...]."""

    @abc.abstractmethod
    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> PairMoments:
        """Of gaps, and moments that broadcast against them."""
