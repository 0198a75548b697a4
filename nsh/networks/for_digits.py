"""Networks of the digits' shape: MLP, CNN and linear classifier, with any Optax optimiser."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from nsh._checks import require, require_integer
from nsh.networks.models import CNN, MLP, Linear
from nsh.networks.network import Network

CLASSES, PIXELS, SHAPE = 10, 64, (8, 8)
# activation and the gain of its weights (LeCun; He et al.)
ACTIVATIONS = {"tanh": (jnp.tanh, 1.0), "relu": (jax.nn.relu, 2.0)}
Optimiser = Callable[..., optax.GradientTransformation]


# cached: a Network made of the same functions shares what was compiled for it
@functools.cache
def digit_mlp(
    hidden: tuple[int, ...], activation: str = "tanh", optimiser: Optimiser = optax.sgd
) -> Network:
    """Fully connected network with the given hidden widths; activation "tanh" or "relu".

    Raises `ValueError` for other activations and widths that are no positive integers.
    """
    _check_sizes("hidden", hidden)
    function, gain = _activation(activation)

    def make(key: Key[Array, ""]) -> MLP:
        return MLP((PIXELS, *hidden, CLASSES), function, key=key, gain=gain)

    return Network(make, optimiser)


@functools.cache
def digit_cnn(
    channels: tuple[int, ...], activation: str = "relu", optimiser: Optimiser = optax.sgd
) -> Network:
    """Convolutional network with the given numbers of channels; activation "tanh" or "relu".

    Raises `ValueError` for other activations and numbers that are no positive integers.
    """
    _check_sizes("channels", channels)
    function, gain = _activation(activation)

    def make(key: Key[Array, ""]) -> CNN:
        return CNN(channels, CLASSES, SHAPE, function, key=key, gain=gain)

    return Network(make, optimiser)


@functools.cache
def digit_linear(optimiser: Optimiser = optax.sgd) -> Network:
    """Linear softmax classifier."""

    def make(key: Key[Array, ""]) -> Linear:
        return Linear(PIXELS, CLASSES, key=key)

    return Network(make, optimiser)


def _activation(name: str) -> tuple[Callable[[Array], Array], float]:
    require(name in ACTIVATIONS, "activation", name, " or ".join(map(repr, ACTIVATIONS)))
    return ACTIVATIONS[name]


def _check_sizes(field: str, sizes: tuple[int, ...]) -> None:
    for place, size in enumerate(sizes):
        require_integer(f"{field}[{place}]", size, 1)
