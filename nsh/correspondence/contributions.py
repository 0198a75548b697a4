"""What one level of a network contributes to the next: by its weights, or by firing together."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from nsh.correspondence.units import Partition, mean_over_members
from nsh.networks.models import CNN, MLP, Convolution, average_pool


def level_maps(module: object) -> tuple[Float[Array, "below above"], ...] | None:
    """Weights from each hidden level to the next and from the last to the logits; None if unknown.

    Known for `nsh.networks.MLP` and `CNN`. A CNN's map from pooled units to pooled units is that of
    convolution and pooling, as if there were no activation function between the two. Jittable and
    differentiable in the module's weights.
    """
    if isinstance(module, MLP):
        return (*(layer.weight for layer in module.hidden[1:]), module.readout.weight)
    if isinstance(module, CNN):
        pairs = zip(module.blocks[1:], module.sizes[1:-1], strict=True)
        return (*(_pooled(block, *shape) for block, shape in pairs), module.readout.weight)
    return None


def outgoing_norms(module: object) -> tuple[Float[Array, " units"], ...] | None:
    """Norm of each hidden unit's weights to the level above: ``|W_i|``; None if unknown."""
    maps = level_maps(module)
    return None if maps is None else tuple(jnp.sqrt(jnp.sum(w**2, axis=1)) for w in maps)


def by_weights(
    weights: Float[np.ndarray, "below above"],
    activations: Float[np.ndarray, "n below"],
    below: Partition,
    above: Partition,
) -> Float[np.ndarray, "nodes_below nodes_above"]:
    """Mean contribution of a node to one above: ``sum_i mean_j W_ij <h_i>``, i in f and j in F."""
    contributed = weights * activations.mean(axis=0)[:, None]
    members = np.bincount(below)[:, None]
    return mean_over_members(mean_over_members(contributed, above).T, below).T * members


def phi(a: Bool[np.ndarray, "n _"], b: Bool[np.ndarray, "n _"]) -> Float[np.ndarray, "a b"]:
    """Correlation of each column of a with each of b over n samples; 0 where one is constant.

    1: fire together always; 0: no more often than by chance.
    """
    parts = [part.astype(np.float64) - part.mean(axis=0) for part in (a, b)]
    sizes = [np.sqrt((part**2).sum(axis=0)) for part in parts]
    unit = [part / np.where(size > 0, size, 1) for part, size in zip(parts, sizes, strict=True)]
    return unit[0].T @ unit[1]


def _pooled(block: Convolution, height: int, width: int) -> Float[Array, "below above"]:
    """Matrix of the linear part of ``average_pool(block(.))``, from its values at unit images."""
    inputs = block.weight.shape[2]
    size = height * width * inputs
    linear = eqx.tree_at(lambda b: b.bias, block, jnp.zeros_like(block.bias))
    images = jnp.eye(size, dtype=block.weight.dtype).reshape(size, height, width, inputs)
    return jax.vmap(lambda image: average_pool(linear(image)).ravel())(images)
