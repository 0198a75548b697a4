"""Dual activations of any function, by the Hermite (Mehler) expansion."""

from __future__ import annotations

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh.theory.effective.activation import Activation
from nsh.theory.effective.gaussian import TAIL, crowded, gaussian
from nsh.theory.effective.infinite_width.arccos import safe_sqrt
from nsh.theory.effective.infinite_width.closed_duals import relative_gap
from nsh.theory.effective.infinite_width.orthant import Ramps
from nsh.theory.effective.infinite_width.pairs import Moments, Pairs
from nsh.theory.effective.infinite_width.smoothed_ramps import SmoothedRamps

TERMS = 64
COARSE, FINE = 200, 800  # nodes on a half-line; the fine ones for jumps of s'' beside kinks
ROUNDING = 8  # units of the float type, of a sum over nodes and terms
TINY = 1e-18  # a standard deviation at which s' has its values on both sides of 0


class Expansion(eqx.Module):
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

    def _known(self, dtype: Any) -> tuple[Ramps | SmoothedRamps, int]:
        """The part taken out, and the number of terms of the rest: 2 where it is straight."""
        kind = Ramps if any(self.activation.kinks) else SmoothedRamps
        part = kind(self.activation, dtype)
        return part, 2 if part.complete else self.terms

    def moments(self, K: Array) -> Moments:
        """See `Dual`."""
        part, terms = self._known(K.dtype)
        beside = any(self.activation.kinks)
        u, root = _nodes(max(FINE if beside else COARSE, math.ceil(10 * math.sqrt(terms))))
        basis, weight = _basis(jnp.asarray(u, K.dtype), jnp.asarray(root, K.dtype), terms)
        deviation = safe_sqrt(K)
        u = jnp.asarray(u, K.dtype).reshape(-1, *(1,) * K.ndim)
        z = u * deviation[None]
        either = u * jnp.maximum(deviation, TINY)[None]
        both = jnp.stack([self.activation(z), self.activation.derivative(either)])
        # axis 0: s, s', and of the part taken out; nodes last
        values = jnp.concatenate([both, part.values(either)]) * weight.reshape(1, *u.shape)
        values = jnp.moveaxis(values, 1, 0)
        found = jnp.tensordot(basis, values, 1, precision="highest")
        left = values - jnp.tensordot(basis, found, (0, 0), precision="highest")
        bent = part.coefficients(deviation, found[:, 2:])
        whole = found[:, :2] + (bent - found[:, 2:])
        rest = left[:, :2] - left[:, 2:]
        tail = jnp.sum(rest**2, 0) + 2 * jnp.abs(jnp.sum(rest * left[:, 2:], 0))
        order = np.arange(terms).reshape(-1, 1)
        inside = order >= np.array(part.skipped)
        bent = jnp.where(inside.reshape(*inside.shape, *(1,) * K.ndim), bent, 0.0)
        square, slope = self._broken_squares(K) if beside else jnp.sum(values[:, :2] ** 2, 0)
        return Moments.of(K, square, slope, (whole, bent, safe_sqrt(tail), part.of_rows(K)))

    def _broken_squares(self, K: Array) -> tuple[Array, Array]:
        """<s^2> and <s'^2>, the nodes breaking at kinks."""
        positive = jnp.maximum(K, TINY**2).reshape(-1)
        nodes = jax.vmap(lambda one: gaussian(one, self.activation))(positive)
        values = (self.activation(nodes.z), self.activation.derivative(nodes.z))
        square, slope = (jnp.sum(nodes.weight * one**2, 1).reshape(K.shape) for one in values)
        return jnp.where(K > 0, square, self.activation(jnp.zeros_like(K)) ** 2), slope

    def pairs(self, a: Moments, b: Moments, gap: Array) -> Pairs:
        """See `Dual`."""
        part, terms = self._known(gap.dtype)
        cosine = 1 - gap
        whole_a, bent_a, tail_a, rows_a = a.more
        whole_b, bent_b, tail_b, rows_b = b.more

        def horner(total: tuple[Array, Array], one: tuple[Array, ...]):
            w_a, w_b, r_a, r_b = one
            new = w_a * w_b - r_a * r_b
            return (total[0] * cosine + new[0], total[1] * cosine + new[1]), None

        zero = jnp.zeros_like(gap)
        coefficients = (whole_a, whole_b, bent_a, bent_b)
        (both, slope), _ = jax.lax.scan(horner, (zero, zero), coefficients, reverse=True)
        more, steeper = part.pairs(rows_a, rows_b, gap)
        # of sum_{k >= n} a_k^2 c^k with a_k^2 falling like a power, relative to c = 1
        falls = jnp.abs(cosine) ** (terms - 1) / (1 + terms * jnp.minimum(gap, 2 - gap))
        tail = falls[None] * tail_a * tail_b
        floor = ROUNDING * float(jnp.finfo(gap.dtype).eps)
        errors = [
            floor + jnp.where(norm > 0, left + lost, 0.0) / jnp.maximum(norm, 1e-30)
            for left, lost, norm in zip(
                tail, part.lost(rows_a, rows_b),
                (a.root_square * b.root_square, a.root_slope * b.root_slope), strict=True,
            )
        ]  # fmt: skip
        return Pairs(relative_gap(a, b, both + more, gap), slope + steeper, *errors)


def _basis(u: Array, root: Array, terms: int) -> tuple[Array, Array]:
    """Orthonormal functions h_k(u) sqrt(weight) [terms, nodes], and sqrt(weight) [nodes].

    Bounded, unlike the polynomials, however many there are.
    """

    def step(carried: tuple[Array, Array], k: Array):
        before, now = carried
        after = (u * now - jnp.sqrt(k) * before) / jnp.sqrt(k + 1)
        return (now, after), now

    start = root * jnp.exp(-(u**2) / 4) / (2 * np.pi) ** 0.25
    count = jnp.arange(terms, dtype=u.dtype)
    return jax.lax.scan(step, (jnp.zeros_like(u), start), count)[1], start


@functools.cache
def _nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes crowded around 0, `count` on either side, and roots of their shares of the line."""
    place, share = crowded(count)
    u, root = TAIL * place, np.sqrt(TAIL * share)
    return np.concatenate([u, -u]), np.concatenate([root, root])
