"""Losses of one example: of outputs [outputs] and a target or label, a number."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from nsh._checks import require


def squared_error(output: Float[Array, " outputs"], y: Array) -> Float[Array, ""]:
    """``|output - y|^2 / 2``; an integer y is a label and stands for its one-hot vector.

    NaN for a label that is no class.

    Example:
        >>> from nsh.theory.two_layer import squared_error
        >>> float(squared_error(jnp.array([3.0]), jnp.array([1.0])))
        2.0
    """
    if jnp.issubdtype(y.dtype, jnp.integer):
        inside = _one_if_class(output, y)
        y = jax.nn.one_hot(y, output.shape[-1], dtype=output.dtype)
        return jnp.sum(optax.losses.l2_loss(output, y)) * inside
    require(y.shape == output.shape, "y.shape", y.shape, f"{output.shape}, as output's")
    return jnp.sum(optax.losses.l2_loss(output, y))


def softmax_cross_entropy(output: Float[Array, " outputs"], y: Array) -> Float[Array, ""]:
    """``-log softmax(output)_y`` of a label y, in nats; NaN for a label that is no class.

    Example:
        >>> from nsh.theory.two_layer import softmax_cross_entropy
        >>> round(float(softmax_cross_entropy(jnp.zeros(4), jnp.array(1))), 4)  # log 4
        1.3863
    """
    whole = jnp.issubdtype(y.dtype, jnp.integer)
    require(whole, "y.dtype", str(y.dtype), "an integer type: labels, not targets")
    loss = optax.losses.softmax_cross_entropy_with_integer_labels(output, y)
    return loss * _one_if_class(output, y)


def _one_if_class(output: Float[Array, " outputs"], y: Array) -> Float[Array, ""]:
    """1, or NaN where y is no class: a factor, for slopes to be NaN too."""
    return jnp.where((y >= 0) & (y < output.shape[-1]), 1, jnp.nan).astype(output.dtype)
