"""Prediction by a kernel matrix of low rank, and a bound on how far it is off."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nsh._checks import is_concrete, require, require_integer
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.theory.effective.prediction.conditioning import factorise
from nsh.theory.effective.prediction.kernel_matrix import (
    Kernel,
    KernelMatrix,
    as_inputs,
    dtype_of_kernel,
    in_blocks,
)
from nsh.theory.effective.prediction.matrices import MATMUL, as_amount, as_targets, with_ridge

BLOCK = 512
BATCH = 64  # test inputs whose weights are in memory at a time


class NystromPrediction(Shown):
    """What a kernel of low rank predicts, and bounds on how far the whole kernel is from it.

    `mean` is like y with a row for each test input, and within `error` of the exact one. So is
    `variance` within `variance_error`. `left_out`: the share of the training kernel's trace that
    the low rank leaves out. `status`: of the factors, see `Status`.

    Example:
        >>> from nsh.theory.effective import nystrom_predict
        >>> x = jnp.asarray([[1.0], [2.0]])  # of a linear kernel, one landmark is enough
        >>> result = nystrom_predict(lambda a, b: a @ b.T, x, [1.0, 2.0], x, x[:1], noise=5.0)
        >>> result.mean.round(4).tolist(), float(result.left_out)
        ([0.5, 1.0], 0.0)
    """

    mean: Float[Array, "tests ..."]
    error: Float[Array, "tests ..."]
    variance: Float[Array, " tests"]
    variance_error: Float[Array, " tests"]
    left_out: Float[Array, ""]
    status: Int[Array, ""]


def nystrom_predict(
    kernel: Kernel,
    x: ArrayLike,
    y: ArrayLike,
    z: ArrayLike,
    landmarks: ArrayLike,
    *,
    noise: ArrayLike,
    block: int = BLOCK,
) -> NystromPrediction:
    """Predict at z as `gp_predict` does, with Nystrom's kernel ``k(x, S) k(S, S)^-1 k(S, z)``.

    S are `landmarks` [r, ...]: inputs, such as r of the x at random. The mean is that of the subset
    of regressors, the variance that of the deterministic training conditional (Quinonero-Candela
    and Rasmussen, 2005). Takes time of order n r^2 and memory of order n r, where `cg_predict`
    takes n^2. ``kernel(x, z)``, x, y, z and derivatives as there; noise > 0.

    Both errors are bounds, rounding aside. What is left out of the kernel is itself a kernel, with
    d on the diagonal: a Gaussian process which the approximation does not see. Its mean is ``q a``
    with the dual a, and ``b y`` with weights b. Let ``s = sum_i d_i^(1/2) |a_i|`` and
    ``w = d_z^(1/2) + sum_i d_i^(1/2) |b_i|``. Then the mean is off by at most s w, and the exact
    variance is between ``variance - d_z`` and ``variance - d_z + w^2``.

    Raises `ValueError` as `cg_predict` does, and for noise that is not positive.

    Example:
        >>> from nsh.theory.effective import nystrom_predict
        >>> x = jnp.eye(2)
        >>> result = nystrom_predict(lambda a, b: a @ b.T, x, [1.0, 2.0], x, x, noise=1.0)
        >>> result.mean.round(4).tolist(), result.variance.round(4).tolist()
        ([0.5, 1.0], [0.5, 0.5])
    """
    x = as_inputs("x", x)
    z, landmarks = as_inputs("z", z, like=x), as_inputs("landmarks", landmarks, like=x)
    block = min(require_integer("block", block, 1), len(x))
    dtype = dtype_of_kernel(kernel, x, block)
    y = as_targets(y, len(x), dtype)
    noise = as_amount("noise", noise, dtype)
    if is_concrete(noise):
        require(noise > 0, "noise", float(noise), "> 0, as the rank is low")
    return _nystrom_predict(kernel, x, y, z, landmarks, noise, block)


@eqx.filter_jit
def _nystrom_predict(
    kernel: Kernel, x: Array, y: Array, z: Array, landmarks: Array, noise: Array, block: int
) -> NystromPrediction:
    train = KernelMatrix(kernel, in_blocks(x, block), len(x))
    tests = KernelMatrix(kernel, in_blocks(z, min(block, len(z))), len(z))
    among = kernel(landmarks, landmarks)
    of_landmarks = factorise((among + among.T) / 2)
    # K is about F F^T
    F, F_z = (of_landmarks.whiten(one.columns(landmarks).T).T for one in (train, tests))
    factor = factorise(with_ridge(jnp.matmul(F.T, F, precision=MATMUL), noise))
    targets = y.reshape(len(y), -1)
    weights = factor.solve(jnp.matmul(F.T, targets, precision=MATMUL))
    mean = jnp.matmul(F_z, weights, precision=MATMUL)
    pulled = factor.solve(F_z.T)  # F times these are the weights of the targets
    seen = noise * jnp.sum(F_z * pulled.T, axis=1)

    own, own_z = train.diagonal(), tests.diagonal()
    left, left_z = (
        jnp.maximum(all_of_it - jnp.sum(one**2, axis=1), 0)
        for all_of_it, one in ((own, F), (own_z, F_z))
    )
    fixed, of_F, of_pulled = jax.lax.stop_gradient((left, F, pulled))
    root, root_z = jnp.sqrt(fixed), jnp.sqrt(jax.lax.stop_gradient(left_z))

    def unseen(column: Array) -> Array:
        return jnp.sum(root * jnp.abs(jnp.matmul(of_F, column, precision=MATMUL)))

    w = root_z + jax.lax.map(unseen, of_pulled.T, batch_size=BATCH)
    dual = (targets - jnp.matmul(F, weights, precision=MATMUL)) / noise
    s = jnp.sum(root[:, None] * jnp.abs(jax.lax.stop_gradient(dual)), axis=0)
    shape = (len(z), *y.shape[1:])
    return NystromPrediction(
        mean.reshape(shape),
        (w[:, None] * s[None]).reshape(shape),
        seen + left_z,
        jnp.maximum(root_z**2, w**2 - root_z**2),
        jnp.sum(left) / jnp.sum(own),
        jnp.maximum(of_landmarks.status, factor.status),
    )
