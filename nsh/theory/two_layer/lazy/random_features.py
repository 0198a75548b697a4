"""Random features: the hidden layer stays as it was drawn, and a ridge regression reads it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from nsh._checks import as_finite, require
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.activations.activation import ActivationLike
from nsh.theory.effective.prediction.accuracy import judged
from nsh.theory.effective.prediction.conditioning import factorise
from nsh.theory.effective.prediction.matrices import MATMUL, as_amount, as_shaped, as_targets
from nsh.theory.two_layer.checks import as_inputs, require_particles
from nsh.theory.two_layer.initializer import Independent
from nsh.theory.two_layer.lazy.kernel import infinite_ntk
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles


class Ridge(Shown):
    """A linear readout of features, and how well it was computed.

    `weights` [features, ...] like y; `jitter`, `condition` and `status`: of the matrix solved
    with, see `nsh.theory.effective.prediction.conditioning`.
    """

    weights: Float[Array, "features ..."]
    jitter: Float[Array, ""]
    condition: Float[Array, ""]
    status: Int[Array, ""]

    def predict(self, features: Float[Array, "n features"]) -> Float[Array, "n ..."]:
        """``features weights``. Raises `ValueError` on other shapes and NaN. Differentiable."""
        shape = (None, len(self.weights))
        allowed = f"(n, {shape[1]}), as the regression's"
        features = as_shaped("features", features, shape, allowed, self.weights.dtype)
        return jnp.matmul(features, self.weights, precision=MATMUL)


def random_features(
    network: TwoLayer, particles: Particles, x: ArrayLike
) -> Float[Array, "n width"]:
    """``phi_j(x) = sqrt(mass_j) s(theta_j . x)``, so that phi(x).phi(z) tends to `feature_kernel`.

    Source: Rahimi and Recht, NIPS 2007; arXiv 2012.13982. The network is linear in them:
    ``f = phi w`` with ``w_j = alpha sqrt(mass_j) u_j``. Shape of x: [n, inputs]. Differentiable.
    Raises `ValueError` on other shapes.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, random_features
        >>> network = TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]]))
        >>> particles = network.init(jax.random.key(0), {"alpha": 1.0})
        >>> random_features(network, particles, [[3.0]]).tolist()
        [[6.0]]
    """
    require_particles(particles, network)
    x = as_inputs(network, "x", x, particles.theta.dtype)
    at = jnp.matmul(x, particles.theta.T, precision=MATMUL)
    return jnp.sqrt(particles.mass)[None] * network.activation(at)


def feature_kernel(
    activation: ActivationLike, x: ArrayLike, z: ArrayLike | None = None
) -> Float[Array, "n m"]:
    """``E[s(theta.x) s(theta.z)]``, theta ~ N(0, 1) in every entry: infinitely many features.

    Ridge regression on them is `kernel_regression` of `nsh.theory.effective` with this kernel.
    `activation`: as `TwoLayer`'s. Shapes: x [n, inputs], z [m, inputs], by default x.
    Differentiable. Raises `ValueError` on other shapes.

    Example:
        >>> from nsh.theory.two_layer import feature_kernel
        >>> K = feature_kernel("relu", jnp.eye(2))
        >>> round(float(K[0, 0]), 4), round(float(K[0, 1]), 4)  # 1 / 2 and 1 / (2 pi)
        (0.5, 0.1592)
    """
    shape = as_finite("x", x, None).shape
    require(len(shape) == 2 and 0 not in shape, "x.shape", shape, "(n, inputs), both at least 1")
    inputs = shape[1]
    network = TwoLayer(inputs, Independent(1), activation=activation, trained="u")
    return infinite_ntk(network, x, z)


def ridge_regression(features: ArrayLike, y: ArrayLike, *, ridge: ArrayLike = 0.0) -> Ridge:
    """The w that minimises ``|features w - y|^2 + ridge |w|^2``; for ridge 0, the smallest w.

    ``w = (Phi^T Phi + ridge)^-1 Phi^T y = Phi^T (Phi Phi^T + ridge)^-1 y``, whichever matrix is
    the smaller. Of `random_features`, ``ridge = n decay_u`` is where a `TwoLayer` with
    trained="u" comes to rest on squared error, whatever alpha is. Rounding changes the weights by
    eps times the condition at most; where that is over 1% the status is `INACCURATE`.

    Shapes: features [n, features], y [n] or [n, outputs]. Differentiable in everything. Raises
    `ValueError` on other shapes, numbers that are not finite, and ridge < 0.

    Example:
        >>> from nsh.theory.two_layer import ridge_regression
        >>> result = ridge_regression([[1.0], [1.0]], [1.0, 3.0], ridge=2.0)
        >>> result.weights.round(4).tolist()  # 4 / (2 + 2)
        [1.0]
    """
    features = as_finite("features", features, None)
    allowed = "(n, features), both at least 1"
    require(features.ndim == 2 and features.size > 0, "features.shape", features.shape, allowed)
    y = as_targets(y, len(features), features.dtype)
    return _ridge(features, y, as_amount("ridge", ridge, features.dtype))


@jax.jit
def _ridge(features: Array, y: Array, ridge: Array) -> Ridge:
    wide = features.shape[1] > features.shape[0]
    rows = features if wide else features.T
    gram = jnp.matmul(rows, rows.T, precision=MATMUL)
    factor = factorise(gram + ridge * jnp.eye(len(gram), dtype=gram.dtype))
    if wide:
        weights = jnp.matmul(features.T, factor.solve(y), precision=MATMUL)
    else:
        weights = factor.solve(jnp.matmul(features.T, y, precision=MATMUL))
    relative = factor.condition * float(jnp.finfo(gram.dtype).eps)
    status = judged(factor.status, relative, jnp.ones_like(relative))
    return Ridge(weights, factor.jitter, factor.condition, status)
