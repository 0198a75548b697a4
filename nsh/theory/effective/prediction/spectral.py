"""Linear training in the eigenbasis of a kernel: how far it has come at any time."""

from __future__ import annotations

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.matrices import MATMUL

UNRESOLVED = 10  # eps of the largest eigenvalue: what is below cannot be told from 0


class Law(eqx.Module):
    """How a residual along an eigenvector of eigenvalue v decays with time."""

    @abc.abstractmethod
    def done(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """The share of the residual that is gone, for v > 0; `time` may be infinite."""

    @abc.abstractmethod
    def reach(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """How far v must change for ``done / v`` to change its shape."""

    @abc.abstractmethod
    def diverges(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Array:
        """Whether the residual grows."""


class Flow(Law):
    """Gradient flow: the residual is ``exp(-v t)``."""

    def done(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """``1 - exp(-v t)``."""
        finite, time = _finite(time)
        return jnp.where(finite, -jnp.expm1(-v * time), 1)

    def reach(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """The larger of v and 1 / t."""
        return jnp.maximum(v, 1 / jnp.maximum(time, jnp.finfo(time.dtype).tiny))

    def diverges(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Array:  # noqa: ARG002
        """Never."""
        return jnp.zeros(v.shape, bool)


class Descent(Law):
    """Gradient descent: after t steps the residual is ``(1 - rate v)^t``."""

    rate: Float[Array, ""]

    def done(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """``1 - (1 - rate v)^t``, accurate also where rate v is below the rounding of 1."""
        finite, time = _finite(jax.lax.stop_gradient(time))  # whole numbers
        x = self.rate * v
        slow = x < 0.5
        gone = -jnp.expm1(time * jnp.log1p(-jnp.where(slow, x, 0.25)))
        # the derivative of 0^0 would be NaN
        left = jnp.power(1 - jnp.where(slow | (time == 0), 0.5, x), time)
        # after infinitely many steps: all, none, or no limit
        limit = jnp.where((x > 0) & (x < 2), 1.0, jnp.where(x == 0, 0.0, jnp.nan))
        return jnp.where(finite, jnp.where(slow, gone, 1 - left), limit)

    def reach(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Float[Array, "..."]:
        """As in gradient flow, from either end of the interval where descent converges."""
        from_end = jnp.minimum(v, jnp.abs(2 / self.rate - v))
        return jnp.maximum(from_end, 1 / jnp.maximum(time * self.rate, jnp.finfo(v.dtype).tiny))

    def diverges(self, v: Float[Array, "..."], time: Float[Array, ""]) -> Array:
        """Beyond twice the inverse rate, or at it for ever."""
        x = self.rate * v
        return (x > 2) | ((x == 2) & jnp.isinf(time))


def _finite(time: Float[Array, ""]) -> tuple[Array, Array]:
    """Whether time is finite, and 1 in its place if not, lest derivatives be NaN."""
    finite = jnp.isfinite(time)
    return finite, jnp.where(finite, time, 1)


class Spectrum(eqx.Module):
    """Eigenvalues, ascending, and eigenvectors (columns); those that cannot be told from 0 are 0.

    `condition`: largest over smallest eigenvalue, infinite if that is not above rounding.
    """

    values: Float[Array, " n"]
    vectors: Float[Array, "n n"]
    condition: Float[Array, ""]
    status: Int[Array, ""]


def spectrum(matrix: Float[Array, "n n"]) -> Spectrum:
    """Eigenvalues within 10 eps of 0, relative to the largest, are made 0: `REGULARISED`.

    One below -sqrt(eps) of the largest: `NOT_POSITIVE`, and NaN throughout. Constant for
    derivatives, which `progress` takes by other means.
    """
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(matrix))
    eps = float(jnp.finfo(matrix.dtype).eps)
    largest = values[-1]
    resolved = values > UNRESOLVED * eps * largest
    positive = (values[0] >= -math.sqrt(eps) * largest) & (largest >= 0)  # not so for NaN
    usable = jnp.where(jnp.all(resolved), Status.SOLVED, Status.REGULARISED)
    status = jnp.where(positive, usable, Status.NOT_POSITIVE).astype(jnp.int32)
    condition = jnp.where(resolved[0], largest / values[0], jnp.inf)
    values = jnp.where(positive, jnp.where(resolved, values, 0), jnp.nan)
    return Spectrum(values, vectors, condition, status)


@jax.custom_jvp
def progress(
    matrix: Float[Array, "n n"],  # noqa: ARG001, differentiated by
    b: Float[Array, "n k"],
    time: Float[Array, ""],
    law: Law,
    found: Spectrum,
) -> Float[Array, "n k"]:
    """``matrix^-1 done(matrix, time) b``, with `found` the spectrum of the matrix.

    Directions of eigenvalue 0 do not move. Differentiable once in matrix, b, time and law, also
    where eigenvalues coincide (where derivatives of eigenvectors do not exist).
    """
    moved = _moved(found.values, time, law)[:, None] * _product(found.vectors.T, b)
    return _product(found.vectors, moved)


@progress.defjvp
def _progress_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    matrix, b, time, law, found = primals
    d_matrix, d_b, d_time, d_law, _ = tangents
    inner = _product(found.vectors.T, b)
    turned = _product(_product(found.vectors.T, d_matrix), found.vectors)
    by_matrix = _product(_divided_differences(found.values, time, law) * turned, inner)
    _, by_time = jax.jvp(
        lambda time, law: _moved(found.values, time, law), (time, law), (d_time, d_law)
    )
    change = _product(found.vectors, by_matrix + by_time[:, None] * inner)
    return progress(matrix, b, time, law, found), change + progress(matrix, d_b, time, law, found)


def _moved(v: Float[Array, "..."], time: Float[Array, ""], law: Law) -> Float[Array, "..."]:
    """``done / v``, and 0 for v = 0."""
    safe = jnp.where(v == 0, 1, v)
    return jnp.where(v == 0, 0, law.done(safe, time) / safe)


def _divided_differences(
    v: Float[Array, " n"], time: Float[Array, ""], law: Law
) -> Float[Array, "n n"]:
    """``(F(v_i) - F(v_j)) / (v_i - v_j)`` of F = done / v, in the limit where they coincide.

    These are the derivative of a matrix function in the eigenbasis (Daleckii and Krein, 1965).
    Of eigenvalues close by, F' is averaged between them instead, which does not cancel.
    """
    gap = v[:, None] - v[None]
    nodes, weights = (jnp.asarray(part, v.dtype) for part in np.polynomial.legendre.leggauss(3))
    middle = (v[:, None] + v[None]) / 2
    between = middle[..., None] + gap[..., None] / 2 * nodes[None, None]
    _, slope = jax.jvp(lambda v: _moved(v, time, law), (between,), (jnp.ones_like(between),))
    mean_slope = jnp.sum(slope * weights[None, None], axis=-1) / 2
    close = jnp.abs(gap) < 0.1 * law.reach(middle, time)
    value = _moved(v, time, law)
    difference = (value[:, None] - value[None]) / jnp.where(gap == 0, 1, gap)  # 0 of two nulls
    null = (v == 0)[:, None] | (v == 0)[None]
    return jnp.where(close & ~null, mean_slope, difference)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=MATMUL)
