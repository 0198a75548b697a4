"""The law of one feature: how often it fires, how it grows, whether it survives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require_all
from nsh._types import ArrayLike, Arrays
from nsh.neurashed.exact import pairs
from nsh.neurashed.exact.binomial_tail import binomial_tail
from nsh.neurashed.exact.pairs import Pair

# of T q*, by which rates in floats may miss a whole number and still be meant to hit it
MOST_ROUNDING = 2.0**-8


def batch_firing_probability(p: ArrayLike, size: ArrayLike) -> Float[Array, "..."]:
    """q = 1 - (1 - p)^B: chance that a node fires in a mini-batch of B i.i.d. samples.

    Elementwise. An infinite B is the limit: every sample at each step, as in the full batch.

    Example:
        >>> from nsh.neurashed.exact import batch_firing_probability
        >>> batch_firing_probability(0.5, jnp.array([1.0, 2.0, 3.0])).tolist()
        [0.5, 0.75, 0.875]
    """
    _check_probability("p", p)
    _check_size(size)
    p, size = _floats(p, size)
    finite, likely = jnp.isfinite(size), p > 0.5
    count = jnp.where(finite, size, 1)
    # the power of 1 - p has all slopes at p = 1; near 0 only the logarithm keeps the digits of p
    by_power = 1 - jnp.where(likely, 1 - p, 0.5) ** jnp.where(count > 1, count, 2)
    by_log = -jnp.expm1(count * jnp.log1p(-jnp.where(likely, 0.5, p)))
    by_power = jnp.where(count > 1, by_power, p)
    return jnp.where(finite, jnp.where(likely, by_power, by_log), (p > 0).astype(p.dtype))


class LogMoments(NamedTuple):
    """Mean and variance of log(lambda_T / lambda_0)."""

    mean: Float[Array, "..."]
    variance: Float[Array, "..."]


def log_moments(
    q: ArrayLike,
    growth: ArrayLike,
    decay: ArrayLike,
    steps: ArrayLike,
) -> LogMoments:
    """Mean T(q log a + (1-q) log b) and variance T q(1-q) (log a - log b)^2.

    Example:
        >>> from nsh.neurashed.exact import log_moments
        >>> moments = log_moments(q=0.5, growth=np.e, decay=1.0, steps=100)
        >>> round(float(moments.mean), 3), round(float(moments.variance), 3)
        (50.0, 25.0)
    """
    _check_rates(growth, decay)
    _check_probability("q", q)
    _check("steps", steps, lambda count: count >= 0, ">= 0")
    q, growth, decay, steps = _floats(q, growth, decay, steps)
    jump = jnp.log(growth) - jnp.log(decay)
    return LogMoments(steps * _exponent(q, growth, decay), steps * q * (1 - q) * jump**2)


@jax.custom_jvp
@jax.jit
def _exponent(q: Array, growth: Array, decay: Array) -> Array:
    """Gives ``q log a + (1-q) log b``, right to rounding near the critical line, where it is 0."""
    log_b, jump = _log_rates(growth, decay)
    return pairs.added(pairs.multiplied(pairs.single(q), jump), log_b).high


@_exponent.defjvp
def _(primals: Arrays, tangents: Arrays) -> tuple[Array, Array]:
    q, growth, decay = primals
    by_q, by_growth, by_decay = tangents
    slope = (jnp.log(growth) - jnp.log(decay)) * by_q
    return _exponent(*primals), slope + q / growth * by_growth + (1 - q) / decay * by_decay


def _log_rates(growth: Array, decay: Array) -> tuple[Pair, Pair]:
    """log b and log a - log b."""
    both = pairs.log(jnp.stack(jnp.broadcast_arrays(growth, decay)))
    log_a, log_b = (Pair(*(part[i] for part in both)) for i in range(2))
    return log_b, pairs.added(log_a, pairs.negative(log_b))


def critical_firing_probability(growth: ArrayLike, decay: ArrayLike) -> Float[Array, "..."]:
    """q* = -log b / (log a - log b): features that fire less often than this fade.

    Example:
        One growth by 4 undoes two decays by 1/2, so q* = 1/3:

        >>> from nsh.neurashed.exact import critical_firing_probability
        >>> round(float(critical_firing_probability(4.0, 0.5)), 4)
        0.3333
    """
    _check_rates(growth, decay)
    growth, decay = _floats(growth, decay)
    return -jnp.log(decay) / (jnp.log(growth) - jnp.log(decay))


def critical_firing_fraction(
    size: ArrayLike, growth: ArrayLike, decay: ArrayLike
) -> Float[Array, "..."]:
    """p*(B) = 1 - (1 - q*)^(1/B): features on fewer samples' pathways than this share fade.

    Example:
        Here q* = 1/2, and a batch of 2 fires as often if p = 1 - sqrt(1/2):

        >>> from nsh.neurashed.exact import critical_firing_fraction
        >>> round(float(critical_firing_fraction(2, growth=2.0, decay=0.5)), 4)
        0.2929
    """
    _check_size(size)
    _check_rates(growth, decay)
    size, growth, decay = _floats(size, growth, decay)
    odds = -jnp.log(decay) / jnp.log(growth)  # q* / (1 - q*): right where q* is near 1 too
    return -jnp.expm1(-jnp.log1p(odds) / size)


def survival_probability(
    q: ArrayLike,
    growth: ArrayLike,
    decay: ArrayLike,
    steps: ArrayLike,
) -> Float[Array, "..."]:
    """P(lambda_T > lambda_0) = P(n > T q*), n ~ Binomial(T, q), by quadrature of the beta law.

    For T up to 1e12 the error is below 1e-6 in 32-bit floats and 1e-10 in 64-bit ones, near the
    critical line too, for exactly the floats given: what cancels is computed in pairs of floats.
    A T above 2^24 in 32 bits is the nearest that the float type holds.

    A feature that is back where it began does not count. It is, if n growths undo T - n decays
    within the rounding of a and b; for long runs that happens by chance, and the floats given are
    then taken as they are: from ``T > (log a - log b) / (256 eps)``, eps that of the float type.

    Twice differentiable in q. The slopes in a, b and T are 0: it is piecewise constant in the rates
    and T is a count. Raises `ValueError` on rates and probabilities out of range and on a T that is
    not whole.

    Example:
        With a = 2 and b = 1/2, lambda grows in three steps if two or three of them fire:

        >>> from nsh.neurashed.exact import survival_probability
        >>> round(float(survival_probability(q=0.5, growth=2.0, decay=0.5, steps=3)), 4)
        0.5
    """
    _check_rates(growth, decay)
    _check_probability("q", q)
    is_count = lambda t: (t >= 0) & (t < np.inf) & (t == np.floor(t))  # noqa: E731
    _check("steps", steps, is_count, "a whole number >= 0")
    q, growth, decay, steps = _floats(q, growth, decay, steps)
    return _survival(q, growth, decay, steps)


@jax.jit
def _survival(q: Array, growth: Array, decay: Array, steps: Array) -> Array:
    return binomial_tail(q, steps, _most_firings_that_fade(growth, decay, steps))


def _most_firings_that_fade(growth: Array, decay: Array, steps: Array) -> Pair:
    """The largest whole n <= T q*."""
    log_b, jump = _log_rates(growth, decay)
    even = pairs.divided(pairs.multiplied(pairs.single(steps), pairs.negative(log_b)), jump)
    nearest = pairs.floor(pairs.added(even, pairs.single(jnp.full_like(even.high, 0.5))))
    away = pairs.added(even, pairs.negative(nearest)).high
    # where n growths undo T - n decays the feature is where it began; rounding must not decide it
    rounding = steps * jnp.finfo(steps.dtype).eps / jump.high
    tie = (rounding < MOST_ROUNDING) & (abs(away) <= rounding)
    below = pairs.floor(even)
    return Pair(*(jnp.where(tie, x, y) for x, y in zip(nearest, below, strict=True)))


class SurvivalPhases(NamedTuple):
    """The phase diagram of implicit regularization: features by share p, at batch sizes B.

    `exponent`: growth exponent q log a + (1-q) log b of each (p, B); `survival`: P(lambda_T >
    lambda_0); `critical_fraction`: the line p*(B) between the phases, where the exponent is 0.
    """

    exponent: Float[Array, "shares sizes"]
    survival: Float[Array, "shares sizes"]
    critical_fraction: Float[Array, " sizes"]


def survival_phases(
    p: Float[Array, " shares"],
    sizes: Float[Array, " sizes"],
    growth: Float[Array, ""],
    decay: Float[Array, ""],
    steps: Float[Array, ""],
) -> SurvivalPhases:
    """Compute which features survive on a grid of firing shares p and batch sizes B.

    Small batches let only widely shared features grow (arXiv 2112.09741, Section 3, Figure 3).
    As sharp as the law of n: the line is crossed within about ``1/sqrt(T)`` in q.

    Example:
        >>> from nsh.neurashed.exact import survival_phases
        >>> p, sizes = jnp.array([0.1, 0.6]), jnp.array([1.0, 16.0])
        >>> phases = survival_phases(p, sizes, jnp.array(2.0), jnp.array(0.5), jnp.array(100.0))
        >>> (phases.exponent > 0).tolist()
        [[False, True], [True, True]]
    """
    q = batch_firing_probability(p[:, None], sizes[None])
    return SurvivalPhases(
        log_moments(q, growth, decay, jnp.ones_like(steps)).mean,
        survival_probability(q, growth, decay, steps),
        critical_firing_fraction(sizes, growth, decay),
    )


def _floats(*values: ArrayLike) -> tuple[Array, ...]:
    return tuple(jnp.asarray(value, float) for value in values)


def _check_size(size: object) -> None:
    _check("size", size, lambda count: count >= 1, ">= 1")


def _check_probability(field: str, value: object) -> None:
    _check(field, value, lambda p: (p >= 0) & (p <= 1), "a probability in 0..1")


def _check_rates(growth: object, decay: object) -> None:
    _check("growth", growth, lambda a: (a > 1) & (a < np.inf), "> 1 and finite")
    _check("decay", decay, lambda b: (b > 0) & (b <= 1), "> 0 and <= 1")


def _check(
    field: str, value: object, allows: Callable[[np.ndarray], np.ndarray], allowed: str
) -> None:
    if is_concrete(value):
        require_all(allows(np.asarray(value)), field, value, allowed)
