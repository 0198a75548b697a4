"""How far predictions are off because the entries of kernels are."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nsh._checks import as_finite, is_concrete, require, require_all
from nsh._types import ArrayLike
from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.matrices import MATMUL

PROBES = 4  # random errors whose effects are averaged
USUAL = 0.01  # of the largest target: predictions that may be off by more are told
Errors = tuple[Array, Array]
KernelError = ArrayLike | tuple[ArrayLike, ArrayLike]


def as_errors(
    given: KernelError, train: Float[Array, "n n"], cross: Float[Array, "tests n"]
) -> Errors:
    """Errors of the kernel's entries, relative to its diagonal: a number, or a pair of arrays."""
    pair = isinstance(given, tuple | list) and len(given) == 2
    parts = given if isinstance(given, tuple | list) and pair else (given, given)
    kernels = {"of train_train": train, "of test_train": cross}
    found = []
    for part, (name, kernel) in zip(parts, kernels.items(), strict=True):
        field = f"kernel_error {name}" if pair else "kernel_error"
        error = as_finite(field, part, train.dtype)
        allowed = f"one number, or a pair of them or of arrays {train.shape} and {cross.shape}"
        fitting = error.shape == () or (pair and error.shape == kernel.shape)
        require(fitting, f"{field}.shape", error.shape, allowed)
        if is_concrete(error):
            require_all(np.asarray(error) >= 0, field, error, ">= 0")
        found.append(error)
    return found[0], found[1]


def error_of_mean(
    solve: Callable[[Array], Array],
    train: Float[Array, "n n"],
    cross: Float[Array, "tests n"],
    dual: Float[Array, "n k"],
    errors: Errors,
    *,
    rounding: Array | float = 1.0,
    known: Array | float = 0.0,
) -> Float[Array, "tests k"]:
    """The standard error of ``cross dual``, ``dual = solve(y)``, to first order; constant.

    As if entries of both kernels were off by independent random errors: `errors`, and `rounding`
    in units of eps, both relative to the diagonal. Then the mean is off by ``d_cross dual - cross
    solve(d_train dual)``, whose second part is averaged over a few draws. `known`: an error of the
    dual that is there besides.
    """
    train, cross, dual, known = jax.lax.stop_gradient((train, cross, dual, known))
    rounding = jax.lax.stop_gradient(rounding) * float(jnp.finfo(train.dtype).eps)
    diagonal = jnp.maximum(jnp.diagonal(train), 0)

    def spread(error: Array, rows: int) -> Array:
        squares = diagonal[:, None] * dual**2
        same = jnp.broadcast_to(jnp.sum(squares, axis=0), (rows, dual.shape[1]))
        if error.ndim == 0:
            return jnp.sqrt((error**2 + rounding**2) * same)
        return jnp.sqrt(jnp.matmul(error**2, squares, precision=MATMUL) + rounding**2 * same)

    n, outputs = dual.shape
    of_train = jnp.sqrt(diagonal)[:, None] * spread(errors[0], n)
    draws = jax.random.normal(jax.random.key(2), (n, PROBES, outputs), train.dtype)
    sides = (draws * of_train[:, None]).reshape(n, -1)
    moved = jnp.matmul(cross, solve(sides), precision=MATMUL)
    random = jnp.mean(moved.reshape(len(cross), PROBES, outputs) ** 2, axis=1)
    of_cross = jnp.sqrt(jnp.mean(diagonal)) * spread(errors[1], len(cross))
    besides = jnp.matmul(cross, jnp.broadcast_to(known, dual.shape), precision=MATMUL)
    return jax.lax.stop_gradient(jnp.sqrt(random + of_cross**2 + besides**2))


def judged(status: Int[Array, ""], error: Array, y: Array) -> Int[Array, ""]:
    """`status`, or `INACCURATE` for what was solved if the error is beyond what is usual."""
    poor = ~(jnp.max(error, initial=0) <= USUAL * jnp.max(jnp.abs(y)))  # NaN is poor
    inaccurate = (status == Status.SOLVED) & poor
    return jnp.where(inaccurate, Status.INACCURATE, status).astype(jnp.int32)
