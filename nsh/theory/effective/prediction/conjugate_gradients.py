"""Preconditioned conjugate gradients for many right-hand sides, which say how well they went.

Lineax has conjugate gradients too. They stop by each entry of the residual and by the last step,
and do not give the residual. Here a relative residual is asked of every column. All columns share
a pass over the matrix. The residual that is returned is computed anew.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nsh.theory.effective.prediction.conditioning import ITERATIONS, Status

Map = Callable[[Array], Array]


class Solution(eqx.Module):
    """Of ``A x = b``, column by column.

    `rest`: ``b - A x``, computed anew. `residual`: its norm relative to that of b. `steps`: passes
    over the matrix. `smallest`: an estimate of the least eigenvalue of ``P^-1 A``, by Ritz values:
    never too small in exact arithmetic. `status`: of the worst column.
    """

    x: Float[Array, "n k"]
    rest: Float[Array, "n k"]
    residual: Float[Array, " k"]
    steps: Int[Array, ""]
    smallest: Float[Array, ""]
    status: Int[Array, ""]


class _State(eqx.Module):
    x: Float[Array, "n k"]
    rest: Float[Array, "n k"]
    direction: Float[Array, "n k"]
    inner: Float[Array, "1 k"]
    running: Bool[Array, "1 k"]
    indefinite: Bool[Array, "1 k"]
    checked: Float[Array, "1 k"]
    ended: Bool[Array, ""]
    step: Int[Array, ""]
    alphas: Float[Array, "steps k"]
    betas: Float[Array, "steps k"]


def conjugate_gradients(
    times: Map,
    precondition: Map,
    b: Float[Array, "n k"],
    *,
    tolerance: float | Float[Array, ""],
    max_steps: int,
) -> Solution:
    """Solve ``A x = b`` for a symmetric positive definite ``times``: A, and ``precondition``: P^-1.

    Each pass multiplies A with all columns. Columns whose residual is below ``tolerance |b|`` rest.
    Once all rest, the residuals are computed anew, as rounding makes them drift. Columns that are
    still above the tolerance go on from there, as long as this halves their residual. Those that
    do not are `NOT_CONVERGED`; where a direction has negative curvature, `NOT_POSITIVE` and NaN.
    Not differentiable by itself: `solve` is. (Hestenes and Stiefel, 1952.)
    """
    k = b.shape[1]
    size = _norms(b)
    small = jnp.asarray(tolerance, b.dtype) * size
    slack = float(jnp.finfo(b.dtype).eps) ** 0.5

    def body(s: _State) -> _State:
        check = ~jnp.any(s.running) | (s.step == max_steps - 1)
        product = times(jnp.where(check, s.x, s.direction))
        # a step of every column that runs
        curvature = _inner(s.direction, product)
        moves = s.running & (curvature > 0) & ~check
        alpha = jnp.where(moves, s.inner / jnp.where(moves, curvature, 1), 0)
        lengths = _norms(s.direction) * _norms(product)
        negative = s.running & ~check & ~(curvature >= -slack * lengths)  # NaN is negative
        # or a check of all
        rest = jnp.where(check, b - product, s.rest - alpha * product)
        left = _norms(rest)
        indefinite = s.indefinite | negative | (check & ~jnp.isfinite(left))
        again = (left > small) & (left < s.checked / 2) & ~indefinite
        running = jnp.where(check, again, moves & (left > small))
        z = precondition(rest)
        inner = _inner(rest, z)
        goes_on = moves & (s.inner > 0)
        beta = jnp.where(goes_on, inner / jnp.where(goes_on, s.inner, 1), 0)
        return _State(
            s.x + alpha * s.direction, rest, z + beta * s.direction, inner, running, indefinite,
            jnp.where(check, left, s.checked), check & ~jnp.any(running), s.step + 1,
            s.alphas.at[s.step].set(alpha[0]), s.betas.at[s.step].set(beta[0]),
        )  # fmt: skip

    z, none = precondition(b), jnp.zeros((1, k), bool)
    history = jnp.zeros((max_steps, k), b.dtype)
    start = _State(
        jnp.zeros_like(b), b, z, _inner(b, z), size > small, none,
        jnp.full((1, k), jnp.inf, b.dtype), jnp.zeros((), bool), jnp.zeros((), jnp.int32),
        history, history,
    )  # fmt: skip
    s = jax.lax.while_loop(lambda s: ~s.ended & (s.step < max_steps), body, start)
    solved = _norms(s.rest) <= small
    found = jnp.where(solved, Status.SOLVED, Status.NOT_CONVERGED)
    found = jnp.where(s.indefinite, Status.NOT_POSITIVE, found)
    residual = _norms(s.rest) / jnp.where(size > 0, size, 1)
    return Solution(
        jnp.where(s.indefinite, jnp.nan, s.x), s.rest, residual[0], s.step,
        _smallest_ritz_value(s.alphas, s.betas), worst_of(found),
    )  # fmt: skip


def _inner(a: Float[Array, "n k"], b: Float[Array, "n k"]) -> Float[Array, "1 k"]:
    return jnp.sum(a * b, axis=0, keepdims=True)


def _norms(a: Float[Array, "n k"]) -> Float[Array, "1 k"]:
    return jnp.linalg.norm(a, axis=0, keepdims=True)


def solve(
    times: Map,
    precondition: Map,
    b: Float[Array, "n k"],
    *,
    fast: Map | None = None,
    tolerance: float | Float[Array, ""],
    max_steps: int,
) -> Solution:
    """As `conjugate_gradients`, with derivatives of the solution ``A^-1 b`` to any order.

    They are by b and by whatever ``times`` depends on, and cost a solve each. `fast`: ``times``
    for the solves themselves, which no derivative is taken of. All but x is constant.
    """
    known = times if fast is None else fast

    def found(_: Map, b: Array) -> tuple[Array, Solution]:
        solution = conjugate_gradients(
            known, precondition, b, tolerance=tolerance, max_steps=max_steps
        )
        return solution.x, solution

    x, solution = jax.lax.custom_linear_solve(times, b, found, symmetric=True, has_aux=True)
    return eqx.tree_at(lambda s: s.x, jax.lax.stop_gradient(solution), x)


def worst_of(statuses: Int[Array, "..."]) -> Int[Array, ""]:
    """Of several solves: not positive, then not converged, then solved."""
    bad = jnp.any(statuses == Status.NOT_POSITIVE)
    return jnp.where(bad, Status.NOT_POSITIVE, jnp.max(statuses)).astype(jnp.int32)


def _smallest_ritz_value(
    alphas: Float[Array, "steps k"], betas: Float[Array, "steps k"]
) -> Float[Array, ""]:
    """Over all columns, by the power method for the inverse of the steps' tridiagonal matrix.

    Its Cholesky factors are the steps themselves: ``L diag(1 / alpha) L^T``, with the roots of
    beta below the diagonal of L. Where there was no step, alpha is 0 and the inverse has no entry.
    """
    below = jnp.sqrt(betas)

    def solved(v: Array, below: Array, *, reverse: bool) -> Array:
        def one(last: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
            entry, factor = given
            new = entry - factor * last
            return new, new

        return jax.lax.scan(one, jnp.zeros_like(v[0]), (v, below), reverse=reverse)[1]

    def step(_: Array | int, v: Array) -> Array:
        v /= jnp.maximum(_norms(v), float(jnp.finfo(v.dtype).tiny))
        before = jnp.pad(below, ((1, 0), (0, 0)))[:-1]
        return solved(alphas * solved(v, before, reverse=False), below, reverse=True)

    found = jax.lax.fori_loop(0, ITERATIONS, step, jnp.ones_like(alphas))
    largest = jnp.max(_norms(found))
    return jnp.where(largest > 0, 1 / jnp.where(largest > 0, largest, 1), jnp.inf)
