"""How fast gradient descent with a constant kernel converges, from the kernel's spectrum."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_finite, as_numbers, is_concrete, require, require_all
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.theory.effective.prediction.matrices import as_symmetric


class Rates(Shown):
    """Rates of full-batch gradient descent on mean squared error with a constant kernel K.

    Each mode of K / n (eigenvector v, eigenvalue lambda) contracts by itself:
    ``v.(f_t - y) = (1 - eta lambda)^t v.(f_0 - y)``. `eigenvalues`: of K / n, rising; those below
    0 by rounding are 0.
    """

    eigenvalues: Float[Array, " modes"]

    def factors(self, learning_rate: ArrayLike) -> Float[Array, "*shape modes"]:
        """``|1 - eta lambda|`` of each mode: what a step multiplies its error by."""
        return jnp.abs(1 - self._paces(learning_rate))

    def loss_bound(self, learning_rate: ArrayLike, steps: ArrayLike) -> Float[Array, "*shape"]:
        """The largest that loss_t / loss_0 can be: ``max_lambda |1 - eta lambda|^(2 steps)``.

        For eta <= 1 / lambda_max that is ``(1 - eta lambda_min)^(2 steps)``, at most
        ``exp(-2 eta lambda_min steps)``. Attained where all error is in the slowest mode.
        """
        steps = as_numbers("steps", steps, self.eigenvalues.dtype)
        if is_concrete(steps):
            require_all(np.asarray(steps) >= 0, "steps", steps, ">= 0")
        pace = self._paces(learning_rate)
        pace, twice = jnp.broadcast_arrays(pace, 2 * steps[..., None])
        # a slow mode is gone only after many steps, whose power of 1 - x would lose the digits of x
        slow = pace < 0.5
        left = jnp.exp(twice * jnp.log1p(-jnp.where(slow, pace, 0)))
        left = jnp.where(slow, left, jnp.abs(1 - jnp.where(slow, 2, pace)) ** twice)
        return jnp.max(left, axis=-1)

    def _paces(self, learning_rate: ArrayLike) -> Float[Array, "*shape modes"]:
        """Gives ``eta lambda`` of each mode."""
        eta = as_finite("learning_rate", learning_rate, self.eigenvalues.dtype)
        if is_concrete(eta):
            require_all(np.asarray(eta) > 0, "learning_rate", eta, "> 0")
        return eta[..., None] * self.eigenvalues.reshape((1,) * eta.ndim + (-1,))

    @property
    def largest_learning_rate(self) -> Float[Array, ""]:
        """``2 / lambda_max``: descent converges below it, and diverges above."""
        return 2 / self.eigenvalues[-1]


def rates(kernel: ArrayLike) -> Rates:
    """`Rates` of a kernel K on n training inputs: the spectrum of K / n.

    Source: Fang, Dong, Zhang, arXiv 2012.13982; Du et al., arXiv 1810.02054, on lambda_min.
    `kernel`: symmetric, [n, n], or [n, n, outputs, outputs] as `ntk` gives it for several outputs
    (modes: n times outputs). Differentiable; by a single eigenvalue where it is no multiple one.
    Raises `ValueError` on kernels that are not symmetric, finite or of these shapes, and on those
    with an eigenvalue below 0 by more than rounding; in compiled code all are NaN then.

    Example:
        >>> from nsh.theory.two_layer import rates
        >>> result = rates([[2.0, 0.0], [0.0, 4.0]])
        >>> result
        Rates(eigenvalues=[1., 2.])
        >>> float(result.largest_learning_rate)
        1.0
    """
    kernel = as_finite("kernel", kernel, None)
    shape = kernel.shape
    if kernel.ndim == 4 and shape[0] == shape[1] and shape[2] == shape[3]:
        size = shape[0] * shape[2]
        kernel = kernel.swapaxes(1, 2).reshape(size, size)
    square = kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1] > 0
    require(square, "kernel.shape", shape, "(n, n) or (n, n, outputs, outputs)")
    matrix = as_symmetric("kernel", kernel) / shape[0]
    values = jnp.linalg.eigvalsh(matrix)
    slack = float(jnp.finfo(values.dtype).eps) ** 0.5 * jnp.abs(values[-1])
    if is_concrete(values):
        allowed = "positive semidefinite up to rounding"
        require(values[0] >= -slack, "smallest eigenvalue of kernel", float(values[0]), allowed)
    return Rates(jnp.where(values[0] >= -slack, jnp.maximum(values, 0), jnp.nan))
