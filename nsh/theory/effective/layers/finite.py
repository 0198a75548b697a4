"""Networks of finite width from layers, in the standard and in the NTK parametrisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from nsh._checks import require, require_integer, require_key
from nsh.activations.arccos import safe_sqrt
from nsh.theory.effective.layers.layer import Layer, Module, Signal

Parametrisation = Literal["standard", "ntk"]
PARAMETRISATIONS = "standard", "ntk"


class Rescaled(eqx.Module):
    """A module whose parameters are `scales` times what is trained; where those are 0, fixed."""

    trained: PyTree
    scales: PyTree
    rest: PyTree

    def trainable(self) -> PyTree:
        """The filter of what a `Network` trains: `trained`."""
        none = jax.tree.map(lambda _: False, self)
        return eqx.tree_at(lambda module: module.trained, none, replace=True)

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:
        """Of one input, as the module itself."""
        scales, rest = jax.lax.stop_gradient(eqx.filter((self.scales, self.rest), eqx.is_array))
        parameters = jax.tree.map(_scaled, self.trained, scales)
        rest = eqx.combine(rest, self.rest)
        return eqx.combine(parameters, rest)(x, key=key)


def build(
    network: Layer,
    shape: Sequence[int],
    *,
    key: Key[Array, ""],
    vocabulary: int | None = None,
    parametrisation: Parametrisation = "standard",
) -> Module:
    """Draw an Equinox module of the layers' finite widths, for one input of this shape.

    `shape`: (features, *positions), or of tokens (*positions) with their `vocabulary`. The module
    takes one input, as Equinox's do: vmap it over inputs.

    `parametrisation`: "standard" has the weights themselves as parameters; trained at the rates
    of `learning_rates` they follow the network's NTK. "ntk" has each parameter divided by the root
    of its rate, so that gradient descent at one rate for all follows it: with lambda_W = C_W
    these are weights ~ N(0, 1), multiplied by sqrt(C_W / fan_in) (Jacot et al., arXiv 1806.07572).
    What has rate 0 is not trained.

    Raises `ValueError` for inputs that do not fit the network, naming the layer.

    Example:
        >>> from nsh.theory.effective import layers
        >>> network = layers.Serial(layers.Conv(8, 3), "relu", layers.Flatten(), layers.Dense(2))
        >>> layers.build(network, (1, 5, 5), key=jax.random.key(0))(jnp.ones((1, 5, 5))).shape
        (2,)
    """
    require_key(key)
    _require_parametrisation(parametrisation)
    signal = as_signal(shape, vocabulary)
    network.after(signal, "network")
    module = network.build(signal, key)
    if parametrisation == "standard":
        return module
    parameters, rest = eqx.partition(module, eqx.is_inexact_array)
    given = eqx.filter(network.rates(module), eqx.is_inexact_array)
    rates = jax.tree.map(lambda p, rate: jnp.asarray(rate, p.dtype), parameters, given)
    scales = jax.tree.map(safe_sqrt, rates)
    trained = jax.tree.map(
        lambda p, scale: jnp.where(scale > 0, p / jnp.where(scale > 0, scale, 1.0), p),
        parameters,
        scales,
    )
    return Rescaled(trained, scales, rest)


def learning_rates(network: Layer, module: Module) -> PyTree:
    """Rates of a module's parameters, relative to the network's: a pytree like the module.

    lambda_W / fan_in and lambda_b of each layer of weights; 0 of what is not trained. They are
    what `empirical_ntk` takes as `rates`. Of a module that `build` made in the standard
    parametrisation.

    Example:
        >>> from nsh.theory.effective import layers
        >>> network = layers.Dense(3, lambda_W=4.0)
        >>> module = layers.build(network, (8,), key=jax.random.key(0))
        >>> rates = layers.learning_rates(network, module)
        >>> float(rates.weight), float(rates.bias)
        (0.5, 1.0)
    """
    return network.rates(module)


def with_learning_rates(
    network: Layer,
    parametrisation: Parametrisation,
    shape: Sequence[int],
    *,
    vocabulary: int | None = None,
) -> Layer:
    """The network with the learning rates that a parametrisation has when one rate trains all.

    "ntk": lambda_W = C_W and lambda_b = C_b. "standard": lambda_W = fan_in of the layer, and
    lambda_b = 1; its NTK grows with the widths. `shape` and `vocabulary` as in `build`.

    Example:
        >>> from nsh.theory.effective import layers
        >>> network = layers.Serial(layers.Dense(8, C_W=2.0), "relu", layers.Dense(1))
        >>> given = layers.with_learning_rates(network, "standard", (3,))
        >>> float(given.layers[0].lambda_W), float(given.layers[2].lambda_W)
        (3.0, 8.0)
    """
    _require_parametrisation(parametrisation)
    signal = as_signal(shape, vocabulary)
    network.after(signal, "network")

    def change(layer: Any, fan_in: int) -> Any:
        rates = layer.C_W, layer.C_b
        if parametrisation == "standard":
            rates = jnp.asarray(float(fan_in)), jnp.ones(())
        return eqx.tree_at(lambda one: (one.lambda_W, one.lambda_b), layer, rates)

    return network.with_weights(signal, change)


def as_signal(shape: Sequence[int], vocabulary: int | None) -> Signal:
    """Of one input of this shape."""
    require(len(shape) > 0, "shape", shape, "(features, *positions), or of tokens (*positions)")
    sizes = tuple(require_integer(f"shape[{i}]", size, 1) for i, size in enumerate(shape))
    if vocabulary is None:
        return Signal(sizes[0], sizes[1:])
    return Signal(require_integer("vocabulary", vocabulary, 1), sizes, tokens=True)


def _scaled(trained: Array, scale: Array) -> Array:
    return jnp.where(scale > 0, trained * scale, jax.lax.stop_gradient(trained))


def _require_parametrisation(given: str) -> None:
    allowed = " or ".join(PARAMETRISATIONS)
    require(given in PARAMETRISATIONS, "parametrisation", given, allowed)
