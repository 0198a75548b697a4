"""Binomial variates whose law is right to the last bits that the float type holds."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from nsh._deviance import deviance

LARGEST_N = 2**31 - 1
# half the width of the region that ratios of uniforms are drawn from: scale and offset
SCALE, OFFSET = math.sqrt(2 / math.e), 1.5 - math.sqrt(3 / math.e)
STIRLING_1 = 1 - math.log(2 * math.pi) / 2
STIRLING_2 = 2 - 2 * math.log(2) - math.log(math.pi) / 2
FARTHEST = 1e9


def propose(
    words: UInt32[Array, "2"], n: Int[Array, ""], p: Float[Array, ""]
) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """A value, and whether to accept it: accepted values are Binomial(n, p), for p <= 1/2.

    Ratio of uniforms: u in (0, 1), v in (-1, 1), from two words of random bits; the value is
    ``floor(np + 1/2 + s v/u)``, accepted if u^2 <= P(value) / P(mode), with
    ``s = sqrt(2/e) sqrt(np(1-p) + 1/2) + 3/2 - sqrt(3/e)`` (E. Stadlober, Computing 45, 1990).
    That region covers all n and p; 73% are accepted for large np, 45% at np = 1, 24% at np -> 0.

    Exact in law for an n p rounded to its float type; probabilities are relatively right to some
    ten units of roundoff (and 5e-8) where they are not tiny. For n up to 2^31 - 1. Where n or p is
    0, 0 is accepted.
    """
    dtype = p.dtype
    mean = n.astype(dtype) * p
    # not (n + 1) p: a product and sum at a whole number may be floored to either side of it, by
    # whether it is compiled to one rounding or two, which may differ within one program
    below = jnp.floor(mean)
    ahead = mean - below
    whole_below = below.astype(jnp.int32)
    width = SCALE * jnp.sqrt(mean * (1 - p) + 0.5) + OFFSET
    u = (words[0].astype(dtype) + 0.5) * 2.0**-32
    v = jax.lax.bitcast_convert_type(words[1], jnp.int32).astype(dtype) * 2.0**-31
    jump = jnp.floor(jnp.clip(ahead + 0.5 + width * v / u, -FARTHEST, FARTHEST))
    value = whole_below + jump.astype(jnp.int32)
    above = (n - whole_below).astype(dtype)
    # the mode is the whole number below the mean or the next
    rise = jnp.log(jnp.maximum(above * p / ((below + 1) * (1 - p)), 1))
    at_mode = _log_weight(below, above, -ahead) + rise
    here = _log_weight(value.astype(dtype), (n - value).astype(dtype), jump - ahead)
    accepted = (value >= 0) & (value <= n) & (u * u <= jnp.exp(here - at_mode))
    certain = (n == 0) | ~(p > 0)
    return jnp.where(certain, 0, value), accepted | certain


def _log_weight(
    k: Float[Array, ""], rest: Float[Array, ""], excess: Float[Array, ""]
) -> Float[Array, ""]:
    """log P(k) but for a constant, rest = n - k, excess = k - np (known better than k is).

    The saddle-point form (C. Loader, "Fast and accurate computation of binomial probabilities",
    2000): the difference of large logarithms, which would cost all digits, is a deviance.
    """
    least = 1 / (2 * math.pi)  # which makes Stirling's formula right at 0
    root = 0.5 * jnp.log(jnp.maximum(k, least) * jnp.maximum(rest, least))
    distance = deviance(k, excess) + deviance(rest, -excess)
    return -(root + distance + _stirling_error(k) + _stirling_error(rest))


def _stirling_error(k: Float[Array, ""]) -> Float[Array, ""]:
    """log k! - log(sqrt(2 pi k) (k/e)^k) of a whole number k, within 5e-8; 0 for k = 0."""
    inverse = 1 / jnp.maximum(k, 1)
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    few = jnp.where(k < 1, 0, jnp.where(k < 2, STIRLING_1, STIRLING_2))
    return jnp.where(k < 3, few, series)
