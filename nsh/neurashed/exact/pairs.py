"""Numbers as the sum of two floats, for differences that would cost all of one float's digits.

Every product below is of halves of the digits, so it is exact: results do not depend on whether a
compiler rounds a product before it is added (T. J. Dekker, Numerische Mathematik 18, 1971).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._types import DTypeLike

LN2 = Fraction(0.6931471805599453) + Fraction(2.3190468138462996e-17)
# of the series of the logarithm, whose argument is at most 0.172: 1e-21 is left out
TERMS = 12


class Pair(NamedTuple):
    """The number high + low, low being at most the rounding of high: twice a float's digits."""

    high: Float[Array, "..."]
    low: Float[Array, "..."]


def single(x: Float[Array, "..."]) -> Pair:
    """A float as a pair."""
    return Pair(x, jnp.zeros_like(x))


def negative(x: Pair) -> Pair:
    """-x."""
    return Pair(-x.high, -x.low)


def added(x: Pair, y: Pair) -> Pair:
    """X + y, right to about the square of the unit of roundoff."""
    high, rest = _sum(x.high, y.high)
    low, last = _sum(x.low, y.low)
    high, rest = _sum(high, rest + low)
    return Pair(*_sum(high, rest + last))


def multiplied(x: Pair, y: Pair) -> Pair:
    """X y, right to about the square of the unit of roundoff."""
    high, low = _product(x.high, y.high)
    return Pair(*_sum(high, low + (x.high * y.low + x.low * y.high)))


def divided(x: Pair, y: Pair) -> Pair:
    """x / y by long division, right to about the square of the unit of roundoff."""
    first = x.high / y.high
    rest = added(x, negative(multiplied(single(first), y)))
    return Pair(*_sum(first, rest.high / y.high))


def floor(x: Pair) -> Pair:
    """The largest whole number that is not above x."""
    high = jnp.floor(x.high)
    return Pair(*_sum(high, jnp.where(high == x.high, jnp.floor(x.low), 0)))


def log(x: Float[Array, "..."]) -> Pair:
    """The natural logarithm of a float > 0, by ``log m = 2 artanh((m - 1) / (m + 1))``."""
    mantissa, exponent = jnp.frexp(x)
    small = mantissa < np.sqrt(0.5)
    mantissa = jnp.where(small, 2 * mantissa, mantissa)
    exponent = (exponent - small.astype(exponent.dtype)).astype(x.dtype)
    ratio = divided(single(mantissa - 1), Pair(*_sum(mantissa, jnp.ones_like(mantissa))))
    square = multiplied(ratio, ratio)

    ones = _constant([Fraction(1, 2 * n + 1) for n in reversed(range(TERMS))], x.dtype)

    def horner(series: Pair, term: Pair) -> tuple[Pair, None]:
        term = Pair(*(jnp.full_like(x, part) for part in term))
        return added(multiplied(series, square), term), None

    # a loop, because what is written out takes ten times as long to compile
    series, _ = jax.lax.scan(horner, single(jnp.full_like(x, 1 / (2 * TERMS + 1))), ones)
    of_mantissa = multiplied(ratio, added(series, series))
    ln2 = Pair(*(part[0] for part in _constant([LN2], x.dtype)))
    return added(multiplied(single(exponent), ln2), of_mantissa)


def _constant(values: Sequence[Fraction], dtype: DTypeLike) -> Pair:
    """Constants, a row of them."""
    high = np.asarray([float(value) for value in values], dtype)
    rests = [value - Fraction(float(part)) for value, part in zip(values, high, strict=True)]
    return Pair(jnp.asarray(high), jnp.asarray([float(rest) for rest in rests], dtype))


def _sum(x: Float[Array, "..."], y: Float[Array, "..."]) -> tuple[Array, Array]:
    """The rounded sum and its rounding error (D. E. Knuth)."""
    total = x + y
    of_y = total - x
    return total, (x - (total - of_y)) + (y - of_y)


def _product(x: Float[Array, "..."], y: Float[Array, "..."]) -> tuple[Array, Array]:
    """The product as a rounded part and what it lacks."""
    (x_high, x_low), (y_high, y_low) = _halves(x), _halves(y)
    high, rest = _sum(x_high * y_high, x_high * y_low)
    high, more = _sum(high, x_low * y_high)
    return _sum(high, (rest + more) + x_low * y_low)


def _halves(x: Float[Array, "..."]) -> tuple[Array, Array]:
    """Two floats whose sum is x, of so few digits that their products are exact."""
    format_ = jnp.finfo(x.dtype)
    high = jax.lax.reduce_precision(x, format_.nexp, (format_.nmant - 1) // 2)
    return high, x - high
