"""Kernel matrices, targets and times as users hand them in, checked before anything compiles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_finite, is_concrete, require, require_all
from nsh._types import ArrayLike, DTypeLike

MATMUL = jax.lax.Precision.HIGHEST  # products in full precision, also on accelerators


def as_symmetric(field: str, given: ArrayLike) -> Float[Array, "n n"]:
    """A symmetric matrix with no negative diagonal, as floats; `ValueError` naming what is wrong.

    Asymmetry up to sqrt(eps) of the largest number is rounding, and let pass.
    """
    matrix = as_finite(field, given, None)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] > 0
    require(square, f"{field}.shape", matrix.shape, "square, [n, n] with n >= 1")
    if is_concrete(matrix):
        numbers = np.asarray(matrix)
        diagonal = numbers.diagonal()
        require_all(diagonal >= 0, f"diagonal of {field}", diagonal, ">= 0, being variances")
        slack = np.sqrt(np.finfo(numbers.dtype).eps) * np.max(np.abs(numbers))
        symmetric = np.abs(numbers - numbers.T) <= slack
        require_all(symmetric, field, numbers, "equal to its mirror image: symmetric")
    return matrix


def with_ridge(matrix: Float[Array, "n n"], ridge: Float[Array, ""]) -> Float[Array, "n n"]:
    """``matrix + ridge I``."""
    return matrix + ridge * jnp.eye(len(matrix), dtype=matrix.dtype)


def as_shaped(
    field: str,
    given: ArrayLike,
    shape: tuple[int | None, ...],
    meaning: str,
    dtype: DTypeLike | None,
) -> Float[Array, "..."]:
    """Finite numbers of `shape` (None: any size >= 1) in the float type `dtype`."""
    array = as_finite(field, given, dtype)
    right = array.ndim == len(shape) and all(
        size == wanted if wanted is not None else size >= 1
        for size, wanted in zip(array.shape, shape, strict=True)
    )
    require(right, f"{field}.shape", array.shape, meaning)
    return array


def as_cross(name: str, given: ArrayLike, train: Float[Array, "n n"]) -> Float[Array, "tests n"]:
    """The kernel between test and training inputs, of the type of the latter's own."""
    n = len(train)
    meaning = f"[tests, {n}], as {name}_train_train is {train.shape}"
    return as_shaped(f"{name}_test_train", given, (None, n), meaning, train.dtype)


def as_test_kernel(
    field: str, given: ArrayLike, tests: int, dtype: DTypeLike
) -> Float[Array, "tests ..."]:
    """The kernel among test inputs, [tests, tests], or its diagonal, [tests]."""
    if np.ndim(given) == 2:
        test = as_symmetric(field, given).astype(dtype)
    else:
        test = as_finite(field, given, dtype)
        if is_concrete(test):
            require_all(np.asarray(test) >= 0, field, test, ">= 0, being variances")
    right = test.shape in ((tests,), (tests, tests))
    require(right, f"{field}.shape", test.shape, f"({tests}, {tests}), or its diagonal ({tests},)")
    return test


def as_targets(given: ArrayLike, count: int, dtype: DTypeLike) -> Float[Array, "n ..."]:
    """Targets y [n] or [n, outputs]."""
    y = as_finite("y", given, dtype)
    right = y.ndim in (1, 2) and y.shape[0] == count and y.size > 0
    allowed = f"({count},) or ({count}, outputs), a row for each training input"
    require(right, "y.shape", y.shape, allowed)
    return y


def as_amount(field: str, given: ArrayLike, dtype: DTypeLike) -> Float[Array, ""]:
    """One number >= 0."""
    number = as_finite(field, given, dtype)
    require(number.ndim == 0, f"{field}.shape", number.shape, "(), one number")
    if is_concrete(number):
        require(np.asarray(number) >= 0, field, float(number), ">= 0")
    return number
