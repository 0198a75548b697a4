"""Kernels as norms and gaps: what is lost to rounding where inputs are close, kept.

A kernel K_ab is held as its diagonal and the gap 1 - K_ab / sqrt(K_aa K_bb), a sum of terms none
of which is negative, so that nothing cancels.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh.activations.arccos import safe_sqrt


class Directions(eqx.Module):
    """Unit vectors x / |x| in two parts, ``coarse + fine``; zero inputs have none: zeros.

    Each part has half the digits, so that products of coarse parts with either, and their sums in
    any order, are exact or nearly so: equal inputs are found to be equal.
    """

    coarse: Float[Array, "n n_0"]
    fine: Float[Array, "n n_0"]

    def inner(self, other: Directions) -> list[Array]:
        """Inner products of all with all others, in parts of falling size."""
        both = jnp.concatenate([self.coarse, self.fine], 1)
        crossed = jnp.concatenate([other.fine, other.coarse], 1)
        return [
            jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
            for a, b in ((self.coarse, other.coarse), (both, crossed), (self.fine, other.fine))
        ]

    def half_squares(self) -> list[Array]:
        """Half the squares of each, in the same parts."""
        c, f = self.coarse, self.fine
        return [jnp.sum(part, 1) for part in (c**2 / 2, c * f, f**2 / 2)]


def directions(x: Float[Array, "n n_0"]) -> tuple[Float[Array, " n"], Directions]:
    """``|x| / sqrt(n_0)`` of each input, and their directions."""
    scale = jnp.max(jnp.abs(x), axis=1, keepdims=True)  # squares neither over- nor underflow
    scaled = x / jnp.where(scale > 0, scale, 1.0)
    norm = safe_sqrt(jnp.sum(scaled**2, axis=1, keepdims=True))
    unit = scaled / jnp.where(norm > 0, norm, 1.0)
    digits = jnp.finfo(x.dtype).nmant
    coarse = jax.lax.stop_gradient(_rounded(unit, digits // 2))
    fine = unit - coarse
    fine = fine + jax.lax.stop_gradient(_rounded(fine, digits - 1) - fine)
    return (scale * norm)[:, 0] / np.sqrt(x.shape[1]), Directions(coarse, fine)


def _rounded(value: Array, digits: int) -> Array:
    return jnp.round(value * 2.0**digits) / 2.0**digits


def angular_gaps(a: Directions, b: Directions) -> Float[Array, "n m"]:
    """``1 - cos`` of the angles between directions: ``|u_a - u_b|^2 / 2``.

    1 where one input is zero, 0 where both are: two equal inputs.
    """
    parts = zip(a.half_squares(), b.half_squares(), a.inner(b), strict=True)
    coarse, crossed, fine = (q_a[:, None] + q_b[None] - inner for q_a, q_b, inner in parts)
    gap = jnp.clip(coarse + (crossed + fine), 0, 2)
    gone_a, gone_b = (jnp.all(one.coarse == 0, axis=1) for one in (a, b))
    gap = jnp.where(gone_a[:, None] | gone_b[None], 1.0, gap)
    return jnp.where(gone_a[:, None] & gone_b[None], 0.0, gap)


def added(
    constant: Float[Array, ""],
    one: tuple[Array, Array, Array],
    other: tuple[Array, Array, Array],
    total: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
    """The gap of ``constant + S + R``, of kernels as (root of K_aa, root of K_bb, gap).

    sqrt(K_aa K_bb) - K_ab = sqrt(S_aa S_bb) gap_S + sqrt(R_aa R_bb) gap_R + (what Cauchy and
    Schwarz leave) / (sum of two positive terms), the first being C_b (sqrt S_aa - sqrt S_bb)^2
    and so on. `total`: sqrt(K_aa K_bb) of the sum. Where it is 0, the gap of S stays.
    """
    (s_a, s_b, s_gap), (r_a, r_b, r_gap) = one, other
    there = total > 0
    total = jnp.where(there, total, 1.0)
    share = 1 / (total + constant + s_a * s_b + r_a * r_b)
    crossed = s_a * r_b - s_b * r_a
    spread = constant * share * ((s_a - s_b) ** 2 + (r_a - r_b) ** 2) + crossed * share * crossed
    apart = s_a * s_b * s_gap + r_a * r_b * r_gap + spread
    return jnp.clip(jnp.where(there, apart / total, s_gap), 0, 2)


def product(
    root_a: Float[Array, "*a"], root_b: Float[Array, "*b"], gap: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """K_ab of the roots of two diagonals and a gap."""
    return root_a * root_b * (1 - gap)


def gap_of(
    K_a: Float[Array, "*a"], K_b: Float[Array, "*b"], K_ab: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The gap of a kernel given as numbers; 1 where one diagonal is 0, 0 where both are."""
    there, equal = (K_a > 0) & (K_b > 0), (K_a == 0) & (K_b == 0)
    K_a, K_b = jnp.where(K_a > 0, K_a, 1.0), jnp.where(K_b > 0, K_b, 1.0)
    ratio = (K_ab / K_a) * jnp.sqrt(K_a / K_b)  # exactly 1 where all three are the same
    return jnp.clip(1 - jnp.where(there, ratio, jnp.where(equal, 1.0, 0.0)), 0, 2)
