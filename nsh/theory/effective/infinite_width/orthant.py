"""Ramps of two correlated Gaussians, exactly: the kinked part of an activation."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array

from nsh._types import DTypeLike
from nsh.activations import Activation
from nsh.activations.arccos import angle, safe_sqrt
from nsh.activations.gaussian import TAIL, legendre_nodes
from nsh.activations.pairs import InputMoments
from nsh.activations.sampled import sampled

NEAR = 1e-3  # how close to a kink its jump is measured, where no other kink is nearer
NODES, CROWDING = 40, 6.0  # of the integral over angles
INTEGRAL = 2e-10  # its error, measured for kinks up to 3.5 standard deviations out


class Ramps:
    """``sum_j J_j relu(z - kink_j)``, J_j being the jumps of an activation's derivative.

    Less their values at z = 0, so that far kinks cost no digits where K is small.
    Results come in pairs, of the ramps and of their derivatives, the steps.
    """

    skipped = (2, 1)  # orders of the Hermite expansion that are not in `pairs`

    def __init__(self, activation: Activation, dtype: DTypeLike):
        self.kinks = np.asarray(activation.kinks)
        self.jumps, self.complete = _jumps(activation, np.dtype(dtype))

    def values(self, z: Array) -> Array:
        """At z [...]: [2, ...]."""

        def add(total: Array, one: tuple[Array, Array]):
            kink, jump = one
            ramp = jnp.where(kink < 0, jnp.maximum(z, kink), jax.nn.relu(z - kink))
            return total + jump * jnp.stack([ramp, (z > kink).astype(z.dtype)]), None

        zero = jnp.zeros((2, *z.shape), z.dtype)
        return jax.lax.scan(add, zero, self._each(z.dtype))[0]

    def _each(self, dtype: DTypeLike) -> tuple[Array, Array]:
        return jnp.asarray(self.kinks, dtype), jnp.asarray(self.jumps, dtype)

    def coefficients(self, deviation: Array, projected: Array) -> Array:
        """Hermite coefficients [terms, 2, ...]: <1[u > h] h_k> = phi(h) h_{k-1}(h) / sqrt k."""

        def add(total: Array, one: tuple[Array, Array]):
            kink, jump = one
            return total + jump * _coefficients(kink, deviation, len(projected)), None

        return jax.lax.scan(add, jnp.zeros_like(projected), self._each(deviation.dtype))[0]

    def of_rows(self, K: Array) -> tuple[Array, Array]:
        """What pairs need of each input: the standard deviation; and shares of `pairs`' errors."""
        deviation = safe_sqrt(K)
        error = INTEGRAL**0.5 * float(np.sum(self.jumps**2)) ** 0.5
        return deviation, error * jnp.stack([deviation, jnp.ones_like(K)])

    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> tuple[Array, Array]:
        """<R_a R_b> from order 2 on and <R'_a R'_b> from order 1 on, of the gaps.

        By Price's theorem they are integrals of the density at the kinks, phi2, over the
        correlation sin t, from 0 on (Plackett, Biometrika 41, 1954): Gauss-Legendre with nodes
        crowded at the end, where phi2 may be steep. Ramps that cancel far out cancel before the
        integral.
        """
        root_a, root_b = a.beside(a.more.part), b.beside(b.more.part)
        first, second = (index.ravel() for index in np.indices((len(self.kinks),) * 2))
        jumps = self.jumps[first] * self.jumps[second]
        flat = float(np.sum(self.jumps)) ** 2
        h, k, jumps = (
            jnp.asarray(one, gap.dtype).reshape(-1, *(1,) * gap.ndim)
            for one in (self.kinks[first], self.kinks[second], jumps)
        )
        h, k = _scaled(h, root_a[None]), _scaled(k, root_b[None])
        sign = jnp.where(gap <= 1, 1.0, -1.0)[None]
        theta, _ = angle(jnp.minimum(gap, 2 - gap))
        apart, across = (h - sign * k) ** 2 / 2, sign * h * k
        length = np.pi / 2 - theta

        @jax.checkpoint
        def add(total: tuple[Array, Array], node: tuple[Array, Array]):
            left, weight = node
            beyond = length * left
            from_end = theta + beyond  # pi/2 - t
            exponent = apart / jnp.sin(from_end)[None] ** 2 + across / (1 + jnp.cos(from_end))[None]
            density = weight * (flat + jnp.sum(jumps * jnp.expm1(-exponent), 0))
            lift = 2 * jnp.sin(theta + beyond / 2) * jnp.sin(beyond / 2)  # cos theta - sin t
            return (total[0] + lift * density, total[1] + density), None

        left, weight = (jnp.asarray(part, gap.dtype) for part in _nodes())
        zero = jnp.zeros_like(gap)
        (ramps, steps), _ = jax.lax.scan(add, (zero, zero), (left, weight))
        common = length / (2 * np.pi)
        return root_a * root_b * common * ramps, sign[0] * common * steps


@functools.lru_cache(maxsize=64)
def _jumps(activation: Activation, dtype: np.dtype) -> tuple[np.ndarray, bool]:
    """Jumps of s' at the kinks, extrapolated from both sides; whether s' is constant elsewhere."""
    kinks = np.asarray(activation.kinks)
    near = min(NEAR, *np.diff(np.sort(kinks)) / 4, NEAR)
    places = kinks[:, None] + near * np.array([-2, -1, 1, 2])
    line = np.linspace(-30, 30, 1201) + 1.2345e-2
    slope = sampled(activation.derivative, np.concatenate([places.ravel(), line]), dtype)
    far_below, below, above, far_above = slope[: places.size].reshape(places.shape).T
    jumps = 2 * above - far_above - (2 * below - far_below)
    rest = slope[places.size :] - (line[:, None] > kinks) @ jumps
    return jumps, bool(np.ptp(rest) < 1e-6 * np.max(np.abs(jumps)))


def _scaled(kink: Array, deviation: Array) -> Array:
    """The kink in standard deviations; what lies beyond the farthest is never reached."""
    where = kink / jnp.where(deviation > 0, deviation, 1e-30)
    return jnp.clip(where, -TAIL, TAIL)


def _density(h: Array) -> Array:
    return jnp.exp(-(h**2) / 2) / np.sqrt(2 * np.pi)


def _coefficients(kink: Array, deviation: Array, terms: int) -> Array:
    """<relu(z - kink) h_k> and <1[z > kink] h_k>, [terms, 2, ...]."""
    h = _scaled(kink, deviation)

    def step(carried: tuple[Array, Array], k: Array):
        before, now = carried  # phi h_{k-1}, phi h_k
        after = (h * now - jnp.sqrt(k) * before) / jnp.sqrt(k + 1)
        return (now, after), now

    count = jnp.arange(terms, dtype=h.dtype)
    _, polynomials = jax.lax.scan(step, (jnp.zeros_like(h), _density(h)), count)
    above = ndtr(-h)[None]
    root = jnp.sqrt(jnp.maximum(count, 1.0)).reshape(-1, *(1,) * h.ndim)
    steps = jnp.concatenate([above, polynomials[:-1] / root[1:]])
    first = deviation * _density(h) + kink * jnp.where(kink < 0, ndtr(h), -above[0])
    ramps = jnp.concatenate([first[None], deviation[None] * steps[:-1] / root[1:]])
    return jnp.stack([ramps, steps], axis=1)


@functools.cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Distances from the end of [0, 1], crowded there, and weights."""
    node, weight = legendre_nodes(NODES)
    left = CROWDING * (1 - node) / 2
    return np.sinh(left) / np.sinh(CROWDING), weight / 2 * CROWDING * np.cosh(left) / np.sinh(
        CROWDING
    )
