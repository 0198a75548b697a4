"""Dual activations in closed form: scale-invariant functions, erf, sin."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh.theory.effective.infinite_width.arccos import angle, arcsine, safe_sqrt
from nsh.theory.effective.infinite_width.pairs import Moments, Pairs


class ScaleInvariant(eqx.Module):
    """s(z) = p z + q |z|, with p, q = (a+ + a-)/2, (a+ - a-)/2 and A2 = p^2 + q^2.

    <s_a s_b> = sqrt(K_aa K_bb) [A2 cos t + (2 q^2/pi) (sin t - t cos t)] and <s'_a s'_b> = A2 -
    (2 q^2/pi) t at angle t: the arc-cosine kernels (Cho and Saul, NeurIPS 2009).
    """

    slopes: tuple[float, float] = eqx.field(static=True)

    def _numbers(self) -> tuple[float, float]:
        below, above = self.slopes
        return (below**2 + above**2) / 2, (above - below) ** 2 / (2 * np.pi)

    def moments(self, K: Array) -> Moments:
        """See `Dual`."""
        A2, _ = self._numbers()
        return Moments(K, A2 * K, jnp.full_like(K, A2))

    def pairs(self, a: Moments, b: Moments, gap: Array) -> Pairs:  # noqa: ARG002
        """See `Dual`."""
        A2, bend = self._numbers()
        if not bend:
            return Pairs(gap, jnp.full_like(gap, A2), 0.0)
        theta, rest = angle(gap)
        return Pairs(gap - (bend / A2) * rest, A2 - bend * theta, 0.0)


class Erf(eqx.Module):
    """s = erf: <s_a s_b> = (2/pi) arcsin(2 K_ab / sqrt(X_a X_b)), X = 1 + 2 K.

    <s'_a s'_b> = (4/pi) / sqrt(X_a X_b - 4 K_ab^2) (Williams, Neural Computation 10, 1998).
    """

    def moments(self, K: Array) -> Moments:
        """See `Dual`."""
        X = 1 + 2 * K
        square = (2 / np.pi) * arcsine(2 * K / X, 1 / X)
        return Moments(K, square, (4 / np.pi) / jnp.sqrt(1 + 4 * K))

    def pairs(self, a: Moments, b: Moments, gap: Array) -> Pairs:
        """See `Dual`."""
        norm = safe_sqrt(a.K) * safe_sqrt(b.K)
        X = jnp.sqrt(1 + 2 * a.K) * jnp.sqrt(1 + 2 * b.K)
        one = 1 + 2 * a.K + 2 * b.K  # X^2 - (2 norm)^2
        within = (one / (X + 2 * norm) + 2 * norm * gap) / X
        both = (2 / np.pi) * arcsine(2 * norm * (1 - gap) / X, within)
        slope = (4 / np.pi) / jnp.sqrt(one + 4 * norm**2 * gap * (2 - gap))
        return Pairs(relative_gap(a, b, both, gap), slope, 0.0)


class Sin(eqx.Module):
    """s = sin: exp(-(K_aa + K_bb)/2) times sinh(K_ab) for s, cosh(K_ab) for s'."""

    def moments(self, K: Array) -> Moments:
        """See `Dual`."""
        return Moments(K, -jnp.expm1(-2 * K) / 2, (1 + jnp.exp(-2 * K)) / 2)

    def pairs(self, a: Moments, b: Moments, gap: Array) -> Pairs:
        """See `Dual`."""
        root_a, root_b = safe_sqrt(a.K), safe_sqrt(b.K)
        norm = root_a * root_b
        size = norm * jnp.abs(1 - gap)
        largest = jnp.exp(-((root_a - root_b) ** 2) / 2 - norm * jnp.minimum(gap, 2 - gap))
        both = -jnp.sign(1 - gap) * largest * jnp.expm1(-2 * size) / 2
        slope = largest * (1 + jnp.exp(-2 * size)) / 2
        return Pairs(relative_gap(a, b, both, gap), slope, 0.0)


def relative_gap(a: Moments, b: Moments, both: Array, gap: Array) -> Array:
    """The gap of <s_a s_b>; where a diagonal is 0 the gap stays what it was."""
    norm = safe_sqrt(a.square) * safe_sqrt(b.square)
    there = norm > 0
    return jnp.where(there, jnp.clip(1 - both / jnp.where(there, norm, 1.0), 0, 2), gap)
