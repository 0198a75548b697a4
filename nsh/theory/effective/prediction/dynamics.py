"""Training of infinitely wide (or linearised) networks on squared error, in closed form."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nsh._checks import as_finite, as_numbers, is_concrete, require, require_all
from nsh._shown import Shown
from nsh._types import ArrayLike, DTypeLike
from nsh.theory.effective.prediction.accuracy import Errors, KernelError, as_errors, judged
from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.linear_training import LinearTraining, after_training
from nsh.theory.effective.prediction.matrices import (
    MATMUL,
    as_amount,
    as_cross,
    as_shaped,
    as_symmetric,
    as_targets,
    as_test_kernel,
    with_ridge,
)
from nsh.theory.effective.prediction.prediction import nonnegative, worst
from nsh.theory.effective.prediction.residual_decay import (
    GradientDescent,
    GradientFlow,
    HeavyBall,
    ResidualDecay,
)


class Trajectory(Shown):
    """Outputs on the training and test inputs through training, leading axes = those of `times`.

    `error`: of the test outputs, like these, and constant for derivatives. `condition`: of the
    training NTK; `status`: see `nsh.theory.effective.prediction.conditioning`.
    """

    train: Float[Array, "..."]
    test: Float[Array, "..."]
    error: Float[Array, "..."]
    condition: Float[Array, ""]
    status: Int[Array, ""]


class EnsembleTrajectory(Shown):
    """Over random initialisations: mean and spread on the test inputs through training.

    `mean` [*times, tests, ...] like y; `variance` [*times, tests], the same for all outputs and
    never negative; `covariance` [*times, tests, tests] where all of the test kernel was given.
    `error`: of the mean, like it. `condition` and `status` as in `Trajectory`.
    """

    mean: Float[Array, "..."]
    variance: Float[Array, "..."]
    covariance: Float[Array, "..."] | None
    error: Float[Array, "..."]
    condition: Float[Array, ""]
    status: Int[Array, ""]


def mse_dynamics(
    ntk_train_train: ArrayLike,
    ntk_test_train: ArrayLike,
    y: ArrayLike,
    times: ArrayLike,
    *,
    start_train: ArrayLike | None = None,
    start_test: ArrayLike | None = None,
    learning_rate: ArrayLike | None = None,
    momentum: ArrayLike | None = None,
    ridge: ArrayLike = 0.0,
    kernel_error: KernelError = 0.0,
) -> Trajectory:
    """Outputs at each time of training on ``sum_i |f(x_i) - y_i|^2 / 2`` with a constant NTK.

    Gradient flow ``df/dt = -Theta (f - y)`` by default:
    ``f_X(t) = y + e^(-Theta t) (f_X(0) - y)``, and on test inputs
    ``f_*(t) = f_*(0) + Theta_*X Theta^-1 (1 - e^(-Theta t)) (y - f_X(0))``
    (Lee et al., arXiv 1902.06720, eqs. 8 to 11, with learning rate 1). With a `learning_rate`,
    `times` are numbers of steps of gradient descent and ``(1 - learning_rate Theta)^t`` takes the
    place of the exponential; with a `momentum` m, too, each step adds m times the step before it
    (Polyak's heavy ball, `optax.sgd`). Steps are stable up to `largest_learning_rate`. For the mean
    over n samples instead of the sum, divide the learning rate (or t) and the ridge by n.

    `ridge`: training on the loss plus ``ridge |w - w(0)|^2 / 2`` of the parameters w. Then
    ``Theta + ridge I`` takes the place of Theta wherever it decays or is inverted; in the end the
    outputs are `kernel_regression`'s with this ridge.

    Shapes: [n, n], [tests, n], y [n] or [n, outputs], `times` any; infinity is allowed. `start_*`:
    outputs before training, like y, default 0, which gives the mean over initialisations; with a
    network's own outputs and empirical NTK this is that network linearised. One eigendecomposition
    serves all times; where all of them are known to be infinite a Cholesky factor does, unless the
    kernel is singular. Directions whose eigenvalue is below 10 eps of the largest do not move
    (status `REGULARISED`); steps too large for a finite limit are `DIVERGED`, and the numbers
    what they are. `kernel_error`: of the NTK's entries, as in `gp_predict`; what it and rounding
    do to test outputs is their `error`. Differentiable to any order in everything else, also at
    coinciding eigenvalues.

    Raises `ValueError` on kernels that are not symmetric, finite or of these shapes, on negative
    times, steps that are not whole, and learning rates that are not positive.

    Example:
        >>> from nsh.theory.effective import mse_dynamics
        >>> result = mse_dynamics([[1.0]], [[1.0]], [1.0], [0.0, np.log(2.0), np.inf])
        >>> result.test[:, 0].round(4).tolist()  # 1 - e^-t
        [0.0, 0.5, 1.0]
    """
    train = as_symmetric("ntk_train_train", ntk_train_train)
    n, dtype = len(train), train.dtype
    cross = as_cross("ntk", ntk_test_train, train)
    y = as_targets(y, n, dtype)
    starts = [
        jnp.zeros((count, *y.shape[1:]), dtype)
        if start is None
        else as_shaped(field, start, (count, *y.shape[1:]), f"({count}, ...) like y", dtype)
        for field, start, count in (
            ("start_train", start_train, n),
            ("start_test", start_test, len(cross)),
        )
    ]
    times, decay = _schedule(times, learning_rate, momentum, dtype)
    errors = as_errors(kernel_error, train, cross)
    return _mse_dynamics(
        train, cross, y, times, decay, as_amount("ridge", ridge, dtype), *starts, errors,
        ended=_ended(times, decay),
    )  # fmt: skip


def ensemble_dynamics(
    ntk_train_train: ArrayLike,
    ntk_test_train: ArrayLike,
    nngp_train_train: ArrayLike,
    nngp_test_train: ArrayLike,
    nngp_test_test: ArrayLike,
    y: ArrayLike,
    times: ArrayLike,
    *,
    learning_rate: ArrayLike | None = None,
    momentum: ArrayLike | None = None,
    ridge: ArrayLike = 0.0,
    kernel_error: KernelError = 0.0,
) -> EnsembleTrajectory:
    """Mean and covariance over initialisations, at each time, of what `mse_dynamics` trains.

    Outputs start as the Gaussian process of the NNGP kernel K, and training is linear:
    ``f_*(t) = f_*(0) + M (y - f_X(0))``, ``M = Theta_*X Theta^-1 (1 - e^(-Theta t))``; so the mean
    is ``M y`` and the covariance ``K_** - M K_X* - K_*X M^T + M K_XX M^T`` (Lee et al., arXiv
    1902.06720, eqs. 14 and 15). `nngp_test_test`: [tests, tests], or its diagonal [tests] for
    variances alone. All else, and errors, as in `mse_dynamics`.

    Example:
        >>> from nsh.theory.effective import ensemble_dynamics
        >>> one = [[1.0]]
        >>> result = ensemble_dynamics(one, one, one, one, [1.0], [1.0], np.log(2.0))
        >>> result.mean.round(4).tolist(), result.variance.round(4).tolist()  # 1 - e^-t and e^-2t
        ([0.5], [0.25])
    """
    train = as_symmetric("ntk_train_train", ntk_train_train)
    n, dtype = len(train), train.dtype
    cross = as_cross("ntk", ntk_test_train, train)
    prior = as_symmetric("nngp_train_train", nngp_train_train).astype(dtype)
    same = f"({n}, {n}) like ntk_train_train"
    require(prior.shape == train.shape, "nngp_train_train.shape", prior.shape, same)
    like = f"{cross.shape} like ntk_test_train"
    prior_cross = as_shaped("nngp_test_train", nngp_test_train, cross.shape, like, dtype)
    prior_test = as_test_kernel("nngp_test_test", nngp_test_test, len(cross), dtype)
    y = as_targets(y, n, dtype)
    times, decay = _schedule(times, learning_rate, momentum, dtype)
    errors = as_errors(kernel_error, train, cross)
    return _ensemble_dynamics(
        train, cross, prior, prior_cross, prior_test, y, times, decay,
        as_amount("ridge", ridge, dtype), errors, ended=_ended(times, decay),
    )  # fmt: skip


def largest_learning_rate(
    ntk_train_train: ArrayLike, *, ridge: ArrayLike = 0.0, momentum: ArrayLike = 0.0
) -> Float[Array, ""]:
    """Compute the learning rate above which `mse_dynamics` diverges.

    ``2 (1 + momentum) / (largest eigenvalue of Theta + ridge)``, for the sum over samples; n times
    that for the mean over n. Differentiable by the ridge and the momentum, and by the NTK where its
    largest eigenvalue is simple. Raises `ValueError` as `mse_dynamics` does.

    Example:
        >>> from nsh.theory.effective import largest_learning_rate
        >>> [float(largest_learning_rate([[4.0]], momentum=share)) for share in (0.0, 0.5)]
        [0.5, 0.75]
    """
    train = as_symmetric("ntk_train_train", ntk_train_train)
    ridge, momentum = (
        as_amount(field, given, train.dtype)
        for field, given in (("ridge", ridge), ("momentum", momentum))
    )
    largest = jnp.linalg.eigvalsh((train + train.T) / 2)[-1]
    return 2 * (1 + momentum) / (largest + ridge)


def _ended(times: Array, decay: ResidualDecay) -> bool:
    """Whether gradient flow is known to be over at all times."""
    return isinstance(decay, GradientFlow) and is_concrete(times) and bool(np.all(np.isinf(times)))


def _schedule(
    times: ArrayLike,
    learning_rate: ArrayLike | None,
    momentum: ArrayLike | None,
    dtype: DTypeLike,
) -> tuple[Array, ResidualDecay]:
    times = as_numbers("times", times, dtype)
    if is_concrete(times):
        require_all(np.asarray(times) >= 0, "times", times, ">= 0 (infinity is allowed)")
    if learning_rate is None:
        allowed = "None without a learning_rate: flow has no steps"
        require(momentum is None, "momentum", momentum, allowed)
        return times, GradientFlow()
    rate = as_finite("learning_rate", learning_rate, dtype)
    require(rate.ndim == 0, "learning_rate.shape", rate.shape, "(), one number")
    if is_concrete(rate):
        require(np.asarray(rate) > 0, "learning_rate", float(rate), "> 0")
    if is_concrete(times):
        steps = np.asarray(times)
        require_all(steps == np.floor(steps), "times", steps, "whole numbers of steps")
    if momentum is None:
        return times, GradientDescent(rate)
    share = as_amount("momentum", momentum, dtype)
    if is_concrete(share):
        require(np.asarray(share) < 1, "momentum", float(share), ">= 0 and < 1")
    return times, HeavyBall(rate, share)


@partial(jax.jit, static_argnames="ended")
def _mse_dynamics(
    train: Array,
    cross: Array,
    y: Array,
    times: Array,
    decay: ResidualDecay,
    ridge: Array,
    f_train: Array,
    f_test: Array,
    errors: Errors,
    ended: bool,
) -> Trajectory:
    left = (y - f_train).reshape(len(y), -1)

    def course(training: LinearTraining) -> Trajectory:
        moved = training.moved(left)

        def outputs(start: Array, kernel: Array) -> Array:
            change = jnp.einsum("xn,tnk->txk", kernel, moved, precision=MATMUL)
            return (start.reshape(1, len(start), -1) + change).reshape(times.shape + start.shape)

        error = training.error(train, cross, left, errors).reshape(times.shape + f_test.shape)
        status = judged(training.status(), error, left)
        f_of_train, f_of_test = outputs(f_train, train), outputs(f_test, cross)
        return Trajectory(f_of_train, f_of_test, error, training.condition(), status)

    return after_training(with_ridge(train, ridge), times, decay, ended, course)


@partial(jax.jit, static_argnames="ended")
def _ensemble_dynamics(
    train: Array,
    cross: Array,
    prior: Array,
    prior_cross: Array,
    prior_test: Array,
    y: Array,
    times: Array,
    decay: ResidualDecay,
    ridge: Array,
    errors: Errors,
    ended: bool,
) -> EnsembleTrajectory:
    def course(training: LinearTraining) -> EnsembleTrajectory:
        pull = jnp.swapaxes(training.moved(cross.T), 1, 2)  # M [t, tests, n]
        mean = jnp.einsum("txn,nk->txk", pull, y.reshape(len(y), -1), precision=MATMUL)
        spread = jnp.matmul(pull, prior, precision=MATMUL)
        before = jnp.diagonal(prior_test) if prior_test.ndim == 2 else prior_test
        taken = jnp.sum(pull * prior_cross[None], axis=-1)
        added = jnp.sum(spread * pull, axis=-1)
        size = before[None] + 2 * jnp.abs(taken) + added
        variance, negative = nonnegative(before[None] - 2 * taken + added, size)
        covariance = None
        if prior_test.ndim == 2:
            mixed = jnp.einsum("txn,zn->txz", pull, prior_cross, precision=MATMUL)
            both = mixed + jnp.swapaxes(mixed, 1, 2)
            covariance = prior_test[None] - both
            covariance += jnp.einsum("txn,tzn->txz", spread, pull, precision=MATMUL)
            diagonal = jnp.eye(len(cross), dtype=bool)[None]
            covariance = jnp.where(diagonal, variance[..., None], covariance)
            covariance = covariance.reshape(*times.shape, *prior_test.shape)
        error = training.error(train, cross, y.reshape(len(y), -1), errors)
        status = judged(training.status(), error, y)
        status = worst(status, negative, Status.NEGATIVE_VARIANCE)
        shape = (*times.shape, len(cross), *y.shape[1:])
        return EnsembleTrajectory(
            mean.reshape(shape), variance.reshape(*times.shape, len(cross)), covariance,
            error.reshape(shape), training.condition(), status,
        )  # fmt: skip

    return after_training(with_ridge(train, ridge), times, decay, ended, course)
