"""What a layer is: how it acts on kernels, and how it is built at finite width, in one value."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import KW_ONLY
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from nsh._checks import as_numbers, is_concrete, require, require_all
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.theory.effective.layers.covariance import Covariance

Module = Callable[[Array], Array]
Number = Any
"""One number, finite and >= 0: given as any array or number, kept as an array []."""


class Signal(NamedTuple):
    """What goes from layer to layer: [features, *positions], and what is known of it.

    `gaussian`: at infinite width, over networks, and independent between features.
    `uncorrelated`: with every other branch, as its features come from weights of their own.
    `tokens`: whole numbers [*positions] from 0 to features - 1. `masked`: some positions may not
    be there. `graph`: each input brings a graph of its own.

    Example:
        >>> from nsh.theory.effective import layers
        >>> layers.Dense(8).after(layers.Signal(3, ()), "network").gaussian
        True
    """

    features: int
    positions: tuple[int, ...]
    gaussian: bool = False
    uncorrelated: bool = False
    tokens: bool = False
    masked: bool = False
    graph: bool = False

    def of_weights(self, features: int) -> Signal:
        """After a layer of weights at every position."""
        return self._replace(features=features, gaussian=True, uncorrelated=True, tokens=False)


class Layer(Shown):
    """A layer, as one value: see `nsh.theory.effective.layers`.

    A layer of one's own says what becomes of a `Signal` (`after`, which checks it), how a
    `Covariance` changes (`of_one` and `of_pairs`; `linear` alone where both are the same), and how
    it is built (`build`).
    """

    @abc.abstractmethod
    def after(self, signal: Signal, place: str) -> Signal:
        """What becomes of a signal; `ValueError`, naming the `place`, where it does not fit."""

    def needs_all_pairs(self, after: bool) -> bool:
        """Whether covariances of different positions are needed, given if they are afterwards."""
        return after

    def of_one(self, covariance: Covariance, all_pairs: bool) -> tuple[Covariance, PyTree]:  # noqa: ARG002
        """An input with itself; and what pairs will need of it.

        `all_pairs`: whether covariances of different positions are needed afterwards.
        """
        return self.linear(covariance), None

    def of_pairs(
        self,
        covariance: Covariance,
        a: PyTree,  # noqa: ARG002
        b: PyTree,  # noqa: ARG002
        all_pairs: bool,  # noqa: ARG002
    ) -> Covariance:
        """An input with another, given what `of_one` kept of either."""
        return self.linear(covariance)

    def linear(self, covariance: Covariance) -> Covariance:
        """Of a layer that does the same to both."""
        raise NotImplementedError(f"{type(self).__name__} has no `linear`")

    @abc.abstractmethod
    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """An Equinox module of finite width, [features, *positions] to the same, initialised."""

    def rates(self, module: Any) -> PyTree:
        """The learning rate of each parameter of the module, relative to the network's."""
        return jax.tree.map(
            lambda leaf: jnp.zeros(()) if eqx.is_inexact_array(leaf) else leaf, module
        )

    def with_weights(self, signal: Signal, change: Callable[[Any, int], Any]) -> Layer:  # noqa: ARG002
        """Itself, each layer of weights in it changed: a function of the layer and its fan-in."""
        return self


def as_variance(field: str, given: ArrayLike) -> Float[Array, ""]:
    """One number, finite and >= 0."""
    value = as_numbers(field, given, float)
    require(value.shape == (), field, value.shape, "one number")
    if is_concrete(value):
        require_all(np.isfinite(value) & (np.asarray(value) >= 0), field, value, "finite and >= 0")
    return value


class Weights(Layer):
    """A layer of weights: what is common to `Dense` and convolutions.

    ``b ~ N(0, C_b)`` and ``W ~ N(0, C_W / fan_in)``, learning rates lambda_b and lambda_W /
    fan_in, relative to the network's, as in `Architecture`.
    """

    features: eqx.AbstractVar[int]
    _: KW_ONLY
    C_b: Number = eqx.field(default=0.0, converter=partial(as_variance, "C_b"))
    C_W: Number = eqx.field(default=1.0, converter=partial(as_variance, "C_W"))
    lambda_b: Number = eqx.field(default=1.0, converter=partial(as_variance, "lambda_b"))
    lambda_W: Number = eqx.field(default=1.0, converter=partial(as_variance, "lambda_W"))

    def weighted(self, covariance: Covariance) -> Covariance:
        """What the weights make of the mean over their inputs."""
        numbers = self.C_b, self.C_W, self.lambda_b, self.lambda_W
        return covariance.weighted(*numbers).having(self.features)

    def fan_in(self, signal: Signal) -> int:
        """How many inputs one output has."""
        return signal.features

    def with_weights(self, signal: Signal, change: Callable[[Any, int], Any]) -> Layer:
        """See `Layer.with_weights`."""
        return change(self, self.fan_in(signal))

    def drawn(self, module: Any, key: Key[Array, ""]) -> Any:
        """`module` with weights [outputs, ...] and biases drawn anew."""
        of_weight, of_bias = jax.random.split(key)
        weight = jax.random.normal(of_weight, module.weight.shape, module.weight.dtype)
        bias = jax.random.normal(of_bias, module.bias.shape, module.bias.dtype)
        drawn = weight * jnp.sqrt(self.C_W / _fan_in(module)), bias * jnp.sqrt(self.C_b)
        return eqx.tree_at(lambda m: (m.weight, m.bias), module, drawn)

    def rates(self, module: Any) -> PyTree:
        """See `Layer.rates`."""
        rates = self.lambda_W / _fan_in(module), self.lambda_b
        return eqx.tree_at(lambda m: (m.weight, m.bias), module, rates)


def _fan_in(module: Any) -> int:
    return int(np.prod(module.weight.shape[1:]))


def require_numbers(signal: Signal, place: str) -> None:
    """`ValueError` for tokens."""
    require(not signal.tokens, f"{place}: its inputs", "whole numbers", "numbers: embed them first")


def require_positions(signal: Signal, place: str) -> None:
    """`ValueError` for tokens, and for features without positions."""
    require_numbers(signal, place)
    allowed = "[features, positions ...], such as images"
    require(signal.positions, f"{place}: its inputs", "[features] alone", allowed)
