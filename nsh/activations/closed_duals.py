"""Dual activations in closed form: any formula, scale-invariant functions, erf, waves."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh.activations.arccos import angle, arcsine
from nsh.activations.pairs import Dual, InputMoments, PairMoments


class ClosedDual(Dual):
    """A closed form: `s`, an elementwise JAX function of K_aa, K_bb, K_ab, gives <s_a s_b>.

    (z_a, z_b) ~ N(0, [[K_aa, K_ab], [K_ab, K_bb]]). <s'_a s'_b> is its derivative by K_ab (Price,
    IRE Transactions on Information Theory 4, 1958). Nearly equal inputs are told apart as well as
    ``1 - <s_a s_b> / sqrt(<s_a^2> <s_b^2>)`` tells them after rounding.

    Example:
        >>> from nsh.activations import Activation, ClosedDual
        >>> from nsh.theory.effective import dual
        >>> product = ClosedDual(lambda K_aa, K_bb, K_ab: K_ab)  # <z_a z_b>
        >>> one, half = jnp.array(1.0), jnp.array(0.5)
        >>> float(dual(Activation("identity", lambda z: z, dual=product))(one, one, half).s)
        0.5
    """

    s: Callable[[Array, Array, Array], Array] = eqx.field(static=True)

    def moments(self, K: Array) -> InputMoments:
        """See `Dual`."""
        return InputMoments.of(K, *self._both(K, K, K))

    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> PairMoments:
        """See `Dual`."""
        both, slope = self._both(a.K, b.K, a.root_K * b.root_K * (1 - gap))
        return PairMoments(relative_gap(a, b, both, gap), slope, *_rounding(gap))

    def _both(self, K_aa: Array, K_bb: Array, K_ab: Array) -> tuple[Array, Array]:
        return jax.jvp(lambda K: self.s(K_aa, K_bb, K), (K_ab,), (jnp.ones_like(K_ab),))


class ScaleInvariant(Dual):
    """s(z) = p z + q |z|, with p, q = (a+ + a-)/2, (a+ - a-)/2 and A2 = p^2 + q^2.

    <s_a s_b> = sqrt(K_aa K_bb) [A2 cos t + (2 q^2/pi) (sin t - t cos t)] and <s'_a s'_b> = A2 -
    (2 q^2/pi) t at angle t: the arc-cosine kernels (Cho and Saul, NeurIPS 2009).
    """

    slopes: tuple[float, float] = eqx.field(static=True)
    exact: ClassVar[bool] = True

    def _numbers(self) -> tuple[float, float]:
        below, above = self.slopes
        return (below**2 + above**2) / 2, (above - below) ** 2 / (2 * np.pi)

    def moments(self, K: Array) -> InputMoments:
        """See `Dual`."""
        A2, _ = self._numbers()
        return InputMoments.of(K, A2 * K, jnp.full_like(K, A2))

    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> PairMoments:  # noqa: ARG002
        """See `Dual`."""
        A2, bend = self._numbers()
        if not bend:
            return PairMoments(gap, jnp.full_like(gap, A2), 0.0, 0.0)
        theta, rest = angle(gap)
        return PairMoments(gap - (bend / A2) * rest, A2 - bend * theta, 0.0, 0.0)


class Erf(Dual):
    """s = erf: <s_a s_b> = (2/pi) arcsin(2 K_ab / sqrt(X_a X_b)), X = 1 + 2 K.

    <s'_a s'_b> = (4/pi) / sqrt(X_a X_b - 4 K_ab^2) (Williams, Neural Computation 10, 1998).
    """

    def moments(self, K: Array) -> InputMoments:
        """See `Dual`."""
        X = 1 + 2 * K
        square = (2 / np.pi) * arcsine(2 * K / X, 1 / X)
        return InputMoments.of(K, square, (4 / np.pi) / jnp.sqrt(1 + 4 * K), jnp.sqrt(X))

    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> PairMoments:
        """See `Dual`."""
        norm = a.root_K * b.root_K
        X = a.beside(a.more) * b.beside(b.more)
        one = 1 + 2 * a.K + 2 * b.K  # X^2 - (2 norm)^2
        within = (one / (X + 2 * norm) + 2 * norm * gap) / X
        both = (2 / np.pi) * arcsine(2 * norm * (1 - gap) / X, within)
        slope = (4 / np.pi) / jnp.sqrt(one + 4 * norm**2 * gap * (2 - gap))
        return PairMoments(relative_gap(a, b, both, gap), slope, *_rounding(gap))


class Jump(Dual):
    """s(z) = `low` for z < 0 and `high` for z > 0, whose derivative counts as 0: as autodiff's.

    <s_a s_b> = m^2 + h^2 (1 - 2 t / pi) at angle t, with m, h half the sum and half the difference
    (Cho and Saul, NeurIPS 2009, degree 0). Training sees no slope: the NTK of layers before is 0.
    """

    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)
    exact: ClassVar[bool] = True

    def _numbers(self) -> tuple[float, float]:
        return ((self.low + self.high) / 2) ** 2, ((self.high - self.low) / 2) ** 2

    def moments(self, K: Array) -> InputMoments:
        """See `Dual`."""
        return InputMoments.of(K, jnp.full_like(K, sum(self._numbers())), jnp.zeros_like(K))

    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> PairMoments:  # noqa: ARG002
        """See `Dual`."""
        mean, spread = self._numbers()
        theta, _ = angle(gap)
        share = 2 / np.pi * spread / (mean + spread)
        return PairMoments(share * theta, jnp.zeros_like(gap), 0.0, 0.0)


class Gelu(Dual):
    """s(z) = z F(z), with the normal distribution function F.

    ``<s_a s_b> = K_ab P + N / (2 pi R)`` with ``P = <F_a F_b> = 1/4 + arcsin(K_ab / sqrt(A B)) / (2
    pi)``, ``N = K_aa K_bb + K_ab^2 q``, ``q = 1/A + 1/B - 1``, ``R^2 = A B - K_ab^2``, A = 1 + K_aa
    and B = 1 + K_bb: by Stein's identity. <s'_a s'_b> is the derivative by K_ab.
    """

    def moments(self, K: Array) -> InputMoments:
        """See `Dual`."""
        return InputMoments.of(K, *_gelu(K, K, K, jnp.zeros_like(K)))

    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> PairMoments:
        """See `Dual`."""
        norm = a.root_K * b.root_K
        both, slope = _gelu(a.K, b.K, norm * (1 - gap), norm**2 * gap * (2 - gap))
        return PairMoments(relative_gap(a, b, both, gap), slope, *_rounding(gap))


def _gelu(K_a: Array, K_b: Array, K: Array, left: Array) -> tuple[Array, Array]:
    """<s_a s_b> and <s'_a s'_b>; `left`: K_aa K_bb - K_ab^2, without a difference."""
    R2 = 1 + K_a + K_b + left
    R = jnp.sqrt(R2)
    q = (1 - K_a * K_b) / ((1 + K_a) * (1 + K_b))
    # N = left + K^2 (1 + q), and 1 + q = (2 + K_a + K_b) / (A B)
    N = left + K**2 * (2 + K_a + K_b) / ((1 + K_a) * (1 + K_b))
    P = 0.25 + jnp.arctan2(K, R) / (2 * np.pi)
    slope = P + K * (1 + 2 * q + N / R2) / (2 * np.pi * R)
    return K * P + N / (2 * np.pi * R), slope


class Waves(Dual):
    """s(z) = alpha + beta z + p sin(w z) + q cos(w z), all pairs by E = exp(-w^2 K / 2).

    <sin sin> = E_a E_b sinh(w^2 K_ab), <cos cos> = E_a E_b cosh(w^2 K_ab), <z_a sin_b> =
    w K_ab E_b, and none of even with odd.
    """

    numbers: tuple[float, ...] = eqx.field(static=True)  # alpha, beta, p, q, w

    def moments(self, K: Array) -> InputMoments:
        """See `Dual`."""
        alpha, beta, p, q, w = self.numbers
        E, odd = jnp.exp(-(w**2) * K / 2), -jnp.expm1(-2 * w**2 * K) / 2
        even = 1 - odd
        square = alpha**2 + 2 * alpha * q * E + q**2 * even
        square = square + beta * K * (beta + 2 * p * w * E) + p**2 * odd
        slope = beta * (beta + 2 * p * w * E) + w**2 * (p**2 * even + q**2 * odd)
        return InputMoments.of(K, square, slope, E)

    def pairs(self, a: InputMoments, b: InputMoments, gap: Array) -> PairMoments:
        """See `Dual`."""
        alpha, beta, p, q, w = self.numbers
        root_a, root_b = w * a.root_K, w * b.root_K
        norm = root_a * root_b
        largest = jnp.exp(-((root_a - root_b) ** 2) / 2 - norm * jnp.minimum(gap, 2 - gap))
        twice = 2 * norm * jnp.abs(1 - gap)
        odd = -jnp.sign(1 - gap) * largest * jnp.expm1(-twice) / 2
        even = largest * (1 + jnp.exp(-twice)) / 2
        E = a.beside(a.more) + b.beside(b.more)
        straight = beta * (beta + p * w * E)
        both = norm / w**2 * (1 - gap) * straight + p**2 * odd
        both = both + alpha * (alpha + q * E) + q**2 * even
        slope = straight + w**2 * (p**2 * even + q**2 * odd)
        return PairMoments(relative_gap(a, b, both, gap), slope, *_rounding(gap))


def _rounding(gap: Array) -> tuple[Array, Array]:
    """Of `relative_gap` and of a slope."""
    eps = jnp.full_like(gap, jnp.finfo(gap.dtype).eps)
    return eps, eps


def relative_gap(a: InputMoments, b: InputMoments, both: Array, gap: Array) -> Array:
    """The gap of <s_a s_b>; where a diagonal is 0 the gap stays what it was."""
    norm = a.root_square * b.root_square
    there = norm > 0
    return jnp.where(there, jnp.clip(1 - both / jnp.where(there, norm, 1.0), 0, 2), gap)
