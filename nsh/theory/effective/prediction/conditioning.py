"""Solves with symmetric positive semidefinite matrices, which say how well they went."""

from __future__ import annotations

import enum
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nsh.theory.effective.prediction.matrices import MATMUL

ITERATIONS = 32  # of the power method
LARGEST_JITTER = 0.02  # of the mean diagonal


class Status(enum.IntEnum):
    """Outcome of a solve, as data. What could not be computed is NaN.

    Example:
        >>> from nsh.theory.effective import Status, kernel_regression
        >>> singular = [[1.0, 1.0], [1.0, 1.0]]
        >>> Status(int(kernel_regression(singular, [[1.0, 1.0]], [1.0, 1.0]).status)).name
        'REGULARISED'
    """

    SOLVED = 0
    """As asked."""
    REGULARISED = 1
    """Jitter was added, or directions that cannot be told from null were left out; usable."""
    NOT_POSITIVE = 2
    """The matrix is not finite, or not positive semidefinite even up to rounding."""
    NEGATIVE_VARIANCE = 3
    """A variance below 0 by more than rounding (given as 0): kernels not of the same prior."""
    DIVERGED = 4
    """Training diverges, or the solver of differential equations gave up."""
    INACCURATE = 5
    """Off by more than was asked or is usual: see the result's `error`."""
    NOT_CONVERGED = 6
    """An iteration ended before its residual was as small as asked: see the result's `residual`."""


class Factor(eqx.Module):
    """Cholesky factor of ``matrix + jitter I``, by `factorise`; all NaN if `status` >= 2.

    `jitter`: what was added to the diagonal. `condition`: ratio of the largest to the smallest
    eigenvalue of ``matrix + jitter I``, by the power method: never too large, rarely 10% too
    small; infinite where the solve failed. `status`: a `Status`.
    """

    lower: Float[Array, "n n"]
    jitter: Float[Array, ""]
    condition: Float[Array, ""]
    status: Int[Array, ""]

    def solve(self, b: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """``(matrix + jitter I)^-1 b``."""
        return jax.scipy.linalg.cho_solve((self.lower, True), b)

    def whiten(self, b: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """``lower^-1 b``, so that ``b^T (matrix + jitter I)^-1 b = |whiten(b)|^2``."""
        return jax.scipy.linalg.solve_triangular(self.lower, b, lower=True)

    def log_determinant(self) -> Float[Array, ""]:
        """log det(matrix + jitter I)."""
        return 2 * jnp.sum(jnp.log(jnp.diagonal(self.lower)))


def factorise(matrix: Float[Array, "n n"]) -> Factor:
    """Factor a symmetric positive semidefinite matrix with the smallest jitter that serves.

    Jitter follows a schedule, in units of the mean diagonal: 0, eps, 10 eps, 100 eps, ... up to
    0.02 (eps: of the floating-point type). It is the first amount with which Cholesky succeeds and
    a random right-hand side b is solved up to ``|A x - b| <= eps^(1/4) |b|``. Compiled once for
    all amounts. Differentiable: amount and condition count as constants, jitter goes with the mean
    diagonal. Matrices are not checked here; a hopeless one has status `NOT_POSITIVE`.
    """
    eps = float(jnp.finfo(matrix.dtype).eps)
    small = eps**0.25
    amounts = jnp.asarray(jitter_schedule(eps), matrix.dtype)
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    probe = jax.random.normal(jax.random.key(0), matrix.shape[:1], matrix.dtype)
    fixed = jax.lax.stop_gradient(matrix)

    def jittered(matrix: Array, amount: Array) -> tuple[Array, Array]:
        jitter = amount * jnp.mean(jnp.diagonal(matrix))
        return matrix + jitter * identity, jitter

    def residual(amount: Array) -> Array:
        tried, _ = jittered(fixed, amount)
        x = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(tried), True), probe)
        left = jnp.matmul(tried, x, precision=MATMUL) - probe
        return jnp.linalg.norm(left) / jnp.linalg.norm(probe)

    def poor(found: tuple[Array, Array]) -> Array:
        place, error = found
        return ~(error <= small) & (place < len(amounts) - 1)  # NaN is poor

    def climb(found: tuple[Array, Array]) -> tuple[Array, Array]:
        place = found[0] + 1
        return place, residual(amounts[place])

    start = jnp.full((), -1, jnp.int32), jnp.full((), jnp.inf, matrix.dtype)
    place, error = jax.lax.while_loop(poor, climb, start)
    solved = error <= small
    used, jitter = jittered(matrix, amounts[place])
    lower = jnp.where(solved, jnp.linalg.cholesky(used), jnp.nan)
    usable = jnp.where(place > 0, Status.REGULARISED, Status.SOLVED)
    status = jnp.where(solved, usable, Status.NOT_POSITIVE).astype(jnp.int32)
    condition = jnp.where(solved, _condition(*jax.lax.stop_gradient((used, lower))), jnp.inf)
    return Factor(lower, jitter, condition, status)


def jitter_schedule(eps: float) -> list[float]:
    """The amounts of `factorise`, in units of the mean diagonal."""
    return [0.0, *(eps * 10.0**k for k in range(int(np.log10(LARGEST_JITTER / eps)) + 1))]


def _condition(matrix: Float[Array, "n n"], lower: Float[Array, "n n"]) -> Float[Array, ""]:
    start = jax.random.normal(jax.random.key(1), matrix.shape[:1], matrix.dtype)
    largest = _norm(lambda v: jnp.matmul(matrix, v, precision=MATMUL), start)
    return largest * _norm(lambda v: jax.scipy.linalg.cho_solve((lower, True), v), start)


def _norm(apply: Callable[[Array], Array], start: Float[Array, " n"]) -> Float[Array, ""]:
    """Norm of a symmetric map by the power method: at most the largest |eigenvalue|."""

    def step(_: Array | int, v: Array) -> Array:
        return apply(v / jnp.linalg.norm(v))

    return jnp.linalg.norm(jax.lax.fori_loop(0, ITERATIONS, step, start))
