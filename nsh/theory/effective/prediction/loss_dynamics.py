"""Training of infinitely wide (or linearised) networks on any loss, as a differential equation."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import (
    as_finite,
    is_concrete,
    require,
    require_all,
    require_integer,
    require_numeric,
)
from nsh._extras import extra
from nsh._types import ArrayLike
from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.dynamics import Trajectory
from nsh.theory.effective.prediction.matrices import (
    MATMUL,
    as_amount,
    as_cross,
    as_shaped,
    as_symmetric,
)
from nsh.theory.effective.prediction.prediction import worst
from nsh.theory.effective.prediction.spectral import spectrum

Loss = Callable[[Array, Array], Array]
FINER, SHARE = 20, 5  # of a step's error in the second solve; of the difference that is its error


def loss_dynamics(
    loss: Loss,
    ntk_train_train: ArrayLike,
    ntk_test_train: ArrayLike,
    y: ArrayLike,
    times: ArrayLike,
    *,
    start_train: ArrayLike,
    start_test: ArrayLike,
    ridge: ArrayLike = 0.0,
    tolerance: float = 1e-5,
    max_steps: int = 16384,
) -> Trajectory:
    """Outputs at each time of gradient flow ``df/dt = -Theta dloss/df`` with a constant NTK.

    ``loss(f, y)`` is a scalar of all training outputs f, which are like `start_train` [n] or
    [n, outputs]: a sum over samples goes n times as fast as a mean. (Lee et al., arXiv
    1902.06720, eqs. 2 and 3.) Solved by Diffrax (Tsitouras' 5th-order method, adaptive steps) in
    the variables a of ``f = f(0) + Theta a``, so that one solve serves the test inputs too. For
    squared error `mse_dynamics` is exact and much faster. `ridge`: as there.

    Shapes: [n, n], [tests, n], y as the loss takes it, `times` any, finite. `start_test`
    [tests] or [tests, outputs]. `tolerance`: of the outputs that are returned, in units of the
    largest output at the start, or of 1 if that is larger. It is solved twice, with steps whose
    error may be the tolerance and a twentieth of it. The second is returned; its `error` is a
    fifth of the difference, and rounding. Above the tolerance the status is `INACCURATE`.

    Steps are of order ``1 / (largest eigenvalue * curvature of the loss)``, so late times take
    many. Beyond `max_steps` the status is `DIVERGED` and times not reached are NaN.
    Differentiable in reverse mode (in the kernels, the starts, y, `times`). Compiled once for
    each `loss`, which is compared by identity.

    Raises `ValueError` on bad kernels as `mse_dynamics` does, on times that are negative or
    infinite, where the loss is no scalar, and for as many y as outputs in another shape: outputs
    [n] less y [n, 1] would be n^2 differences. Raises `ImportError` without Diffrax.

    Example:
        >>> from nsh.theory.effective import loss_dynamics
        >>> def loss(f, y):
        ...     return jnp.sum((f - y) ** 2) / 2
        >>> start = {"start_train": [0.0], "start_test": [0.0]}
        >>> result = loss_dynamics(loss, [[1.0]], [[1.0]], [1.0], np.log(2.0), **start)
        >>> result.test.round(3).tolist()  # 1 - e^-t
        [0.5]
    """
    _diffrax()
    train = as_symmetric("ntk_train_train", ntk_train_train)
    n, dtype = len(train), train.dtype
    cross = as_cross("ntk", ntk_test_train, train)
    f_train = as_finite("start_train", start_train, dtype)
    right = f_train.ndim in (1, 2) and len(f_train) == n
    require(right, "start_train.shape", f_train.shape, f"({n},) or ({n}, outputs)")
    shape = (len(cross), *f_train.shape[1:])
    f_test = as_shaped("start_test", start_test, shape, f"{shape}, as start_train goes", dtype)
    times = as_finite("times", times, dtype)
    if is_concrete(times):
        require_all(np.asarray(times) >= 0, "times", times, ">= 0")
    require(0 < tolerance < 1, "tolerance", tolerance, "a number above 0 and below 1")
    require_integer("max_steps", max_steps, 1)
    y = jnp.asarray(require_numeric("y", y) if is_concrete(y) else y)
    broadcast = y.size == f_train.size and y.shape != f_train.shape
    require(not broadcast, "y.shape", y.shape, f"{f_train.shape}, as start_train's")
    require(callable(loss), "loss", loss, "a function of outputs and targets")
    value = jax.eval_shape(loss, f_train, y)
    require(getattr(value, "shape", None) == (), "loss(f, y)", value, "one number")
    ridge = as_amount("ridge", ridge, dtype)
    return _loss_dynamics(
        loss, max_steps, tolerance, train, cross, ridge, y, times, f_train, f_test
    )


def _diffrax() -> ModuleType:
    with extra("theory", "training on any loss"):
        return importlib.import_module("diffrax")


def _solve(
    loss: Loss,
    max_steps: int,
    tolerance: Array,
    kernels: tuple[Array, Array],
    ridge: Array,
    y: Array,
    times: Array,
    start: Array,
) -> tuple[Float[Array, "times n ..."], Array]:
    """The variables a at increasing times, and whether the solver got there.

    `tolerance`: of a step, in outputs.
    """
    diffrax = _diffrax()
    slope = jax.grad(loss)

    def change(_: Array, a: Array, arguments: tuple[Array, Array, Array, Array]) -> Array:
        train, ridge, y, start = arguments
        return -slope(start + jnp.matmul(train, a, precision=MATMUL), y) - ridge * a

    def in_outputs(error: Array) -> Array:
        moved = [jnp.matmul(kernel, error, precision=MATMUL) for kernel in kernels]
        return jax.lax.stop_gradient(jnp.max(jnp.abs(jnp.concatenate(moved))))

    controller = diffrax.PIDController(rtol=0.0, atol=tolerance, norm=in_outputs)
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(change),
        diffrax.Tsit5(),
        t0=jnp.zeros((), times.dtype),
        t1=times[-1],
        dt0=None,
        y0=jnp.zeros_like(start),
        args=(kernels[0], ridge, y, start),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
    )
    return found.ys, found.result == diffrax.RESULTS.successful


@eqx.filter_jit
def _loss_dynamics(
    loss: Loss,
    max_steps: int,
    tolerance: float,
    train: Array,
    cross: Array,
    ridge: Array,
    y: Array,
    times: Array,
    f_train: Array,
    f_test: Array,
) -> Trajectory:
    flat = times.reshape(-1)
    order = jnp.argsort(flat)
    size = jnp.maximum(jnp.max(jnp.abs(jnp.concatenate([f_train, f_test]))), 1)
    allowed = jax.lax.stop_gradient(tolerance * size)
    eps = float(jnp.finfo(train.dtype).eps)
    rounding = 4 * eps * jax.lax.stop_gradient(size)
    steps = jnp.maximum(allowed * jnp.asarray([1, 1 / FINER], train.dtype), rounding)

    def solve(of_step: Array) -> tuple[Array, Array]:
        return _solve(loss, max_steps, of_step, (train, cross), ridge, y, flat[order], f_train)

    by_tolerance, arrived = jax.lax.map(solve, steps)
    a = by_tolerance[:, jnp.argsort(order)]
    a = jnp.where(jnp.isfinite(a), a, jnp.nan)

    def outputs(start: Array, kernel: Array) -> tuple[Array, Array]:
        change = jnp.einsum("xn,stn...->stx...", kernel, a, precision=MATMUL)
        shape = times.shape + start.shape
        sizes = jnp.einsum("xn,tn...->tx...", jnp.abs(kernel), jnp.abs(a[1]), precision=MATMUL)
        error = jnp.abs(change[1] - change[0]) / SHARE + eps * sizes
        error = jax.lax.stop_gradient(error)
        return (start[None] + change[1]).reshape(shape), error.reshape(shape)

    found = spectrum(train)
    f_train, e_train = outputs(f_train, train)
    f_test, e_test = outputs(f_test, cross)
    inaccurate = ~(jnp.maximum(jnp.max(e_train), jnp.max(e_test)) <= allowed)
    status = worst(found.status, inaccurate, Status.INACCURATE)
    status = worst(status, ~arrived[1], Status.DIVERGED)
    return Trajectory(f_train, f_test, e_test, found.condition, status)
