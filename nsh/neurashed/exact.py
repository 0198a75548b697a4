"""Exact laws of geometric rules: what needs no simulation, and what simulation must agree with.

Whether a node fires in a mini-batch depends on the batch alone. So with g+(x) = a x, g-(x) = b x,
``lambda_T = lambda_0 a^n b^(T-n)``, n the number of steps in which the node fired; with i.i.d.
mini-batches n ~ Binomial(T, q). All functions are elementwise, jittable and vmappable, and
differentiable where not said otherwise. They raise `ValueError` on concrete values out of range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require_all
from nsh.neurashed.model import Pathways
from nsh.neurashed.pathway import unpack


def firing_shares(pathways: Pathways, nodes: int) -> Float[Array, " nodes"]:
    """p: the share of the samples on whose pathway each node is. Not differentiable (counts)."""
    return jnp.mean(unpack(pathways.words, nodes), axis=0, dtype=float)


def batch_firing_probability(
    p: Float[Array, "..."], size: Float[Array, "..."]
) -> Float[Array, "..."]:
    """q = 1 - (1 - p)^B: chance that a node fires in a mini-batch of B i.i.d. samples."""
    _check_probability("p", p)
    _check("size", size, lambda count: count >= 1, ">= 1")
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
    _check_rates(growth, decay)
    _check_probability("q", q)
    _check("steps", steps, lambda count: count >= 0, ">= 0")
    log_a, log_b = jnp.log(growth), jnp.log(decay)
    mean = steps * (q * log_a + (1 - q) * log_b)
    return LogMoments(mean, steps * q * (1 - q) * (log_a - log_b) ** 2)


def critical_firing_probability(
    growth: Float[Array, "..."], decay: Float[Array, "..."]
) -> Float[Array, "..."]:
    """q* = -log b / (log a - log b): features that fire less often than this fade."""
    _check_rates(growth, decay)
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
    _check_probability("q", q)
    _check("steps", steps, lambda count: count >= 0, ">= 0")
    threshold = steps * critical_firing_probability(growth, decay)
    # where n growths undo T - n decays the feature is where it began; rounding must not decide it
    rounding = steps * jnp.finfo(threshold.dtype).eps / (jnp.log(growth) - jnp.log(decay))
    nearest = jnp.round(threshold)
    least = jnp.floor(jnp.where(abs(threshold - nearest) <= rounding, nearest, threshold)) + 1
    reachable = least <= steps
    inside = jnp.clip(q, 0, 1)
    tail = jax.scipy.special.betainc(
        jnp.where(reachable, least, 1), jnp.where(reachable, steps - least + 1, 1), inside
    )
    return jnp.where(reachable, tail, 0)


def _check_probability(field: str, value: Any) -> None:
    _check(field, value, lambda p: (p >= 0) & (p <= 1), "a probability in 0..1")


def _check_rates(growth: Any, decay: Any) -> None:
    _check("growth", growth, lambda a: (a > 1) & (a < np.inf), "> 1 and finite")
    _check("decay", decay, lambda b: (b > 0) & (b <= 1), "> 0 and <= 1")


def _check(
    field: str, value: Any, allows: Callable[[np.ndarray], np.ndarray], allowed: str
) -> None:
    if is_concrete(value):
        require_all(allows(np.asarray(value)), field, value, allowed)
