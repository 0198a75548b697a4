"""Learning rates of parameters, as tangent kernels weigh them."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from nsh._checks import require
from nsh._types import ArrayLike
from nsh.networks import MLP
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.tangent.calls import Called


def mlp_rates(architecture: Architecture, module: MLP) -> PyTree:
    """`rates` that give `module` the architecture's: lambda_b, and lambda_W / fan_in of weights.

    Example:
        >>> from nsh.networks import MLP
        >>> from nsh.theory.effective import Architecture, mlp_rates
        >>> module = MLP((4, 8, 1), key=jax.random.key(0))
        >>> rates = mlp_rates(Architecture("tanh", 2, 8), module)
        >>> [float(rate) for rate in jax.tree.leaves(rates)]  # weights: 1 / fan_in
        [0.25, 1.0, 0.125, 1.0]
    """
    layers = (*module.hidden, module.readout)
    depth = architecture.depth
    require(len(layers) == depth, "layers of module", len(layers), f"{depth}, as the architecture")
    rated = [
        eqx.tree_at(
            lambda layer: (layer.weight, layer.bias),
            layer,
            (architecture.lambda_W[place] / layer.weight.shape[0], architecture.lambda_b[place]),
        )
        for place, layer in enumerate(layers)
    ]
    return eqx.tree_at(lambda m: (m.hidden, m.readout), module, (tuple(rated[:-1]), rated[-1]))


def rates_of(given: Called, rates: PyTree | None) -> list[Array]:
    """A rate for every parameter array: a number, or one for each entry, of the array's shape."""
    parameters = given.trained
    if rates is None:  # one array for all: making small ones takes as long as a small kernel
        leaves = jax.tree.leaves(parameters)
        ones = {kind: jnp.ones((), kind) for kind in {p.dtype for p in leaves}}
        return [ones[p.dtype] for p in leaves]
    try:
        found = jax.tree.broadcast(rates, parameters)
        whole = jax.tree.map(_rate, parameters, found)
    except ValueError as complaint:
        raise ValueError(f"rates: must be a prefix of the parameters, but {complaint}") from None
    return jax.tree.leaves(whole)


def _rate(parameter: Array, rate: ArrayLike) -> Array:
    rate = jnp.asarray(rate, parameter.dtype)
    return rate if rate.ndim == 0 else jnp.broadcast_to(rate, parameter.shape)
