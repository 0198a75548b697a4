"""The mean kernel and mean neural tangent kernel of one input, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from nsh._checks import as_numbers, is_concrete, require, require_all
from nsh._types import ArrayLike, DTypeLike
from nsh.activations.gaussian import gaussian
from nsh.theory.effective.architecture import Architecture

Scalar = Float[Array, ""]
Layer = TypeVar("Layer", bound=PyTree)
After = TypeVar("After", bound=PyTree)


def as_x2(x2: ArrayLike, dtype: DTypeLike) -> Scalar:
    """|x|^2 / n_0 as an array; `ValueError` unless it is one finite number >= 0."""
    x2 = as_numbers("x2", x2, dtype)
    require(x2.shape == (), "x2.shape", x2.shape, "(), one number (jax.vmap for several)")
    if is_concrete(x2):
        require_all(np.isfinite(x2) & (np.asarray(x2) >= 0), "x2", x2, "finite and >= 0")
    return x2


def first_layer(architecture: Architecture, x2: ArrayLike) -> tuple[Scalar, Scalar]:
    """``K = C_b + C_W x2`` and ``Theta = lambda_b + lambda_W x2`` of layer 1, x2 = |x|^2 / n_0.

    Raises `ValueError` if x2 is no finite number >= 0, or if K is not positive; of traced values,
    a bad x2 gives NaN.
    """
    x2 = as_x2(x2, architecture.C_W.dtype)
    x2 = jnp.where(x2 >= 0, x2, jnp.nan)
    K = architecture.C_b[0] + architecture.C_W[0] * x2
    if is_concrete(K):
        require_all(np.asarray(K) > 0, "C_b + C_W x2 of layer 1", K, "> 0")
    return K, architecture.lambda_b[0] + architecture.lambda_W[0] * x2


def later_layers(architecture: Architecture) -> tuple[Float[Array, " later"], ...]:
    """(C_b, C_W, lambda_b, lambda_W) of layers 2 to L: a step to layer l takes those of layer l."""
    return tuple(
        values[1:]
        for values in (
            architecture.C_b,
            architecture.C_W,
            architecture.lambda_b,
            architecture.lambda_W,
        )
    )


def over_layers(step: Callable[[Layer, After], Layer], first: Layer, after: After) -> Layer:
    """All layers' values, leading axis [layers]: the first's, and ``step(value, numbers)`` on.

    `after`: what the step to each later layer takes, leading axis [layers - 1]. A number that has
    left the range of floats stays as it is.
    """

    def both(now: Layer, given: After) -> tuple[Layer, Layer]:
        following = jax.tree.map(
            lambda old, new: jnp.where(jnp.isfinite(old), new, old), now, step(now, given)
        )
        return following, following

    _, later = jax.lax.scan(both, first, after)
    return jax.tree.map(lambda start, rest: jnp.concatenate([start[None], rest]), first, later)


def mean_kernels(
    architecture: Architecture, x2: ArrayLike
) -> tuple[Float[Array, " layers"], Float[Array, " layers"]]:
    """(K, Theta) of every layer at infinite width for one input with |x|^2 / n_0 = x2.

    ``K' = C_b + C_W <s^2> + gamma^2 K``;
    ``Theta' = lambda_b + lambda_W <s^2> + (C_W <s'^2> + gamma^2) Theta``.
    Source: arXiv 2106.10165, sections 4.3 and 8.4.1 (skips: appendix B). Shapes: [layers], entry
    l - 1 being layer l. Differentiable by x2 and every number of the architecture. Deep off
    criticality K leaves the range of floats: it ends at 0, where slopes are those beside z = 0,
    or at infinity. Raises `ValueError` for a bad x2 (see `first_layer`).

    Example:
        >>> from nsh.theory.effective import Architecture, mean_kernels
        >>> K, Theta = mean_kernels(Architecture("relu", 3, C_W=2.0), 1.0)
        >>> K.round(4).tolist(), Theta.round(4).tolist()
        ([2.0, 2.0, 2.0], [2.0, 4.0, 6.0])
    """
    activation, gamma2 = architecture.activation, architecture.gamma**2
    first = first_layer(architecture, x2)

    def step(layer: tuple[Scalar, Scalar], after: tuple[Scalar, ...]):
        K, Theta = layer
        C_b, C_W, lambda_b, lambda_W = after
        nodes = gaussian(K, activation)
        g = nodes.mean_square(activation(nodes.z))
        slope2 = nodes.mean(activation.derivative(nodes.z) ** 2)
        return (
            C_b + C_W * g + gamma2 * K,
            lambda_b + lambda_W * g + (C_W * slope2 + gamma2) * Theta,
        )

    return over_layers(step, first, later_layers(architecture))
