"""Ramps relu(z - kink) of two correlated Gaussians, exactly: the kinked part of an activation."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array

from nsh.theory.effective.activation import Activation
from nsh.theory.effective.gaussian import TAIL
from nsh.theory.effective.infinite_width.arccos import angle, safe_sqrt

NEAR = 1e-3  # how close to a kink its jump is measured
NODES = 24  # error of an orthant's probability: below 1e-6


class Ramps:
    """``sum_j J_j relu(z - kink_j)``, J_j being the jumps of an activation's derivative.

    Results come in pairs, of the ramps and of their derivatives, the steps.
    """

    def __init__(self, activation: Activation):
        self.kinks = np.asarray(activation.kinks)
        self.jumps = _jumps(activation)

    def values(self, z: Array) -> Array:
        """At z [nodes, ...]: [nodes, 2, ...]."""
        above = [jax.nn.relu(z - kink) for kink in self.kinks]
        steps = [(z > kink).astype(z.dtype) for kink in self.kinks]
        return jnp.stack([self._sum(above, z), self._sum(steps, z)], axis=1)

    def _sum(self, terms: list[Array], like: Array) -> Array:
        total = jnp.zeros_like(like)
        for jump, term in zip(self.jumps.tolist(), terms, strict=True):
            total = total + jump * term
        return total

    def coefficients(self, deviation: Array, terms: int) -> Array:
        """Hermite coefficients [terms, 2, ...]: <1[u > h] h_k> = phi(h) h_{k-1}(h) / sqrt k."""
        found = [_coefficients(kink, deviation, terms) for kink in self.kinks.tolist()]
        zero = jnp.zeros((terms, *deviation.shape), deviation.dtype)
        ramps, steps = (self._sum([one[part] for one in found], zero) for part in (0, 1))
        return jnp.stack([ramps, steps], axis=1)

    def squares(self, deviation: Array) -> Array:
        """Mean squares [2, ...]."""
        K = deviation**2
        return jnp.stack(self.pairs(K, K, jnp.zeros_like(K)))

    def pairs(self, K_a: Array, K_b: Array, gap: Array) -> tuple[Array, Array]:
        """<R_a R_b> and <R'_a R'_b> of the gaps, the variances broadcasting against them."""
        each = np.arange(len(self.kinks))
        first, second = (index.ravel() for index in np.meshgrid(each, each))
        jumps = jnp.asarray(self.jumps[first] * self.jumps[second], gap.dtype)
        kinks = [
            jnp.asarray(self.kinks[index], gap.dtype).reshape(-1, *(1,) * gap.ndim)
            for index in (first, second)
        ]
        ramps, steps = _pair(kinks, (safe_sqrt(K_a)[None], safe_sqrt(K_b)[None]), gap[None])
        ramps, steps = (jnp.tensordot(jumps, one, 1, precision="highest") for one in (ramps, steps))
        return ramps, steps


def _jumps(activation: Activation) -> np.ndarray:
    """Jumps of s' at the kinks, extrapolated to them from both sides."""
    with jax.ensure_compile_time_eval():
        kinks = jnp.asarray(activation.kinks, float)

        def beside(side: float) -> Array:
            near, far = (activation.derivative(kinks + side * n * NEAR) for n in (1.0, 2.0))
            return 2 * near - far

        return np.asarray(beside(1.0) - beside(-1.0), float)


def _scaled(kink: Array | float, deviation: Array) -> Array:
    """The kink in standard deviations; what lies beyond the farthest is never reached."""
    where = kink / jnp.where(deviation > 0, deviation, 1e-30)
    return jnp.clip(where, -TAIL, TAIL)


def _density(h: Array) -> Array:
    return jnp.exp(-(h**2) / 2) / np.sqrt(2 * np.pi)


def _coefficients(kink: float, deviation: Array, terms: int) -> tuple[Array, Array]:
    """<relu(z - kink) h_k> and <1[z > kink] h_k>, each [terms, ...]."""
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
    first = deviation * _density(h) - kink * above[0]
    return jnp.concatenate([first[None], deviation[None] * steps[:-1] / root[1:]]), steps


def _pair(kinks: list[Array], deviations: tuple[Array, Array], gap: Array) -> tuple[Array, Array]:
    """<relu(z_a - kink) relu(z_b - kink')> and P(z_a > kink, z_b > kink').

    The probability is phi2 integrated over the correlation sin t (Plackett, Biometrika 41, 1954),
    by Gauss-Legendre with nodes crowded at its end, where phi2 may be steep.
    """
    h, k = (_scaled(*both) for both in zip(kinks, deviations, strict=True))
    sign = jnp.where(gap <= 1, 1.0, -1.0)
    smaller = jnp.minimum(gap, 2 - gap)
    theta, _ = angle(smaller)
    along, across = h - sign * k, sign * h * k

    def add(total: Array, node: tuple[Array, Array]):
        left, weight = node
        from_end = theta * (1 - left) + np.pi / 2 * left  # pi/2 - t
        cosine = jnp.sin(from_end)
        exponent = along**2 / (2 * cosine**2) + across / (1 + jnp.cos(from_end))
        return total + weight * jnp.exp(-exponent), None

    left, weight = (jnp.asarray(part, gap.dtype) for part in _nodes())
    total, _ = jax.lax.scan(add, jnp.zeros_like(along + across), (left, weight), unroll=2)
    orthant = ndtr(-h) * ndtr(-k) + sign * (np.pi / 2 - theta) * total / (2 * np.pi)
    sine = jnp.sqrt(jnp.maximum(smaller * (2 - smaller), 1e-12))
    beside_h = (along + sign * smaller * k) / sine  # (h - c k) / sqrt(1 - c^2)
    beside_k = (k - sign * h + sign * smaller * h) / sine
    density = sine / (2 * np.pi) * jnp.exp(-(beside_h**2 + k**2) / 2)
    norm = deviations[0] * deviations[1]
    mean = (
        (norm * (1 - gap) + kinks[0] * kinks[1]) * orthant + norm * density
        - kinks[0] * deviations[1] * _density(k) * ndtr(-beside_h)
        - kinks[1] * deviations[0] * _density(h) * ndtr(-beside_k)
    )  # fmt: skip
    return mean, orthant


@functools.cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Distances from the end of [0, 1], crowded there, and weights."""
    node, weight = np.polynomial.legendre.leggauss(NODES)
    left = (1 - node) / 2
    return left**2, weight * left
