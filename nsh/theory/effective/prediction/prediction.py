"""Predictions of infinitely wide networks: Bayesian inference and kernel regression."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.theory.effective.prediction.accuracy import (
    Errors,
    KernelError,
    as_errors,
    error_of_mean,
    judged,
)
from nsh.theory.effective.prediction.conditioning import Factor, Status, factorise
from nsh.theory.effective.prediction.matrices import (
    MATMUL,
    as_amount,
    as_cross,
    as_symmetric,
    as_targets,
    as_test_kernel,
    with_ridge,
)


class Prediction(Shown):
    """A Gaussian process's posterior at the test inputs, and how well it was computed.

    `mean` is like y with a row for each test input. `variance`: of the noiseless function, the
    same for all outputs, never negative; `covariance` where all of the test kernel was given.
    `log_marginal_likelihood`: log p(y), summed over outputs, in nats. `error`: the mean's standard
    error, as the errors of the kernels, rounding and jitter go; constant for derivatives. `jitter`,
    `condition`, `status`: see `nsh.theory.effective.prediction.conditioning`.
    """

    mean: Float[Array, "tests ..."]
    variance: Float[Array, " tests"]
    covariance: Float[Array, "tests tests"] | None
    log_marginal_likelihood: Float[Array, ""]
    error: Float[Array, "tests ..."]
    jitter: Float[Array, ""]
    condition: Float[Array, ""]
    status: Int[Array, ""]


class KernelRegression(Shown):
    """Kernel regression: `mean` at the test inputs and `dual`, the weights of the training ones.

    ``mean = kernel_test_train dual``; `error`, `jitter`, `condition` and `status` as in
    `Prediction`.
    """

    mean: Float[Array, "tests ..."]
    dual: Float[Array, "n ..."]
    error: Float[Array, "tests ..."]
    jitter: Float[Array, ""]
    condition: Float[Array, ""]
    status: Int[Array, ""]


def gp_predict(
    kernel_train_train: ArrayLike,
    kernel_test_train: ArrayLike,
    kernel_test_test: ArrayLike,
    y: ArrayLike,
    *,
    noise: ArrayLike = 0.0,
    kernel_error: KernelError = 0.0,
) -> Prediction:
    """Bayesian inference with prior f ~ N(0, kernel) and observations y = f + N(0, noise).

    ``mean = K_*X A^-1 y``, ``covariance = K_** - K_*X A^-1 K_X*``, ``log p(y) = -(y^T A^-1 y +
    log det A + n log 2 pi) / 2`` with ``A = K_XX + noise I``. With the NNGP kernel this is a
    Bayesian network of infinite width (Lee et al., arXiv 1711.00165, eqs. 8 and 9).

    Shapes: [n, n], [tests, n], [tests, tests] or its diagonal [tests], y [n] or [n, outputs]
    (outputs are independent). `noise`: a variance, in the kernel's unit. `kernel_error`: of the
    kernels' entries, relative to the diagonal: a number, or a pair of those of `Kernels.error`,
    [n, n] and [tests, n]. It makes no difference but to `error` and status: where the mean may be
    off by over 1% of the largest target, the status is `INACCURATE`. Differentiable in all other
    arguments. Raises `ValueError` on kernels that are not symmetric, finite or of these shapes,
    on negative variances and negative noise. What only the solve shows is in the status.

    Example:
        >>> from nsh.theory.effective import gp_predict
        >>> result = gp_predict([[1.0]], [[0.5]], [1.0], [2.0], noise=1.0)
        >>> round(float(result.mean[0]), 4), round(float(result.variance[0]), 4)
        (0.5, 0.875)
    """
    train = as_symmetric("kernel_train_train", kernel_train_train)
    cross, y = _cross_and_targets(train, kernel_test_train, y)
    test = as_test_kernel("kernel_test_test", kernel_test_test, len(cross), train.dtype)
    errors = as_errors(kernel_error, train, cross)
    return _gp_predict(train, cross, test, y, as_amount("noise", noise, train.dtype), errors)


def kernel_regression(
    kernel_train_train: ArrayLike,
    kernel_test_train: ArrayLike,
    y: ArrayLike,
    *,
    ridge: ArrayLike = 0.0,
    kernel_error: KernelError = 0.0,
) -> KernelRegression:
    """``mean = K_*X (K_XX + ridge I)^-1 y``, with ridge added to the kernel's diagonal.

    With the NTK and ridge = 0 this is the mean, over initialisations, of networks of infinite
    width trained by gradient descent on squared error to the end (Jacot et al., arXiv
    1806.07572; at any time, and the spread: `mse_dynamics`). Shapes, `kernel_error`, derivatives
    and what is raised as in `gp_predict`.

    Example:
        >>> from nsh.theory.effective import kernel_regression
        >>> result = kernel_regression([[2.0]], [[1.0]], [2.0])
        >>> result.mean.round(4).tolist(), result.dual.round(4).tolist()
        ([1.0], [1.0])
    """
    train = as_symmetric("kernel_train_train", kernel_train_train)
    cross, y = _cross_and_targets(train, kernel_test_train, y)
    errors = as_errors(kernel_error, train, cross)
    return _kernel_regression(train, cross, y, as_amount("ridge", ridge, train.dtype), errors)


def _cross_and_targets(train: Array, cross: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    cross = as_cross("kernel", cross, train)
    return cross, as_targets(y, len(train), train.dtype)


@jax.jit
def _gp_predict(
    train: Array, cross: Array, test: Array, y: Array, noise: Array, errors: Errors
) -> Prediction:
    factor = factorise(with_ridge(train, noise))
    dual = factor.solve(y)
    white = factor.whiten(cross.T)
    prior = jnp.diagonal(test) if test.ndim == 2 else test
    variance, negative = nonnegative(prior - jnp.sum(white**2, axis=0), prior)
    covariance = None
    if test.ndim == 2:
        covariance = test - jnp.matmul(white.T, white, precision=MATMUL)
        covariance = jnp.where(jnp.eye(len(test), dtype=bool), variance[:, None], covariance)
    outputs = y.size // len(y)
    constant = outputs * (factor.log_determinant() + len(y) * math.log(2 * math.pi))
    log_likelihood = -(jnp.sum(y * dual) + constant) / 2
    error, status = _accuracy(factor, train, cross, dual, y, errors)
    return Prediction(
        jnp.matmul(cross, dual, precision=MATMUL), variance, covariance, log_likelihood, error,
        factor.jitter, factor.condition, worst(status, negative, Status.NEGATIVE_VARIANCE),
    )  # fmt: skip


@jax.jit
def _kernel_regression(
    train: Array, cross: Array, y: Array, ridge: Array, errors: Errors
) -> KernelRegression:
    factor = factorise(with_ridge(train, ridge))
    dual = factor.solve(y)
    mean = jnp.matmul(cross, dual, precision=MATMUL)
    error, status = _accuracy(factor, train, cross, dual, y, errors)
    return KernelRegression(mean, dual, error, factor.jitter, factor.condition, status)


def _accuracy(
    factor: Factor, train: Array, cross: Array, dual: Array, y: Array, errors: Errors
) -> tuple[Float[Array, "tests ..."], Int[Array, ""]]:
    """The mean's error, and the status that it leaves."""
    fixed, columns = jax.lax.stop_gradient(factor), dual.reshape(len(dual), -1)
    known = fixed.solve(fixed.jitter * jax.lax.stop_gradient(columns))
    error = error_of_mean(fixed.solve, train, cross, columns, errors, known=known)
    error = error.reshape(len(cross), *dual.shape[1:])
    return error, judged(factor.status, error, y)


def nonnegative(variance: Array, size: Array) -> tuple[Array, Array]:
    """Variances cut off at 0, and whether one was below it by more than rounding.

    `size`: of the numbers whose difference the variance is; rounding is 10 sqrt(eps) of it.
    """
    slack = 10 * math.sqrt(jnp.finfo(variance.dtype).eps)
    return jnp.maximum(variance, 0), jnp.any(variance < -slack * jnp.abs(size))


def worst(status: Int[Array, ""], happened: Array, otherwise: Status) -> Int[Array, ""]:
    """`status`, or `otherwise` if that `happened` while nothing else had failed."""
    fine = (status <= Status.REGULARISED) | (status == Status.INACCURATE)
    return jnp.where(happened & fine, otherwise, status).astype(jnp.int32)
