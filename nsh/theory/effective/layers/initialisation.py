"""Critical initialisation of networks of layers."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from nsh._checks import require
from nsh.activations import Activation
from nsh.theory.effective.critical.criticality import criticality
from nsh.theory.effective.layers.branches import Branches, Serial
from nsh.theory.effective.layers.dense import Elementwise
from nsh.theory.effective.layers.layer import Layer, Weights


def critical(network: Layer) -> Layer:
    """The network with critical C_W and C_b in every layer of weights.

    A layer of weights after an activation gets that activation's `criticality`: signals neither
    grow nor shrink with depth (Roberts, Yaida, Hanin, arXiv 2106.10165, chapter 5). One that comes
    first, or after weights, gets C_W = 1 and C_b = 0. Convolutions have the same criticality as
    fully connected layers (Xiao et al., arXiv 1806.05393). Not differentiable.

    Raises `ValueError` for branches, whose sums have no critical point of this kind (see
    `residual_critical_C_W`), and for activations without one.

    Example:
        >>> from nsh.theory.effective import layers
        >>> network = layers.Serial(layers.Conv(8, 3), "relu", layers.Flatten(), layers.Dense(1))
        >>> [float(layer.C_W) for layer in layers.critical(network).layers[::3]]
        [1.0, 2.0]
    """
    return _changed(network, None, "network")[0]


def _changed(
    layer: Layer, before: Activation | None, place: str
) -> tuple[Layer, Activation | None]:
    """The layer, and the activation that weights after it will see."""
    branches = not isinstance(layer, Branches)
    require(branches, f"{place} ({type(layer).__name__})", "branches", "layers in one row")
    if isinstance(layer, Elementwise):
        return layer, layer.activation
    if isinstance(layer, Weights):
        C_W, C_b = 1.0, 0.0
        if before is not None:
            point = criticality(before)
            C_W, C_b = point.C_W, point.C_b
        numbers = jnp.asarray(C_W, float), jnp.asarray(C_b, float)
        return eqx.tree_at(lambda one: (one.C_W, one.C_b), layer, numbers), None
    if isinstance(layer, Serial):
        changed = []
        for i, part in enumerate(layer.layers):
            found, before = _changed(part, before, f"{place}.layers[{i}]")
            changed.append(found)
        return eqx.tree_at(lambda one: one.layers, layer, tuple(changed)), before
    return layer, before
