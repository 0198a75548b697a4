"""Networks of the digits' shape: MLP, CNN and linear classifier, with any Optax optimiser."""

from __future__ import annotations

import functools
from collections.abc import Callable

import optax
from jaxtyping import Array, Key

from nsh._checks import require_integer
from nsh.activations import Activation, as_activation
from nsh.activations.program import Elementwise
from nsh.networks.models import CNN, MLP, Linear
from nsh.networks.network import Network

CLASSES, PIXELS, SHAPE = 10, 64, (8, 8)
Optimiser = Callable[..., optax.GradientTransformation]


# cached: a Network made of the same functions shares what was compiled for it
@functools.cache
def digit_mlp(
    hidden: tuple[int, ...],
    activation: str | Elementwise | Activation = "tanh",
    optimiser: Optimiser = optax.sgd,
) -> Network:
    """Fully connected network with the given hidden widths.

    `activation`: what `as_activation` takes. Raises `ValueError` for any other, and for widths
    that are no positive integers.

    Example:
        >>> from nsh.networks import digit_mlp
        >>> network = digit_mlp((16,), "relu", optax.adam)
        >>> state = network.init(jax.random.key(0), {"optimiser": {"learning_rate": 0.01}})
        >>> [layer.weight.shape for layer in (*state.params.hidden, state.params.readout)]
        [(64, 16), (16, 10)]
    """
    _check_sizes("hidden", hidden)
    known = as_activation(activation)

    def make(key: Key[Array, ""]) -> MLP:
        sizes = PIXELS, *hidden, CLASSES
        return MLP(sizes, known.function, key=key, gain=known.gain)

    return Network(make, optimiser)


@functools.cache
def digit_cnn(
    channels: tuple[int, ...],
    activation: str | Elementwise | Activation = "relu",
    optimiser: Optimiser = optax.sgd,
) -> Network:
    """Convolutional network with the given numbers of channels.

    `activation`: what `as_activation` takes. Raises `ValueError` for any other, and for numbers
    that are no positive integers.

    Example:
        >>> from nsh.networks import digit_cnn
        >>> state = digit_cnn((4, 8)).init(jax.random.key(0), {"optimiser": {"learning_rate": 0.1}})
        >>> [block.weight.shape for block in state.params.blocks]
        [(3, 3, 1, 4), (3, 3, 4, 8)]
    """
    _check_sizes("channels", channels)
    known = as_activation(activation)

    def make(key: Key[Array, ""]) -> CNN:
        return CNN(channels, CLASSES, SHAPE, known.function, key=key, gain=known.gain)

    return Network(make, optimiser)


@functools.cache
def digit_linear(optimiser: Optimiser = optax.sgd) -> Network:
    """Linear softmax classifier.

    Example:
        >>> from nsh.networks import digit_linear
        >>> state = digit_linear().init(jax.random.key(0), {"optimiser": {"learning_rate": 0.1}})
        >>> state.params.weight.shape
        (64, 10)
    """

    def make(key: Key[Array, ""]) -> Linear:
        return Linear(PIXELS, CLASSES, key=key)

    return Network(make, optimiser)


def _check_sizes(field: str, sizes: tuple[int, ...]) -> None:
    for place, size in enumerate(sizes):
        require_integer(f"{field}[{place}]", size, 1)
