"""The law of one feature: how often it fires, how it grows, whether it survives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require_all


def batch_firing_probability(
    p: Float[Array, "..."], size: Float[Array, "..."]
) -> Float[Array, "..."]:
    """q = 1 - (1 - p)^B: chance that a node fires in a mini-batch of B i.i.d. samples.

    Elementwise. An infinite B is the limit: every sample at each step, as in the full batch.
    """
    _check_probability("p", p)
    _check_size(size)
    some = (p > 0) & (p < 1)
    within = -jnp.expm1(size * jnp.log1p(-jnp.where(some, p, 0.5)))
    # at p = 0 by the slope there, so that derivatives are right at the edge too
    near_0 = jnp.where(jnp.isfinite(size), size, 0) * p
    return jnp.where(some, within, jnp.where(p < 1, near_0, 1))


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


def critical_firing_share(
    size: Float[Array, "..."], growth: Float[Array, "..."], decay: Float[Array, "..."]
) -> Float[Array, "..."]:
    """p*(B) = 1 - (1 - q*)^(1/B): features on fewer samples' pathways than this share fade."""
    _check_size(size)
    critical = critical_firing_probability(growth, decay)
    return -jnp.expm1(jnp.log1p(-critical) / size)


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


class SurvivalPhases(NamedTuple):
    """The phase diagram of implicit regularization: features by share p, at batch sizes B.

    `exponent`: growth exponent q log a + (1-q) log b of each (p, B); `survival`: P(lambda_T >
    lambda_0); `critical_share`: the line p*(B) between the phases, where the exponent is 0.
    """

    exponent: Float[Array, "shares sizes"]
    survival: Float[Array, "shares sizes"]
    critical_share: Float[Array, " sizes"]


def survival_phases(
    p: Float[Array, " shares"],
    sizes: Float[Array, " sizes"],
    growth: Float[Array, ""],
    decay: Float[Array, ""],
    steps: Float[Array, ""],
) -> SurvivalPhases:
    """Which features survive on a grid of firing shares p and batch sizes B.

    Small batches let only widely shared features grow (arXiv 2112.09741, Section 3, Figure 3).
    As sharp as the law of n: the line is crossed within about ``1/sqrt(T)`` in q.
    """
    q = batch_firing_probability(p[:, None], sizes[None])
    return SurvivalPhases(
        log_moments(q, growth, decay, jnp.ones_like(steps)).mean,
        survival_probability(q, growth, decay, steps),
        critical_firing_share(sizes, growth, decay),
    )


def _check_size(size: Any) -> None:
    _check("size", size, lambda count: count >= 1, ">= 1")


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
