"""Angles from their gap 1 - cos: exact where arccos itself has lost its digits."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def safe_sqrt(value: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The square root, and 0 for what is not positive; its derivative there is 0, not infinite."""
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1.0)), 0.0)


@jax.custom_jvp
def angle(gap: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """``theta = arccos(1 - gap)`` and ``sin theta - theta cos theta``, for gap in [0, 2].

    Near gap = 0, theta = sqrt(2 gap) (1 + gap / 12 + ...): rounding of the gap does little, while
    rounding of the cosine to float32 moves theta by 3e-4. Their derivatives are 1 / sin theta
    (taken as 0 at both ends, where it is infinite) and theta.
    """
    smaller = jnp.minimum(gap, 2 - gap)
    root = jnp.sqrt(2 * smaller)
    acute = root * arcsine_ratio(smaller / 2)
    theta = jnp.where(gap <= 1, acute, np.pi - acute)
    sine = root * jnp.sqrt(1 - smaller / 2)
    return theta, sine - theta * (1 - gap)


@angle.defjvp
def _(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (gap,), (moved,) = primals, tangents
    theta, rest = angle(gap)
    sine = safe_sqrt(gap * (2 - gap))
    slope = jnp.where(sine > 0, 1 / jnp.where(sine > 0, sine, 1.0), 0.0)
    return (theta, rest), (slope * moved, theta * moved)


def arcsine(value: Float[Array, "*shape"], gap: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """arcsin(value), with `gap` = 1 - value given too: accurate near 0 and near both ends."""
    small = value**2 <= 0.5
    smaller = jnp.clip(jnp.minimum(gap, 2 - gap), 0, None) / 2
    ratio = arcsine_ratio(jnp.where(small, value**2, smaller))
    return jnp.where(
        small, value * ratio, jnp.sign(value) * (np.pi / 2 - 2 * safe_sqrt(smaller) * ratio)
    )


def arcsine_ratio(square: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``arcsin(x) / x`` of x^2 in [0, 1/2], a polynomial accurate to the float type."""
    first, *others = _coefficients(20 if square.dtype == jnp.float64 else 9)
    total = jnp.full_like(square, first)
    for coefficient in others:
        total = total * square + coefficient
    return total


@functools.cache
def _coefficients(degree: int) -> list[float]:
    """The polynomial's coefficients, highest power first."""

    def ratio(square: np.ndarray) -> np.ndarray:
        x = np.sqrt(square)
        return np.arcsin(x) / x

    fit = np.polynomial.Chebyshev.interpolate(ratio, degree, domain=[0, 0.5])
    return fit.convert(kind=np.polynomial.Polynomial).coef[::-1].tolist()
