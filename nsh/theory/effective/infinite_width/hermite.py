"""Dual activations of any function, by the Hermite (Mehler) expansion."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh._types import DTypeLike
from nsh.activations import Activation
from nsh.activations.arccos import safe_sqrt
from nsh.activations.closed_duals import relative_gap
from nsh.activations.gaussian import TAIL, clustered_nodes, gaussian
from nsh.activations.pairs import Dual, InputMoments, PairMoments
from nsh.theory.effective.infinite_width.orthant import Ramps
from nsh.theory.effective.infinite_width.smoothed_ramps import SmoothedRamps

TERMS = 64
COARSE, FINE = 200, 800  # nodes on a half-line; the fine ones for jumps of s'' beside kinks
ROUNDING = 8  # units of the float type, of a sum over nodes and terms
TINY = 1e-18  # a standard deviation at which s' has its values on both sides of 0


class More(NamedTuple):
    """Of one input, besides its moments.

    `series` [terms, 4, ...]: coefficients a_k of s and s', then of the part taken out. `errors`
    [2, 2, ...]: roots of what `terms` terms leave of s and s', and of what is lost in the part.
    `part`: what that part needs.
    """

    series: Array
    errors: Array
    part: Array


class Expansion(Dual):
    """<s_a s_b> = sum_k a_k(K_aa) a_k(K_bb) c^k, with a_k(K) = <s(sqrt(K) u) h_k(u)>.

    h_k are the normalised Hermite polynomials, c = K_ab / sqrt(K_aa K_bb) and k < `terms`; the
    same of s' gives <s'_a s'_b> (Mehler's formula). A part whose own pairs are known exactly is
    taken out first: `Ramps` where kinks lie beside 0, else `SmoothedRamps`. What remains, products
    of the rest with itself and with that part, has coefficients that fall fast.

    The error is estimated from what is left after `terms` terms, which is known exactly at c = 1,
    and from rounding.
    """

    activation: Activation
    terms: int = eqx.field(static=True)

    def _known(self, dtype: DTypeLike) -> tuple[Ramps | SmoothedRamps, int]:
        """The part taken out, and the number of terms of the rest: 2 where it is straight."""
        kind = Ramps if any(self.activation.kinks) else SmoothedRamps
        part = kind(self.activation, dtype)
        return part, 2 if part.complete else self.terms

    def moments(self, K: Array) -> InputMoments:
        """See `Dual`."""
        part, terms = self._known(K.dtype)
        beside = any(self.activation.kinks)
        count = max(FINE if beside else COARSE, math.ceil(10 * math.sqrt(terms)))
        u, weight, basis = (jnp.asarray(part, K.dtype) for part in _basis(count, terms))
        deviation = safe_sqrt(K)
        u = u.reshape(-1, *(1,) * K.ndim)
        z = u * deviation[None]
        either = u * jnp.maximum(deviation, TINY)[None]
        both = jnp.stack([self.activation(z), self.activation.derivative(either)])
        # axis 0: s, s', and of the part taken out; nodes last
        values = jnp.concatenate([both, part.values(either)]) * weight.reshape(1, *u.shape)
        values = jnp.moveaxis(values, 1, 0)
        found = jnp.tensordot(basis, values, 1, precision="highest")
        squares = jnp.sum(values**2, 0)
        left = squares - jnp.sum(found**2, 0)
        bent = part.coefficients(deviation, found[:, 2:])
        whole = found[:, :2] + (bent - found[:, 2:])
        order = np.arange(terms).reshape(-1, 1)
        inside = order >= np.array(part.skipped)
        bent = jnp.where(inside.reshape(*inside.shape, *(1,) * K.ndim), bent, 0.0)
        # where what is left at c = 1 happens to cancel, as much as the last terms
        last = jnp.sum(jnp.abs(whole**2 - bent**2)[terms - terms // 4 :], 0)
        tail = safe_sqrt(jnp.maximum(jnp.abs(left[:2] - left[2:]), last))
        square, slope = self._broken_squares(K) if beside else squares[:2]
        rows, lost = part.of_rows(K)
        more = More(jnp.concatenate([whole, bent], 1), jnp.stack([tail, lost]), rows)
        return InputMoments.of(K, square, slope, more)

    def _broken_squares(self, K: Array) -> tuple[Array, Array]:
        """<s^2> and <s'^2>, the nodes breaking at kinks."""
        positive = jnp.maximum(K, TINY**2).reshape(-1)
        nodes = jax.vmap(lambda one: gaussian(one, self.activation))(positive)
        values = (self.activation(nodes.z), self.activation.derivative(nodes.z))
        square, slope = (jnp.sum(nodes.weight * one**2, 1).reshape(K.shape) for one in values)
        return jnp.where(K > 0, square, self.activation(jnp.zeros_like(K)) ** 2), slope

    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> PairMoments:
        """See `Dual`."""
        part, terms = self._known(gap.dtype)
        cosine = 1 - gap

        def horner(total: Array, one: tuple[Array, Array]):
            one_a, one_b = a.beside(one[0]), b.beside(one[1])
            return total * cosine[None] + one_a[:2] * one_b[:2] - one_a[2:] * one_b[2:], None

        zero = jnp.zeros((2, *gap.shape), gap.dtype)
        series = a.more.series, b.more.series
        (both, slope), _ = jax.lax.scan(horner, zero, series, reverse=True)
        more, steeper = part.pairs(a, b, gap)
        # of sum_{k >= n} a_k^2 c^k with a_k^2 falling like a power, relative to c = 1
        falls = jnp.abs(cosine) ** (terms - 1) / (1 + terms * jnp.minimum(gap, 2 - gap))
        tail, lost = a.beside(a.more.errors) * b.beside(b.more.errors)
        floor = ROUNDING * float(jnp.finfo(gap.dtype).eps)
        norms = a.root_square * b.root_square, a.root_slope * b.root_slope
        errors = [
            floor + jnp.where(norm > 0, falls * left + own, 0.0) / jnp.maximum(norm, 1e-30)
            for left, own, norm in zip(tail, lost, norms, strict=True)
        ]
        return PairMoments(relative_gap(a, b, both + more, gap), slope + steeper, *errors)


@functools.lru_cache(maxsize=8)
def _basis(count: int, terms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes u crowded around 0, `count` on either side, roots of their weights, and functions.

    The functions, h_k(u) sqrt(weight) [terms, nodes], are orthonormal, and bounded, unlike the
    polynomials, however many there are.
    """
    place, share = clustered_nodes(count)
    u, root = TAIL * place, np.sqrt(TAIL * share)
    u, root = np.concatenate([u, -u]), np.concatenate([root, root])
    now = root * np.exp(-(u**2) / 4) / (2 * np.pi) ** 0.25
    before, functions = np.zeros_like(u), [now]
    for k in range(terms - 1):
        before, now = now, (u * now - math.sqrt(k) * before) / math.sqrt(k + 1)
        functions.append(now)
    return u, functions[0], np.stack(functions)
