"""A fully connected network's architecture and initialisation, as one value."""

from __future__ import annotations

from typing import TypedDict

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_numbers, is_concrete, require, require_all, require_integer
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.activations import Activation, as_activation
from nsh.activations.activation import ActivationLike

Hyperparameter = Float[Array, " layers"]


class LearningRates(TypedDict):
    """Relative learning rates of biases and weights, as keywords of `Architecture`."""

    lambda_b: Array
    lambda_W: Array


class Architecture(Shown):
    """Fully connected network of `depth` layers of weights, at initialisation.

    ``z^1 = b^1 + W^1 x`` and ``z^{l+1} = b^{l+1} + W^{l+1} s(z^l) + gamma z^l``, with
    ``b ~ N(0, C_b)`` and ``W ~ N(0, C_W / fan_in)``; gradient descent moves biases with learning
    rate ``eta lambda_b`` and weights with ``eta lambda_W / fan_in``. (Roberts, Yaida, Hanin, arXiv
    2106.10165, eqs. 2.19, 2.20 and 8.6, 8.7; the skip of strength gamma, appendix B.)

    `depth`: number of layers L, the output's included. `widths`: of the L - 1 hidden layers, one
    integer for all or one each; None where only infinite width matters. C_b, C_W, lambda_b,
    lambda_W: one number for all layers, or one each; kept as arrays [depth]. gamma: one number.
    All arrays may be traced, so everything computed from an Architecture is differentiable by
    them. Raises `ValueError` naming a bad field.

    In these terms the *NTK parametrisation* (weights sqrt(C_W / fan_in) w with w ~ N(0, 1) and one
    learning rate for all w) has (lambda_b, lambda_W) = (C_b, C_W), and the *standard* one (one
    learning rate for all weights) has (1, fan_in): see `standard_rates`.

    Example:
        >>> from nsh.theory.effective import Architecture
        >>> Architecture("relu", 3, 100, C_W=2.0).C_W.tolist()
        [2.0, 2.0, 2.0]
    """

    activation: Activation
    depth: int = eqx.field(static=True)
    widths: tuple[int, ...] | None = eqx.field(static=True)
    C_b: Hyperparameter
    C_W: Hyperparameter
    lambda_b: Hyperparameter
    lambda_W: Hyperparameter
    gamma: Float[Array, ""]

    def __init__(
        self,
        activation: ActivationLike,
        depth: int,
        widths: int | tuple[int, ...] | None = None,
        *,
        C_b: ArrayLike = 0.0,
        C_W: ArrayLike = 1.0,
        lambda_b: ArrayLike = 1.0,
        lambda_W: ArrayLike = 1.0,
        gamma: ArrayLike = 0.0,
    ):
        self.activation = as_activation(activation)
        self.depth = require_integer("depth", depth, 1)
        self.widths = _widths(widths, self.depth)
        self.C_b = _per_layer("C_b", C_b, self.depth)
        self.C_W = _per_layer("C_W", C_W, self.depth)
        self.lambda_b = _per_layer("lambda_b", lambda_b, self.depth)
        self.lambda_W = _per_layer("lambda_W", lambda_W, self.depth)
        self.gamma = _number("gamma", gamma)

    def hidden_widths(self) -> tuple[int, ...]:
        """The widths of the L - 1 hidden layers; `ValueError` if the architecture has none."""
        require(self.widths is not None, "widths", self.widths, "given: this needs finite widths")
        assert self.widths is not None
        return self.widths


def standard_rates(inputs: int, widths: tuple[int, ...]) -> LearningRates:
    """Learning rates of the standard parametrisation, as keywords of `Architecture`.

    One learning rate for every parameter means lambda_b = 1 and, in layer l, lambda_W = fan_in of
    layer l: the standard NTK's weight term is fan_in times that of lambda_W = 1. Raises
    `ValueError` for sizes that are no positive integers.

    Example:
        >>> from nsh.theory.effective import standard_rates
        >>> standard_rates(784, (100,))["lambda_W"].tolist()
        [784.0, 100.0]
    """
    sizes = (inputs, *widths)
    for place, size in enumerate(sizes):
        require_integer("inputs" if place == 0 else f"widths[{place - 1}]", size, 1)
    return {"lambda_b": jnp.ones(()), "lambda_W": jnp.asarray(sizes, float)}


def _widths(given: int | tuple[int, ...] | None, depth: int) -> tuple[int, ...] | None:
    if given is None:
        return None
    widths = (given,) * (depth - 1) if isinstance(given, int | np.integer) else tuple(given)
    require(len(widths) == depth - 1, "widths", given, f"{depth - 1}, one for each hidden layer")
    return tuple(require_integer(f"widths[{i}]", width, 1) for i, width in enumerate(widths))


def _per_layer(field: str, given: ArrayLike, depth: int) -> Hyperparameter:
    value = as_numbers(field, given, float)
    require(value.shape in ((), (depth,)), field, value.shape, f"a number, or of shape ({depth},)")
    if is_concrete(value):
        require_all(np.isfinite(value) & (np.asarray(value) >= 0), field, value, "finite and >= 0")
    return jnp.broadcast_to(value, (depth,))


def _number(field: str, given: ArrayLike) -> Float[Array, ""]:
    value = as_numbers(field, given, float)
    require(value.shape == (), field, value.shape, "one number")
    if is_concrete(value):
        require_all(np.isfinite(value), field, value, "finite")
    return value
