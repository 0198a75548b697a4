"""Gaussian-process inference with more inputs than a kernel matrix can be factored for."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nsh._checks import require, require_integer
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.theory.effective.infinite_width.resources import require_memory
from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.conjugate_gradients import Map, Solution, solve, worst_of
from nsh.theory.effective.prediction.kernel_matrix import (
    Kernel,
    KernelMatrix,
    as_inputs,
    diagonal_of,
    dtype_of_kernel,
    in_blocks,
    kept_bytes,
)
from nsh.theory.effective.prediction.matrices import as_amount, as_targets
from nsh.theory.effective.prediction.preconditioner import preconditioner_of
from nsh.theory.effective.prediction.prediction import nonnegative, worst

BLOCK = 512  # inputs on a side: what a processor's cache holds
KEPT = 5.5e9  # bytes: blocks of 50,000 inputs in 32 bits


class IterativePrediction(Shown):
    """A Gaussian process's posterior by an iteration, and how far it is from being exact.

    `mean` is like y with a row for each test input; `error` bounds its distance from the exact
    one. `variance`: of the noiseless function, never too small; `variance_error` bounds how much
    too large. `dual`: ``(K + noise I)^-1 y``. `residual`: ``|y - (K + noise I) dual| / |y|`` of
    each output. `steps`: passes over the matrix for the mean. `status`: see `Status`; what has
    not converged is `NOT_CONVERGED`, and still what the residual says.

    Example:
        >>> from nsh.theory.effective import cg_predict
        >>> x = jnp.eye(2)
        >>> result = cg_predict(lambda a, b: a @ b.T, x, [1.0, 2.0], x, noise=1.0)
        >>> result.mean.round(4).tolist(), int(result.status)
        ([0.5, 1.0], 0)
    """

    mean: Float[Array, "tests ..."]
    error: Float[Array, "tests ..."]
    variance: Float[Array, " tests"] | None
    variance_error: Float[Array, " tests"] | None
    dual: Float[Array, "n ..."]
    residual: Float[Array, "..."]
    steps: Int[Array, ""]
    status: Int[Array, ""]


def cg_predict(
    kernel: Kernel,
    x: ArrayLike,
    y: ArrayLike,
    z: ArrayLike,
    *,
    noise: ArrayLike = 0.0,
    variance: bool = False,
    tolerance: float = 1e-4,
    rank: int = 256,
    max_steps: int = 1000,
    block: int = BLOCK,
    memory: float | int = KEPT,
) -> IterativePrediction:
    """Predict at z as `gp_predict` does, by conjugate gradients on blocks of the kernel matrix.

    ``mean = K_ZX a`` with ``(K_XX + noise I) a = y``. No matrix is held whole: ``kernel(x, z)``
    gives the matrix [n, m] of two blocks of inputs, as
    ``lambda x, z: kernels(architecture, x, z).ntk`` does. Blocks on and above the diagonal are
    kept if they take at most `memory` bytes, else they are made anew in each pass: for n inputs in
    32 bits they take 2 n^2 bytes. All outputs share the passes.

    x [n, ...], y [n] or [n, outputs], z [tests, ...]; whole numbers among the inputs stay what they
    are, for kernels of tokens. `noise` is a ridge, too: with the NTK and
    `noise` 0 the mean is that of `kernel_regression`. Passes end once
    ``|y - (K + noise I) a| <= tolerance |y|`` for each output, as computed anew at the end, or
    after `max_steps`. The preconditioner is Nystrom's approximation from `rank` of the inputs. It
    changes how many passes there are, and nothing else. `variance`: also that of each test input,
    at a solve for each, a block of them at a time.

    The exact mean is within ``(k(z, z) r^T (K + noise I)^-1 r)^(1/2)`` of what r, the residual,
    leaves: Cauchy and Schwarz. Here ``r^T (K + noise I)^-1 r`` is at most ``|r|^2 / noise``. If
    that is smaller, ``r^T P^-1 r`` over the least eigenvalue that the iteration saw takes its
    place, P being the preconditioner: an estimate. So does the variance's error, without
    ``k(z, z)``. Rounding of the kernel's entries is not in it.

    Differentiable by y, noise, x, z and the numbers that the kernel depends on. Each derivative
    takes one more solve, as it is implicit. `error` and `residual` are constant.
    Compiled once for each `kernel`, compared by identity, unless it is a pytree (an
    `equinox.Module`, a `jax.tree_util.Partial`), whose arrays may change.

    Raises `ValueError` for inputs, targets and numbers of wrong shape or range, a kernel that
    gives no matrix of the inputs' type, and blocks that would be kept but do not fit.

    Example:
        >>> from nsh.theory.effective import Architecture, cg_predict, kernels
        >>> network = Architecture("relu", 2, C_W=2.0)
        >>> def ntk(x, z):
        ...     return kernels(network, x, z).ntk
        >>> result = cg_predict(ntk, jnp.eye(3), [1.0, 2.0, 3.0], jnp.eye(3)[:1])
        >>> result.mean.round(4).tolist()
        [1.0]
    """
    x = as_inputs("x", x)
    z = as_inputs("z", z, like=x)
    block = min(require_integer("block", block, 1), len(x))
    dtype = dtype_of_kernel(kernel, x, block)
    y = as_targets(y, len(x), dtype)
    noise = as_amount("noise", noise, dtype)
    require(0 < tolerance < 1, "tolerance", tolerance, "a number above 0 and below 1")
    rank = min(require_integer("rank", rank, 1), len(x))
    require_integer("max_steps", max_steps, 2)
    require(memory >= 0, "memory", memory, "a number of bytes, 0 to keep no blocks")
    needed = kept_bytes(len(x), block, dtype.itemsize)
    keep = needed <= memory
    if keep:
        require_memory((len(x), len(x)), needed, f"memory below {needed:.3g}")
    return _cg_predict(
        kernel, x, y, z, noise, jnp.asarray(tolerance, dtype),
        variance=variance, rank=rank, max_steps=max_steps, block=block, keep=keep,
    )  # fmt: skip


@eqx.filter_jit
def _cg_predict(
    kernel: Kernel,
    x: Array,
    y: Array,
    z: Array,
    noise: Array,
    tolerance: Array,
    *,
    variance: bool,
    rank: int,
    max_steps: int,
    block: int,
    keep: bool,
) -> IterativePrediction:
    matrix = KernelMatrix(kernel, in_blocks(x, block), len(x))
    tests = in_blocks(z, min(block, len(z)))
    kept = matrix.keep() if keep else matrix
    precondition = preconditioner_of(matrix, matrix.diagonal(), noise, rank)
    fixed_noise = jax.lax.stop_gradient(noise)

    def solved(b: Array) -> Solution:
        return solve(
            lambda v: matrix.times(v) + noise * v,
            precondition,
            b,
            fast=lambda v: kept.times(v) + fixed_noise * v,
            tolerance=tolerance,
            max_steps=max_steps,
        )

    found = solved(y.reshape(len(y), -1))
    mean = matrix.cross_times(tests, found.x)[: len(z)]
    own = diagonal_of(kernel, tests)
    left = _left(found, precondition, fixed_noise)
    error = jax.lax.stop_gradient(jnp.sqrt(jnp.maximum(own[: len(z), None], 0) * left[None]))
    status, spread, spread_error = found.status, None, None

    def one(given: tuple[Array, Array]) -> tuple[Array, Array, Array, Array]:
        inputs, prior = given
        columns = matrix.columns(inputs)
        found = solved(columns)
        taken = jnp.sum(found.x * (columns + found.rest), axis=0)
        spread, negative = nonnegative(prior - taken, prior)
        left = jnp.minimum(_left(found, precondition, fixed_noise), jax.lax.stop_gradient(spread))
        return spread, left, found.status, negative

    if variance:
        spread, spread_error, statuses, negative = jax.lax.map(
            one, (tests, own.reshape(tests.shape[:2]))
        )
        spread, spread_error = (part.reshape(-1)[: len(z)] for part in (spread, spread_error))
        status = worst_of(jnp.append(statuses, status))
        status = worst(status, jnp.any(negative), Status.NEGATIVE_VARIANCE)
    shape = (len(z), *y.shape[1:])
    return IterativePrediction(
        mean.reshape(shape), error.reshape(shape), spread, spread_error, found.x.reshape(y.shape),
        found.residual.reshape(y.shape[1:]), found.steps, status,
    )  # fmt: skip


def _left(found: Solution, precondition: Map, noise: Array) -> Float[Array, " k"]:
    """What ``r^T A^-1 r`` is at most, r being the rest that a solution leaves."""
    rest, smallest = jax.lax.stop_gradient((found.rest, found.smallest))
    told, noisy = smallest > 0, noise > 0
    seen = jnp.sum(rest * precondition(rest), axis=0) / jnp.where(told, smallest, 1)
    bound = jnp.sum(rest**2, axis=0) / jnp.where(noisy, noise, 1)
    return jnp.minimum(jnp.where(told, seen, jnp.inf), jnp.where(noisy, bound, jnp.inf))
