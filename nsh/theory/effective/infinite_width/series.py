"""Dual activations of smooth functions by the Hermite series alone: fast where variances are small.

A network with positions has millions of pairs, all of which `Expansion` would hold against many
ramps. Of smooth functions at variances of about 1 some thirty terms of the series do.
"""

from __future__ import annotations

import functools
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh.activations import Activation
from nsh.activations.arccos import safe_sqrt
from nsh.activations.closed_duals import relative_gap
from nsh.activations.pairs import Dual, InputMoments, PairMoments
from nsh.activations.sampled import sampled

ROUNDING = 8  # units of the float type, of a sum over nodes and terms


class Series(Dual):
    """<s_a s_b> = sum_k a_k(K_aa) a_k(K_bb) c^k of k < `terms`, and the same of s' (Mehler).

    ``a_k(K) = <s(sqrt(K) u) h_k(u)>`` by Gauss and Hermite's quadrature. The error is what the
    terms leave of <s^2> and <s'^2>, or the last quarter of them if that is more: it is made at c =
    1 and falls like c^terms.
    """

    activation: Activation
    terms: int = eqx.field(static=True)

    def moments(self, K: Array) -> InputMoments:
        """See `Dual`. `more`: [terms, 2, ...] coefficients, then [2, ...] roots of what is left."""
        u, weight, basis = (jnp.asarray(part, K.dtype) for part in _basis(self.terms))
        z = safe_sqrt(K)[None] * u.reshape(-1, *(1,) * K.ndim)
        values = jnp.stack([self.activation(z), self.activation.derivative(z)], 1)
        found = jnp.tensordot(basis, values, 1, precision="highest")
        square, slope = jnp.tensordot(weight, values**2, 1, precision="highest")
        left = jnp.abs(jnp.stack([square, slope]) - jnp.sum(found**2, 0))
        last = jnp.sum(found[self.terms - self.terms // 4 :] ** 2, 0)
        return InputMoments.of(K, square, slope, (found, safe_sqrt(jnp.maximum(left, last))))

    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> PairMoments:
        """See `Dual`."""
        cosine = 1 - gap
        parity = parity_of(self.activation, np.dtype(gap.dtype))
        both, slope = (
            _sum(a, b, cosine, order, None if parity is None else (parity + order) % 2, self.terms)
            for order in (0, 1)
        )
        falls = jnp.abs(cosine) ** self.terms
        floor = ROUNDING * float(jnp.finfo(gap.dtype).eps)
        norms = a.root_square * b.root_square, a.root_slope * b.root_slope
        tails = a.beside(a.more[1]) * b.beside(b.more[1])
        errors = [
            floor + falls * tail / jnp.maximum(norm, 1e-30)
            for tail, norm in zip(tails, norms, strict=True)
        ]
        return PairMoments(relative_gap(a, b, both, gap), slope, *errors)


def _sum(
    a: InputMoments, b: InputMoments, cosine: Array, order: int, parity: int | None, terms: int
) -> Array:
    """The series of s, or of s' (`order` 1); `parity`: that of the only terms there are."""
    step = 1 if parity is None else 2
    first = parity or 0
    power = cosine if step == 1 else cosine**2
    kept = range(first, terms, step)
    total = jnp.zeros_like(cosine)
    for k in reversed(kept):
        one, other = (side.beside(side.more[0][k, order]) for side in (a, b))
        total = total * power + one * other
    return total * cosine if first else total


@functools.lru_cache(maxsize=64)
def parity_of(activation: Activation, dtype: np.dtype) -> int | None:
    """0 of an even function, 1 of an odd one, else None."""
    z = np.linspace(0.01, 12, 200).astype(dtype)
    above, below = (sampled(activation, side * z, dtype) for side in (1, -1))
    small = 4 * float(jnp.finfo(dtype).eps) * np.max(np.abs(above))
    for parity, sign in ((0, 1), (1, -1)):
        if np.max(np.abs(above - sign * below)) <= small:
            return parity
    return None


@functools.lru_cache(maxsize=8)
def _basis(terms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, their weights, and normalised polynomials times weights, [terms, nodes]."""
    count = 2 * terms + 16
    u, weight = np.polynomial.hermite_e.hermegauss(count)
    weight = weight / math.sqrt(2 * math.pi)
    keep = weight > 1e-30  # beyond, products of polynomials and weights lose their digits
    u, weight = u[keep], weight[keep]
    now, before, functions = np.ones_like(u), np.zeros_like(u), []
    for k in range(terms):
        functions.append(now)
        before, now = now, (u * now - math.sqrt(k) * before) / math.sqrt(k + 1)
    return u, weight, np.stack(functions) * weight
