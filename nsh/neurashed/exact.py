"""Exact laws of geometric rules: what needs no simulation, and what simulation must agree with.

Whether a node fires in a mini-batch depends on the batch alone. So with g+(x) = a x, g-(x) = b x,
``lambda_T = lambda_0 a^n b^(T-n)``, n the number of steps in which the node fired; with i.i.d.
mini-batches n ~ Binomial(T, q). All functions are elementwise, jittable and vmappable, and
differentiable where not said otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh.neurashed.model import Pathways
from nsh.neurashed.pathway import unpack


def firing_shares(pathways: Pathways, nodes: int) -> Float[Array, " nodes"]:
    """p: the share of the samples on whose pathway each node is. Not differentiable (counts)."""
    return jnp.mean(unpack(pathways.words, nodes), axis=0, dtype=float)


def batch_firing_probability(
    p: Float[Array, "..."], size: Float[Array, "..."]
) -> Float[Array, "..."]:
    """q = 1 - (1 - p)^B: chance that a node fires in a mini-batch of B i.i.d. samples."""
    certain = p >= 1
    return jnp.where(certain, 1, -jnp.expm1(size * jnp.log1p(-jnp.where(certain, 0, p))))


class LogMoments(NamedTuple):
    """Mean and variance of log(lambda_T / lambda_0)."""

    mean: Float[Array, "..."]
    variance: Float[Array, "..."]


def log_moments(
    q: Float[Array, "..."],
    growth: Float[Array, "..."],
    decay: Float[Array, "..."],
    steps: Float[Array, "..."],
) -> LogMoments:
    """Mean T(q log a + (1-q) log b) and variance T q(1-q) (log a - log b)^2."""
    log_a, log_b = jnp.log(growth), jnp.log(decay)
    mean = steps * (q * log_a + (1 - q) * log_b)
    return LogMoments(mean, steps * q * (1 - q) * (log_a - log_b) ** 2)


def critical_firing_probability(
    growth: Float[Array, "..."], decay: Float[Array, "..."]
) -> Float[Array, "..."]:
    """q* = -log b / (log a - log b): features that fire less often than this fade."""
    return -jnp.log(decay) / (jnp.log(growth) - jnp.log(decay))


def survival_probability(
    q: Float[Array, "..."],
    growth: Float[Array, "..."],
    decay: Float[Array, "..."],
    steps: Float[Array, "..."],
) -> Float[Array, "..."]:
    """P(lambda_T > lambda_0) = P(n > T q*), n ~ Binomial(T, q): a regularised incomplete beta.

    Differentiable in q (a piecewise constant function of a and b).
    """
    least = jnp.floor(steps * critical_firing_probability(growth, decay)) + 1
    reachable = least <= steps
    inside = jnp.clip(q, 0, 1)
    tail = jax.scipy.special.betainc(
        jnp.where(reachable, least, 1), jnp.where(reachable, steps - least + 1, 1), inside
    )
    return jnp.where(reachable, tail, 0)
