"""Dual activations: what two correlated Gaussians become through an activation, on average."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh._checks import as_numbers, is_concrete, require, require_all, require_integer
from nsh._shown import Shown
from nsh.activations import Activation, as_activation
from nsh.activations.pairs import Dual
from nsh.activations.program import Elementwise
from nsh.theory.effective.infinite_width.errors import floored, of_activation
from nsh.theory.effective.infinite_width.gap import gap_of, product
from nsh.theory.effective.infinite_width.hermite import TERMS, Expansion
from nsh.theory.effective.infinite_width.series import Series


class DualValues(NamedTuple):
    """``s = <s(z_a) s(z_b)>``, ``slope = <s'(z_a) s'(z_b)>``, and the estimated error.

    The error is the larger of two: of s relative to sqrt(<s_a^2> <s_b^2>), of slope relative to
    sqrt(<s'_a^2> <s'_b^2>). 0 where the dual is `exact`: rounding alone.

    Example:
        >>> from nsh.theory.effective import dual
        >>> dual("linear")(jnp.array(1.0), jnp.array(1.0), jnp.array(0.5))
        DualValues(s=0.5, slope=1., error=0.)
    """

    s: Array
    slope: Array
    error: Array

    __repr__ = Shown.__repr__


def dual(
    activation: str | Elementwise | Activation, *, terms: int = TERMS
) -> Callable[[Array, Array, Array], DualValues]:
    """The function (K_aa, K_bb, K_ab) -> `DualValues`, all [...] of one shape.

    Of (z_a, z_b) ~ N(0, [[K_aa, K_ab], [K_ab, K_bb]]). `Activation.dual` where there is one:
    closed forms of scale-invariant functions (Cho and Saul 2009), erf (Williams 1998), and sums of
    a straight line, sin and cos of any frequency. Else the Hermite expansion of `terms` terms,
    after kinks or ramps of several widths are taken out and treated exactly. Differentiable by all
    three; where K_aa or K_bb is 0, derivatives by it are taken as 0.

    A variance of 0 is the limit K -> 0. With slopes a- and a+ beside z = 0, the slope is
    (a-^2 + a+^2) / 2 where both variances are 0 (equal inputs), and (a- + a+) / 2 times
    <s'(z_b)> where K_aa alone is 0.

    Raises `ValueError` for an unknown activation, terms < 2 or, where the numbers are concrete,
    for variances that are negative or not finite and |K_ab| > sqrt(K_aa K_bb).

    Example:
        >>> from nsh.theory.effective import dual
        >>> result = dual("relu")(jnp.array(1.0), jnp.array(1.0), jnp.array(0.0))
        >>> round(float(result.s), 4), round(float(result.slope), 4)  # 1 / (2 pi) and 1 / 4
        (0.1592, 0.25)
    """
    known = dual_of(as_activation(activation), terms)

    def apply(K_aa: Array, K_bb: Array, K_ab: Array) -> DualValues:
        given = {"K_aa": K_aa, "K_bb": K_bb, "K_ab": K_ab}
        K_aa, K_bb, K_ab = (as_numbers(field, K, float) for field, K in given.items())
        _check(K_aa, K_bb, K_ab)
        a, b = known.moments(K_aa), known.moments(K_bb)
        gap = gap_of(K_aa, K_bb, K_ab)
        found = known.pairs(a, b, gap)
        both = product(a.root_square, b.root_square, found.gap)
        if known.exact:
            return DualValues(both, found.slope, jnp.zeros_like(both))
        # of the gap, a difference of rounded numbers
        rounding = float(jnp.finfo(both.dtype).eps) / 2
        errors = of_activation(rounding, (a, b), gap, found)
        sizes = a.root_square * b.root_square, a.root_slope * b.root_slope
        relative = (
            jnp.where(size > 0, error, 0.0) / floored(size)
            for error, size in zip(errors, sizes, strict=True)
        )
        return DualValues(both, found.slope, jnp.maximum(*relative))

    return apply


def dual_of(activation: Activation, terms: int, *, ramps: bool = True) -> Dual:
    """The dual in terms of variances and gaps: the activation's own, or its expansion.

    `ramps`: whether the expansion takes them out first.
    """
    require_integer("terms", terms, 2)
    return activation.dual or (Expansion if ramps else Series)(activation, terms)


def _check(K_aa: Array, K_bb: Array, K_ab: Array) -> None:
    shapes = (K_aa.shape, K_bb.shape, K_ab.shape)
    require(len(set(shapes)) == 1, "shapes of K_aa, K_bb, K_ab", shapes, "the same")
    if not is_concrete((K_aa, K_bb, K_ab)):
        return
    for field, K in (("K_aa", K_aa), ("K_bb", K_bb)):
        require_all(np.isfinite(K) & (np.asarray(K) >= 0), field, K, "a variance: finite and >= 0")
    limit = np.sqrt(np.asarray(K_aa, float) * np.asarray(K_bb, float))
    fits = np.abs(K_ab) <= limit * (1 + 1e-5)
    require_all(fits, "K_ab", K_ab, "at most sqrt(K_aa K_bb) in size")
