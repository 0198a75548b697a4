"""Ramps of several widths: the part of an activation whose kernels are known at any variance."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array

from nsh._types import DTypeLike
from nsh.activations import Activation
from nsh.activations.arccos import safe_sqrt
from nsh.activations.pairs import InputMoments
from nsh.activations.sampled import sampled

# widths tried, from few to many; the last two for jumps of s'' at 0 and slow tails
GRIDS = tuple(
    tuple(np.geomspace(low, high, count).tolist())
    for low, high, count in (
        (1, 1, 1), (0.5**0.5, 0.5**0.5, 1), (0.5, 4, 6), (0.02, 8, 8), (0.01, 30, 12)
    )
)  # fmt: skip
GOOD = 1e-4  # relative residual at which no wider grid is tried
USELESS = 0.1  # relative residual from which nothing is taken out
FARTHEST = 300.0


class SmoothedRamps:
    """``sum_i A_i R_i + C_i tau_i R_i'' + B_i R_i' + E_i tau_i^2 R_i'''``, fitted to an activation.

    ``R(z) = <|z + tau n|> / 2`` with n ~ N(0, 1): a ramp of width tau, less z / 2. Adding tau n
    adds tau^2 to the variance, so that all pairs are those of |z| (Cho and Saul 2009) and their
    derivatives by K_ab, at K + tau^2. Width 0 is the kink at 0. Smooth activations with straight
    asymptotes are such sums to 1e-4 with six widths; what is left is for the Hermite expansion.
    """

    skipped = (1, 0)  # the product of means, large where K is small, is not in `pairs`

    def __init__(self, activation: Activation, dtype: DTypeLike):
        self.tau, self.numbers, self.complete = _fitted(activation, np.dtype(dtype))

    def values(self, z: Array) -> Array:
        """At z [...]: [2, ...], of the sum and its derivative."""

        def add(total: Array, one: tuple[Array, Array]):
            return total + jnp.stack(_components(z, one[0], one[1])), None

        given = jnp.asarray(self.tau, z.dtype), jnp.asarray(self.numbers, z.dtype)
        return jax.lax.scan(add, jnp.zeros((2, *z.shape), z.dtype), given)[0]

    def coefficients(self, deviation: Array, projected: Array) -> Array:  # noqa: ARG002
        """Hermite coefficients [terms, 2, ...], of `values` as projected numerically."""
        return projected

    def of_rows(self, K: Array) -> tuple[Array, Array]:
        """What pairs need of each input, and shares of their errors [2, ...].

        [3, widths, ...]: root = sqrt(K + tau^2), share = sqrt K / root (where both are 0 its
        limit 1), tau / root. In one array: a loop over layers takes a program for each that it
        slices. Errors are rounding, lost where parts of s and s' cancel.
        """
        tau = jnp.asarray(self.tau, K.dtype).reshape(-1, *(1,) * K.ndim)
        root = safe_sqrt(K[None] + tau**2)
        there = root > 0
        inverse = jnp.where(there, 1 / jnp.where(there, root, 1.0), 0.0)
        share = jnp.where(there, safe_sqrt(K)[None] * inverse, 1.0)
        A, C, B, E = (jnp.asarray(one, K.dtype) for one in np.abs(self.numbers.T))
        A, C, B, E = (one.reshape(tau.shape) for one in (A, C, B, E))
        s = share * (share * (A * root + C) + B + E)  # even parts are flat at 0
        slope = share * (A + C * inverse) + (B + E) * inverse
        size = 0.4 * jnp.stack([s, slope]).sum(1)
        return jnp.stack([root, share, tau * inverse]), float(jnp.finfo(K.dtype).eps) ** 0.5 * size

    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> tuple[Array, Array]:
        """<s_a s_b> - <s_a> <s_b> and <s'_a s'_b> of the sums."""
        first, second = (index.ravel() for index in np.indices((len(self.tau),) * 2))
        products = (self.numbers[first, :, None] * self.numbers[second, None, :]) / (2 * np.pi)
        cosine, square = 1 - gap, gap * (2 - gap)

        @jax.checkpoint
        def add(total: tuple[Array, Array], given: tuple[Array, Array, Array]):
            i, j, numbers = given
            one = a.beside(jax.lax.dynamic_index_in_dim(a.more.part, i, 1, False))
            other = b.beside(jax.lax.dynamic_index_in_dim(b.more.part, j, 1, False))
            s, slope = _pair(one, other, cosine, square, numbers)
            return (total[0] + s, total[1] + slope), None

        zero = jnp.zeros_like(gap)
        if not len(self.tau):
            return zero, zero
        given = (jnp.asarray(first), jnp.asarray(second), jnp.asarray(products, gap.dtype))
        return jax.lax.scan(add, (zero, zero), given)[0]


def _components(z: Array, tau: Array, numbers: Array) -> tuple[Array, Array]:
    """One width's part of s and s'; numbers [4] of R, tau R'', R', tau^2 R'''.

    Less its value at z = 0: beside it, small z would have no digits left. The mean of s, which
    alone has that value in it, is not in `pairs`.
    """
    A, C, B, E = numbers
    narrow = jnp.maximum(tau, 1e-30)
    u = jnp.clip(z / narrow, -40, 40)  # beyond, the density is 0
    density = jnp.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    step = erf(u * 0.5**0.5) / 2
    moved = jnp.expm1(-(u**2) / 2) / np.sqrt(2 * np.pi)  # of the density from z = 0 on
    s = A * (z * step + tau * moved) + B * step + C * moved - E * u * density
    slope = A * step + jnp.where(tau > 0, 1 / narrow, 0.0) * density * (B - C * u + E * (u**2 - 1))
    return s, slope


def _pair(a: Array, b: Array, c: Array, square: Array, n: Array) -> tuple[Array, Array]:
    """Of two widths: with n[k, l] the product of the numbers of kinds k and l, over 2 pi."""
    (root_a, share_a, rest_a), (root_b, share_b, rest_b) = a, b
    rho = share_a * share_b * c
    sigma2 = (share_a * share_b) ** 2 * square + rest_b**2 + (share_b * rest_a) ** 2
    sigma = safe_sqrt(sigma2)  # sqrt(1 - rho^2), without a difference
    there = sigma > 1e-18
    inverse = jnp.where(there, 1 / jnp.where(there, sigma, 1.0), 0.0)
    theta = jnp.arctan2(rho, sigma)
    x, y = rest_a * inverse, rest_b * inverse
    roots = root_a * root_b
    apart = jnp.where(roots > 0, inverse / jnp.where(roots > 0, roots, 1.0), 0.0)
    over_a, over_b = apart * root_b * sigma, apart * root_a * sigma
    lower = rho**2 / (1 + sigma)  # 1 - sigma
    s = (
        n[0, 0] * roots * (rho * theta - lower)
        + n[2, 2] * theta
        + rest_a * y * (n[1, 1] * lower + n[3, 3] * rho * x * y)
        - lower * (n[0, 1] * root_a * rest_b + n[1, 0] * root_b * rest_a)
        - rho * (n[2, 3] * rest_b * y + n[3, 2] * rest_a * x)
    )
    slope = (
        n[0, 0] * theta
        + apart * (n[2, 2] + n[1, 1] * rho * x * y - n[2, 3] * y**2 - n[3, 2] * x**2)
        + apart * n[3, 3] * (x * y) ** 2 * (sigma2 + 3 * rho**2)
        - rho * (n[0, 1] * y * over_b + n[1, 0] * x * over_a)
    )
    return s, slope


@functools.lru_cache(maxsize=64)
def _fitted(activation: Activation, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, bool]:
    """Widths and numbers [widths, 4] of the first grid that fits s' well, or of the best.

    And whether nothing but rounding is left.
    """
    half = np.geomspace(1e-4, FARTHEST, 600)
    z = np.concatenate([-half[::-1], half])
    slope = sampled(activation.derivative, z, dtype)
    below, above = slope[: len(half)][::-1], slope[len(half) :]
    kinked = 0.0 in activation.kinks
    weight = np.sqrt(half) / (1 + half / 20)
    whole = np.linalg.norm(weight * np.concatenate([[below], [above]]))
    best = USELESS, np.zeros(0), np.zeros((0, 4))
    for grid in GRIDS if np.all(np.isfinite(slope)) else ():
        left, tau, numbers = _fit(np.array(grid), (below, above), weight, kinked)
        if left / max(whole, 1e-30) < best[0]:
            best = left / max(whole, 1e-30), tau, numbers
        if best[0] < GOOD:
            break
    left, tau, numbers = best
    return tau, numbers, bool(left < 10 * float(jnp.finfo(dtype).eps))


def _fit(
    tau: np.ndarray, sides: tuple[np.ndarray, np.ndarray], weight: np.ndarray, kinked: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """The norm of what is left, the widths, and the numbers, by least squares."""
    half = np.geomspace(1e-4, FARTHEST, len(weight))[:, None]
    u = half / tau
    density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    steps = np.asarray(_normal(u)) - 0.5
    odd = [steps, -u * density / tau]
    even = [density / tau, (u**2 - 1) * density / tau, np.ones_like(half)]
    if kinked:
        odd.append(np.full_like(half, 0.5))
    below, above = sides
    count, left, found = len(tau), 0.0, []
    for columns, values in ((odd, (above - below) / 2), (even, (above + below) / 2)):
        matrix = np.concatenate(columns, 1) * weight[:, None]
        scale = np.linalg.norm(matrix, axis=0)
        solution = np.linalg.lstsq(matrix / scale, weight * values, rcond=1e-8)[0] / scale
        left += 2 * float(np.sum((matrix @ solution - weight * values) ** 2))
        found.append(solution)
    of_odd, of_even = found
    numbers = np.stack(
        [of_odd[:count], of_odd[count : 2 * count], of_even[:count], of_even[count : 2 * count]], 1
    )
    if kinked:
        tau = np.append(tau, 0.0)
        numbers = np.concatenate([numbers, [[of_odd[-1], 0, 0, 0]]])
    return left**0.5, tau, numbers


def _normal(u: np.ndarray) -> np.ndarray:
    """The normal distribution function, in 64 bits whatever the run's own."""
    return np.vectorize(lambda one: 0.5 * math.erfc(-one / math.sqrt(2)), otypes=[float])(u)
