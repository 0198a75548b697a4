"""Losses of one example: of outputs [outputs] and a target or label, a number."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def squared_error(output: Float[Array, " outputs"], y: Array) -> Float[Array, ""]:
    """``|output - y|^2 / 2``; an integer y is a label and stands for its one-hot vector."""
    if jnp.issubdtype(y.dtype, jnp.integer):
        y = jax.nn.one_hot(y, output.shape[-1], dtype=output.dtype)
    return jnp.sum(optax.losses.l2_loss(output, y))


cross_entropy = optax.losses.softmax_cross_entropy_with_integer_labels
"""``-log softmax(output)_y`` of a label y, in nats."""
