"""Training of infinitely wide (or linearised) networks on any loss, as a differential equation."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all, require_integer, require_numeric
from nsh._extras import extra
from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.dynamics import Course
from nsh.theory.effective.prediction.matrices import (
    MATMUL,
    as_cross,
    as_finite,
    as_shaped,
    as_symmetric,
)
from nsh.theory.effective.prediction.prediction import worst
from nsh.theory.effective.prediction.spectral import spectrum

Loss = Callable[[Array, Array], Array]


def loss_dynamics(
    loss: Loss,
    ntk_train_train: Any,
    ntk_test_train: Any,
    y: Any,
    times: Any,
    *,
    start_train: Any,
    start_test: Any,
    tolerance: float = 1e-5,
    max_steps: int = 16384,
) -> Course:
    """Outputs at each time of gradient flow ``df/dt = -Theta dloss/df`` with a constant NTK.

    ``loss(f, y)`` is a scalar of all training outputs f, which are like `start_train` [n] or
    [n, outputs]: a sum over samples goes n times as fast as a mean. (Lee et al., arXiv
    1902.06720, eqs. 2 and 3.) Solved by Diffrax (Tsitouras' 5th-order method with adaptive
    steps) in the variables a of ``f = f(0) + Theta a``, so that one solve serves the test inputs
    too. For squared error `mse_dynamics` is exact and much faster.

    Shapes: [n, n], [tests, n], y as the loss takes it, `times` any, finite. `start_test`
    [tests] or [tests, outputs]. `tolerance`: relative and absolute, of a step. Steps are of
    order ``1 / (largest eigenvalue * curvature of the loss)`` once it is stiff, so late times
    take many: beyond `max_steps` the status is `DIVERGED` and times not reached are NaN.
    Differentiable in reverse mode (in the kernels, the starts, y, `times`). Compiled once for
    each `loss`, which is compared by identity.

    Raises `ValueError` on bad kernels as `mse_dynamics` does, on times that are negative or
    infinite, and where the loss is no scalar; `ImportError` without Diffrax.
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
    require(callable(loss), "loss", loss, "a function of outputs and targets")
    value = jax.eval_shape(loss, f_train, y)
    require(getattr(value, "shape", None) == (), "loss(f, y)", value, "one number")
    return _loss_dynamics(loss, max_steps, tolerance, train, cross, y, times, f_train, f_test)


def _diffrax() -> Any:
    with extra("theory", "training on any loss"):
        return importlib.import_module("diffrax")


def _solve(
    loss: Loss, max_steps: int, tolerance: float, train: Array, y: Array, times: Array, start: Array
) -> tuple[Float[Array, "times n ..."], Array]:
    """The variables a at increasing times, and whether the solver got there."""
    diffrax = _diffrax()
    slope = jax.grad(loss)

    def change(_: Array, a: Array, arguments: tuple[Array, Array, Array]) -> Array:
        train, y, start = arguments
        return -slope(start + jnp.matmul(train, a, precision=MATMUL), y)

    found = diffrax.diffeqsolve(
        diffrax.ODETerm(change),
        diffrax.Tsit5(),
        t0=jnp.zeros((), times.dtype),
        t1=times[-1],
        dt0=None,
        y0=jnp.zeros_like(start),
        args=(train, y, start),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=max_steps,
        throw=False,
    )
    return found.ys, found.result == diffrax.RESULTS.successful


@partial(jax.jit, static_argnums=(0, 1, 2))
def _loss_dynamics(
    loss: Loss,
    max_steps: int,
    tolerance: float,
    train: Array,
    cross: Array,
    y: Array,
    times: Array,
    f_train: Array,
    f_test: Array,
) -> Course:
    flat = times.reshape(-1)
    order = jnp.argsort(flat)
    sorted_a, arrived = _solve(loss, max_steps, tolerance, train, y, flat[order], f_train)
    a = sorted_a[jnp.argsort(order)]
    a = jnp.where(jnp.isfinite(a), a, jnp.nan)

    def outputs(start: Array, kernel: Array) -> Array:
        change = jnp.einsum("xn,tn...->tx...", kernel, a, precision=MATMUL)
        return (start[None] + change).reshape(times.shape + start.shape)

    found = spectrum(train)
    status = worst(found.status, ~arrived, Status.DIVERGED)
    return Course(outputs(f_train, train), outputs(f_test, cross), found.condition, status)
