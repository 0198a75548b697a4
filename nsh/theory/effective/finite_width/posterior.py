"""Bayesian inference with networks of finite width, to order 1/width.

The idea: given its hidden layers, a network with Gaussian weights in the last one is a Gaussian
process, whose kernel G is that of the last hidden features. At infinite width G is the NNGP kernel
K. At width n it fluctuates from network to network: its mean is K + K1 and its covariance V, both
of order 1/n. So the prior is a mixture of Gaussian processes, and the posterior one too, in which
each G counts as much as it explains the data, N(y; 0, G + noise).

All averages over the posterior are therefore averages over G of smooth functions of G, such as the
mean m(G) times that weight. To order 1/n such an average needs nothing but K1, V and two
derivatives at K. What comes out shows how a finite network learns features: data favour kernels
that explain them, and V says how far a kernel can move.

Nothing here needs derivatives of the activation, so kinks are no obstacle, as they are for training
by gradient descent (`finite_width_dynamics`).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_finite, require
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.tensors import POINTS, checked, finite_width_tensors
from nsh.theory.effective.prediction.matrices import as_amount

LOG_2_PI = float(np.log(2 * np.pi))


class FiniteWidthPosterior(Shown):
    """The posterior of finite networks at the test inputs, to first order in 1/width.

    `mean` [tests, ...], the rest like y, and `covariance` of the noiseless function: [tests, tests]
    for y [n], [tests, outputs, tests, outputs] for y [n, outputs]. `log_evidence`: log p(y) in
    nats. `infinite_mean`, `infinite_covariance`, `infinite_log_evidence`: at infinite width.
    `kernel` [n + tests, n + tests]: the posterior mean of the last layer's kernel G, which at
    infinite width is K whatever the data.
    """

    mean: Float[Array, "tests ..."]
    covariance: Float[Array, "tests ..."]
    log_evidence: Float[Array, ""]
    infinite_mean: Float[Array, "tests ..."]
    infinite_covariance: Float[Array, "tests ..."]
    infinite_log_evidence: Float[Array, ""]
    kernel: Float[Array, "inputs inputs"]


def finite_width_posterior(
    architecture: Architecture,
    x_train: ArrayLike,
    y: ArrayLike,
    x_test: ArrayLike,
    *,
    noise: ArrayLike,
    points: int = POINTS,
) -> FiniteWidthPosterior:
    """Compute posterior and evidence of finite networks with Gaussian priors, to order 1/width.

    With the kernel G of the last layer, ``E G = K + K1`` and ``Cov(G_ab, G_cd) = V_abcd``, and at
    given G the Gaussian process's mean m, covariance C and log evidence L (`gp_predict`)::

        log p(y) = L + dL : K1 + (d2L + dL dL) : V / 2
        mean     = m + dm : K1 + d2m : V / 2 + dm : V : dL
        cov      = C + dC : K1 + d2C : V / 2 + dC : V : dL + dm : V : dm
        E[G | y] = K + K1 + V : dL

    d being derivatives by G at K. Source: arXiv 2106.10165, chapter 6, derived anew as an average
    over G. Observations are y = f + N(0, noise), and outputs share their hidden layers.

    Shapes: x_train [n, n_0], y [n] or [n, outputs], x_test [tests, n_0]. `noise`: a variance, in
    the unit of y^2; results are NaN where K + noise is not positive definite. `points` as in
    `finite_width_tensors`. Any activation, with kinks too. Differentiable by all but `points`.

    What is left out is of order 1/width^2: do not trust corrections as large as the infinite
    values. Numerical errors of V and K1, which `finite_width_tensors` tells, are not carried over:
    take more `points` and compare.

    Raises `ValueError` as `finite_width_tensors` does, for shapes that do not fit, and negative
    noise.

    Example:
        >>> from nsh.theory.effective import Architecture, finite_width_posterior
        >>> network, x = Architecture("linear", 2, 10), jnp.ones((1, 1))
        >>> found = finite_width_posterior(network, x, jnp.array([2.0]), x, noise=1.0)
        >>> [round(float(mean[0]), 3) for mean in (found.infinite_mean, found.mean)]
        [1.0, 0.975]
    """
    dtype = architecture.C_W.dtype
    train, test = as_finite("x_train", x_train, dtype), as_finite("x_test", x_test, dtype)
    require(train.ndim == 2 and len(train) > 0, "x_train.shape", train.shape, "[n, n_0], n >= 1")
    fits = test.ndim == 2 and test.shape[1:] == train.shape[1:] and len(test) > 0
    require(fits, "x_test.shape", test.shape, f"[tests, {train.shape[1]}], as x_train")
    y = as_finite("y", y, dtype)
    fits = y.ndim in (1, 2) and len(y) == len(train)
    require(fits, "y.shape", y.shape, f"({len(train)},) or ({len(train)}, outputs)")
    x = checked(architecture, jnp.concatenate([train, test]), False, points)
    return _posterior(architecture, x, y, as_amount("noise", noise, dtype), points)


class _Given(NamedTuple):
    """What is known at one kernel G."""

    mean: Float[Array, "tests outputs"]
    covariance: Float[Array, "tests tests"]
    log_evidence: Float[Array, ""]


@partial(jax.jit, static_argnames="points")
def _posterior(
    architecture: Architecture, x: Array, y: Array, noise: Array, points: int
) -> FiniteWidthPosterior:
    tensors = finite_width_tensors(architecture, x, moving=False, points=points)
    targets, count = y.reshape(len(y), -1), len(x)
    at = partial(_gaussian_process, targets, noise)
    own = at(tensors.K)

    # a symmetric change of G for each pair of inputs, and what V makes of it
    row, column = np.triu_indices(count)
    unit = np.zeros((len(row), count, count))
    unit[np.arange(len(row)), row, column] = unit[np.arange(len(row)), column, row] = 1
    spread = tensors.V[row, column]

    def along(unit: Array, spread: Array) -> tuple[_Given, _Given, _Given]:
        """Derivatives along both, and the mixed second one."""

        def slope(G: Array) -> _Given:
            return jax.jvp(at, (G,), (spread,))[1]

        of_spread, second = jax.jvp(slope, (tensors.K,), (unit,))
        return jax.jvp(at, (tensors.K,), (unit,))[1], of_spread, second

    of_unit, of_spread, second = jax.vmap(along)(jnp.asarray(unit, x.dtype), spread)
    shift = jax.jvp(at, (tensors.K,), (tensors.K1,))[1]
    weight = of_unit.log_evidence  # by each pair's entry of G

    def first_order(field: str) -> Array:
        moved = jnp.tensordot(weight, getattr(of_spread, field), 1)
        return getattr(shift, field) + jnp.sum(getattr(second, field), 0) / 2 + moved

    # of one output with another, the hidden layers being common
    common = jnp.einsum("pai,pbj->aibj", of_unit.mean, of_spread.mean, precision="highest")
    outputs = targets.shape[1]
    same = jnp.eye(outputs, dtype=x.dtype)[None, :, None]

    def of_outputs(covariance: Array) -> Array:
        return covariance[:, None, :, None] * same

    infinite = of_outputs(own.covariance)
    covariance = infinite + of_outputs(first_order("covariance")) + common
    tests = count - len(y)
    shape = (tests, *y.shape[1:])
    evidence = own.log_evidence + first_order("log_evidence")
    # of log p(y), the product of slopes counts half
    evidence = evidence - jnp.dot(weight, of_spread.log_evidence, precision="highest") / 2
    return FiniteWidthPosterior(
        mean=(own.mean + first_order("mean")).reshape(shape),
        covariance=covariance.reshape(shape * 2),
        log_evidence=evidence,
        infinite_mean=own.mean.reshape(shape),
        infinite_covariance=infinite.reshape(shape * 2),
        infinite_log_evidence=own.log_evidence,
        kernel=tensors.K + tensors.K1 + jnp.tensordot(weight, spread, 1),
    )


def _gaussian_process(y: Float[Array, "n k"], noise: Array, G: Float[Array, "m m"]) -> _Given:
    """Mean and covariance at the inputs after the first n, and log p(y)."""
    n, outputs = y.shape
    A = G[:n, :n] + noise * jnp.eye(n, dtype=G.dtype)
    root = jnp.linalg.cholesky((A + A.T) / 2)
    both = jax.scipy.linalg.solve_triangular(root, jnp.concatenate([y, G[:n, n:]], 1), lower=True)
    white, cross = both[:, :outputs], both[:, outputs:]
    mean = jnp.matmul(cross.T, white, precision="highest")
    covariance = G[n:, n:] - jnp.matmul(cross.T, cross, precision="highest")
    logs = 2 * jnp.sum(jnp.log(jnp.diagonal(root))) + n * LOG_2_PI
    return _Given(mean, covariance, -(jnp.sum(white**2) + outputs * logs) / 2)
