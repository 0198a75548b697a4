"""How likely a binomial variate exceeds a count, for any number of trials that a float holds."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._deviance import deviance
from nsh._types import Arrays
from nsh.neurashed.exact.pairs import Pair, added, multiplied, negative, single

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
# where the density is below e^-FAR of its largest value it is left out
FAR = 36.0


def binomial_tail(
    q: Float[Array, "..."], trials: Float[Array, "..."], count: Pair
) -> Float[Array, "..."]:
    """P(n > count), n ~ Binomial(trials, q), for whole numbers in 0..trials; elementwise.

    ``int_0^q f(t) dt / int_0^1 f(t) dt``, f the density of the beta law: ``f(t) = exp(-d)``, d its
    deviance from the mode; both by Gauss-Legendre quadrature where f is not negligible. What enters
    d is how far t is from the mode, in pairs of floats, so nothing large is subtracted.

    Twice differentiable in q, at 0 and 1 too. The other slopes are 0: those are whole numbers.
    """
    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in (q, trials, count.high)))
    return _tail(*(jnp.broadcast_to(x, shape) for x in (q, trials, *count)))


@jax.custom_jvp
def _tail(q: Array, trials: Array, high: Array, low: Array) -> Array:
    law = _beta(trials, Pair(high, low))
    at_q = jnp.clip(law.from_mode(q), -law.below, law.above)
    below, above = law.integral(-law.below, at_q), law.integral(at_q, law.above)
    total = below + above
    share = jnp.where(trials == 1, q, below / jnp.where(total > 0, total, 1))
    return jnp.where(law.rest < 0, 0, share)


@_tail.defjvp
def _(primals: Arrays, tangents: Arrays) -> tuple[Array, Array]:
    return _tail(*primals), _density(*primals) * tangents[0]


@jax.custom_jvp
def _density(q: Array, trials: Array, high: Array, low: Array) -> Array:
    """The slope of the tail by q, ``trials P(n' = count), n' ~ Binomial(trials - 1, q)``."""
    law = _beta(trials, Pair(high, low))
    total = law.integral(-law.below, law.above)
    here = law.others * law.density(law.from_mode(q)) / jnp.where(total > 0, total, 1)
    return jnp.where(law.rest < 0, 0, jnp.where(trials == 1, 1, here))


@_density.defjvp
def _(primals: Arrays, tangents: Arrays) -> tuple[Array, Array]:
    q, trials, *count = primals
    law = _beta(trials, Pair(*count))
    value = _density(*primals)
    inside = (q > 0) & (q < 1)
    some = jnp.where(inside, q, 0.5)
    slope = -value * law.from_mode(q) / (some * (1 - some))
    # at the ends by d/dq P(n' = count) = (trials - 1) (P(n'' = count - 1) - P(n'' = count))
    at_0 = (law.events == 1).astype(q.dtype) - (law.events == 0).astype(q.dtype)
    at_1 = (law.rest == 0).astype(q.dtype) - (law.rest == 1).astype(q.dtype)
    at_end = trials * law.others * jnp.where(q > 0, at_1, at_0)
    slope = jnp.where(inside, slope, jnp.where(law.rest < 0, 0, at_end))
    return value, slope * tangents[0]


class _Beta(NamedTuple):
    """The beta law of density ~ t^events (1-t)^rest; places are ``x = (events + rest) (t - mode)``.

    `others` = events + rest. `below` and `above`: how far from the mode the density is negligible.
    """

    pairs: tuple[Pair, Pair]
    events: Array
    rest: Array
    others: Array
    below: Array
    above: Array

    def from_mode(self, t: Array) -> Array:
        others, count = self.pairs
        return added(multiplied(others, single(t)), negative(count)).high

    def density(self, x: Array) -> Array:
        return jnp.exp(-(deviance(self.events, -x) + deviance(jnp.maximum(self.rest, 0), x)))

    def integral(self, low: Array, high: Array) -> Array:
        half = (high - low) / 2

        def part(node: Array, weight: Array) -> Array:
            # so that places, however they are rounded, stay where the density is defined
            return weight * self.density(jnp.clip(low + half + half * node, low, high))

        nodes, weights = (jnp.asarray(values, low.dtype) for values in (NODES, WEIGHTS))
        return half * jnp.sum(jax.vmap(part)(nodes, weights), axis=0)


def _beta(trials: Array, count: Pair) -> _Beta:
    others = added(single(trials), single(-jnp.ones_like(trials)))
    rest = added(others, negative(count)).high
    variance = count.high * jnp.maximum(rest, 0) / jnp.maximum(others.high, 1)
    # Bernstein's inequality for both sides
    linear = 2 / 3 * FAR
    reach = linear + jnp.sqrt(linear**2 + 2 * FAR * variance)
    below, above = jnp.minimum(count.high, reach), jnp.clip(rest, 0, reach)
    return _Beta((others, count), count.high, rest, others.high, below, above)
