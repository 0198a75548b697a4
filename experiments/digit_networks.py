"""The real networks of the experiments: MLP, CNN and linear classifier for the digits."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from nsh.networks import CNN, MLP, Linear, Network

CLASSES = 10
PIXELS = 64
# activation and the gain of its weights (LeCun; He et al.)
ACTIVATIONS = {"tanh": (jnp.tanh, 1.0), "relu": (jax.nn.relu, 2.0)}


# cached: a Network made of the same functions shares what was compiled for it
@functools.cache
def mlp(hidden: Sequence[int], activation: str) -> Network:
    """Fully connected network with the given hidden widths, trained by SGD."""
    function, gain = ACTIVATIONS[activation]

    def make(key: Key[Array, ""]) -> MLP:
        return MLP((PIXELS, *hidden, CLASSES), function, key=key, gain=gain)

    return Network(make, optax.sgd)


@functools.cache
def cnn(channels: Sequence[int]) -> Network:
    """Convolutional network with the given numbers of channels (ReLU), trained by SGD."""
    function, gain = ACTIVATIONS["relu"]

    def make(key: Key[Array, ""]) -> CNN:
        return CNN(channels, CLASSES, (8, 8), function, key=key, gain=gain)

    return Network(make, optax.sgd)


@functools.cache
def linear() -> Network:
    """Linear softmax classifier, trained by SGD."""

    def make(key: Key[Array, ""]) -> Linear:
        return Linear(PIXELS, CLASSES, key=key)

    return Network(make, optax.sgd)
