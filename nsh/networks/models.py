"""Small networks whose hidden levels can be looked at: `features(x)`, then `module(x)` = logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from nsh._checks import require, require_integer

Activation = Callable[[Array], Array]


def _normal(key: Key[Array, ""], shape: tuple[int, ...], gain: float) -> Float[Array, "..."]:
    """Weights ~ N(0, gain / fan_in), fan_in = product of all axes but the last."""
    require(0 < gain < math.inf, "gain", gain, "a number > 0 and finite")
    size = math.prod(shape)
    # drawn in one row: the same numbers, but vmapped they compile up to 12 times faster on CPUs
    normal = jax.random.normal(key, (size,)).reshape(shape)
    return normal * jnp.sqrt(jnp.asarray(gain * shape[-1] / size, normal.dtype))


class Linear(eqx.Module):
    """Softmax-linear classifier: ``logits = x W + b``, x flattened; its one feature level is x.

    ``W ~ N(0, gain / inputs)``, b = 0. Shapes: W [inputs, classes], b [classes]. Raises
    `ValueError` if x has not `inputs` numbers.

    Example:
        >>> from nsh.networks import Linear
        >>> Linear(3, 2, key=jax.random.key(0))(jnp.zeros(3)).tolist()
        [0.0, 0.0]
    """

    weight: Float[Array, "inputs classes"]
    bias: Float[Array, " classes"]

    def __init__(self, inputs: int, classes: int, *, key: Key[Array, ""], gain: float = 1.0):
        inputs = require_integer("inputs", inputs, 1)
        classes = require_integer("classes", classes, 1)
        self.weight = _normal(key, (inputs, classes), gain)
        self.bias = jnp.zeros(classes, self.weight.dtype)

    def features(self, x: Float[Array, "..."]) -> tuple[Float[Array, " inputs"]]:
        """The flattened input."""
        inputs = self.weight.shape[0]
        require(x.size == inputs, "x.shape", x.shape, f"one example of {inputs} numbers in all")
        return (x.reshape(-1),)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, " classes"]:
        """The logits of one example."""
        return self.features(x)[-1] @ self.weight + self.bias


class MLP(eqx.Module):
    """Fully connected network: ``h_l = activation(h_{l-1} W_l + b_l)``, then a linear readout.

    `sizes` = (inputs, hidden widths, classes); x is flattened to `sizes[0]` numbers. Hidden
    weights ~ N(0, gain / fan_in): `gain` = 1 suits tanh (LeCun), 2 suits relu (He et al.,
    arXiv 1502.01852, eq. 10). The readout always has gain 1; biases start at 0.

    Example:
        >>> from nsh.networks import MLP
        >>> network = MLP((4, 8, 3), key=jax.random.key(0))
        >>> [level.shape for level in network.features(jnp.ones(4))], network(jnp.ones(4)).shape
        ([(8,)], (3,))
    """

    hidden: tuple[Linear, ...]
    readout: Linear
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        sizes: Sequence[int] = (64, 128, 128, 10),
        activation: Activation = jnp.tanh,
        *,
        key: Key[Array, ""],
        gain: float = 1.0,
    ):
        require(len(sizes) >= 2, "sizes", sizes, "(inputs, hidden widths ..., classes)")
        *keys, last = jax.random.split(key, len(sizes) - 1)
        self.hidden = tuple(
            Linear(*shape, key=k, gain=gain)
            for shape, k in zip(pairwise(sizes[:-1]), keys, strict=True)
        )
        self.readout = Linear(sizes[-2], sizes[-1], key=last)
        self.activation = activation

    def features(self, x: Float[Array, "..."]) -> tuple[Float[Array, " _"], ...]:
        """Each hidden layer's vector after its activation, lowest first."""
        levels = []
        for layer in self.hidden:
            x = self.activation(layer(x))
            levels.append(x)
        return tuple(levels)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, " classes"]:
        """The logits of one example."""
        return self.readout((x, *self.features(x))[-1])


class Convolution(eqx.Module):
    """3x3 cross-correlation, stride 1, zero padding 1: ``y_ab = sum_ij x_{a+i-1, b+j-1} W_ij + b``.

    Shapes: x [height, width, inputs], W [3, 3, inputs, outputs]; W ~ N(0, gain / (9 inputs)).
    Raises `ValueError` if x has another number of axes or channels.
    """

    weight: Float[Array, "3 3 inputs outputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, *, key: Key[Array, ""], gain: float = 1.0):
        inputs = require_integer("inputs", inputs, 1)
        outputs = require_integer("outputs", outputs, 1)
        self.weight = _normal(key, (3, 3, inputs, outputs), gain)
        self.bias = jnp.zeros(outputs, self.weight.dtype)

    def __call__(self, x: Float[Array, "h w inputs"]) -> Float[Array, "h w outputs"]:
        """The image of one image."""
        # As one matrix product: each three neighbouring rows, end to end, times the banded matrix
        # that slides the weights along a row. lax.conv, vmapped over seeds, becomes a grouped
        # convolution, which takes 6 to 10 times as long on CPUs for images this small.
        channels = self.weight.shape[2]
        fits = x.ndim == 3 and x.shape[2] == channels  # or the product would mix up the axes
        require(fits, "x.shape", x.shape, f"(height, width, {channels})")
        height, width, inputs = x.shape
        slide = jnp.stack([jnp.eye(width, k=1 - j, dtype=x.dtype) for j in range(3)])
        banded = jnp.einsum("jab,ijco->iacbo", slide, self.weight)
        rows = jnp.pad(x.reshape(height, width * inputs), ((1, 1), (0, 0)))
        neighbours = jnp.concatenate([rows[i : i + height] for i in range(3)], axis=1)
        product = neighbours @ banded.reshape(3 * width * inputs, -1)
        return product.reshape(height, width, -1) + self.bias[None, None]


def average_pool(x: Float[Array, "h w c"]) -> Float[Array, "h//2 w//2 c"]:
    """Means over 2x2 blocks; height and width must be even."""
    height, width, channels = x.shape
    return x.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3))


class CNN(eqx.Module):
    """Convolutional network for small one-channel images, with a linear readout.

    One block per entry of `channels`: 3x3 convolution, activation, 2x2 average pooling. `gain` as
    in `MLP`. `image` = (height, width), each a multiple of ``2 ** len(channels)``. x is one image:
    [height, width], with an axis of length 1 before or behind, or its rows end to end
    [height * width]. Raises `ValueError` on any other shape, such as [width, height].

    Example:
        >>> from nsh.networks import CNN
        >>> network = CNN((4, 6), classes=3, image=(8, 8), key=jax.random.key(0))
        >>> [level.shape for level in network.features(jnp.ones((8, 8)))]
        [(64,), (24,)]
    """

    blocks: tuple[Convolution, ...]
    readout: Linear
    image: tuple[int, int] = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        channels: Sequence[int] = (8, 16),
        classes: int = 10,
        image: tuple[int, int] = (8, 8),
        activation: Activation = jnp.tanh,
        *,
        key: Key[Array, ""],
        gain: float = 1.0,
    ):
        require(len(channels) >= 1, "channels", channels, "one width per block, at least one")
        height, width = (require_integer("image", side, 1) for side in image)
        shrink = 2 ** len(channels)
        divisible = height % shrink == 0 and width % shrink == 0
        require(divisible, "image", image, f"(height, width), each a multiple of {shrink}")
        *keys, last = jax.random.split(key, len(channels) + 1)
        self.blocks = tuple(
            Convolution(inputs, outputs, key=k, gain=gain)
            for inputs, outputs, k in zip((1, *channels[:-1]), channels, keys, strict=True)
        )
        self.readout = Linear(height * width // shrink**2 * channels[-1], classes, key=last)
        self.image = (height, width)
        self.activation = activation

    def features(self, x: Float[Array, "..."]) -> tuple[Float[Array, " _"], ...]:
        """Each block's pooled output, flattened (height, width, channel), lowest first."""
        height, width = self.image
        shapes = (height, width), (height, width, 1), (1, height, width), (height * width,)
        require(x.shape in shapes, "x.shape", x.shape, f"one image: {_either(shapes)}")
        x = x.reshape(height, width, 1)
        levels = []
        for block in self.blocks:
            x = average_pool(self.activation(block(x)))
            levels.append(x.reshape(-1))
        return tuple(levels)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, " classes"]:
        """The logits of one example."""
        return self.readout(self.features(x)[-1])


def _either(choices: Sequence[object]) -> str:
    *others, last = map(str, choices)
    return f"{', '.join(others)} or {last}"
