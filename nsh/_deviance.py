"""The deviance of a count from its mean, without the difference of large logarithms."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

# relative distance from the mean up to which the deviance is a series, and terms of that
NEAR, TERMS = 0.1, 7


def deviance(count: Float[Array, "*n"], excess: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """``x log(x/M) + M - x`` of a count x with mean M = x - excess, relatively right to rounding.

    Of use where the excess is known better than x is (C. Loader, "Fast and accurate computation of
    binomial probabilities", 2000).
    """
    mean = count - excess
    v = excess / (count + mean)
    square, series = v * v, jnp.zeros_like(v)
    for term in range(TERMS, 0, -1):
        series = square * (series + 1 / (2 * term + 1))
    near = excess * v + 2 * count * v * series
    far = jnp.where(count > 0, count * jnp.log(count / mean), 0) - excess
    return jnp.where(jnp.abs(v) < NEAR, near, far)
