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
from nsh.data.images import ChannelsAt, sides

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

    For small images and ensembles on CPUs: it is a product of matrices, also when it is vmapped.
    `equinox.nn.Conv2d` does the same with the channels in front, and takes several times as long
    there. Its work grows as the square of the width.

    Shapes: x [height, width, inputs], W [3, 3, inputs, outputs], b [outputs]. At the start
    W ~ N(0, gain / (9 inputs)), as in `MLP`, and b = 0.
    Raises `ValueError` if x has another number of axes or channels.

    Example:
        >>> from nsh.networks import Convolution
        >>> convolution = Convolution(2, 5, key=jax.random.key(0))
        >>> convolution(jnp.zeros((4, 4, 2))).shape
        (4, 4, 5)
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


def average_pool(x: Float[Array, "h w c"]) -> Float[Array, "(h+1)//2 (w+1)//2 c"]:
    """Means over 2x2 blocks; where a side is odd, the last blocks are of those pixels there are."""
    height, width, channels = x.shape
    odd = height % 2, width % 2
    x = jnp.pad(x, ((0, odd[0]), (0, odd[1]), (0, 0))) if any(odd) else x
    means = x.reshape((height + odd[0]) // 2, 2, (width + odd[1]) // 2, 2, channels).mean((1, 3))
    # a block at an odd end is half zeros
    means = means.at[-1].multiply(2) if odd[0] else means
    return means.at[:, -1].multiply(2) if odd[1] else means


class CNN(eqx.Module):
    """Convolutional network for small images, with a linear readout.

    One block per entry of `channels`: 3x3 convolution, activation, 2x2 average pooling, of which
    the last blocks are smaller where a side is odd. `gain` as in `MLP`. `image`: the shape of one
    image, of any size: (height, width), or with its channels, which are where `channels_at` says:
    (channels, height, width) for ``"first"``, (height, width, channels) for ``"last"``. x is one
    such image, or its numbers end to end; one of (height, width) may have an axis of length 1
    before or behind. Raises `ValueError` on any other shape, such as [width, height].

    Example:
        >>> from nsh.networks import CNN
        >>> network = CNN((4, 6), classes=3, image=(8, 8), key=jax.random.key(0))
        >>> [level.shape for level in network.features(jnp.ones((8, 8)))]
        [(64,), (24,)]
        >>> network = CNN((4, 6), image=(3, 33, 47), key=jax.random.key(0))  # three channels
        >>> network(jnp.ones((3, 33, 47))).shape
        (10,)
    """

    blocks: tuple[Convolution, ...]
    readout: Linear
    image: tuple[int, ...] = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)
    channels_at: ChannelsAt = eqx.field(static=True)

    def __init__(
        self,
        channels: Sequence[int] = (8, 16),
        classes: int = 10,
        image: tuple[int, ...] = (8, 8),
        activation: Activation = jnp.tanh,
        *,
        key: Key[Array, ""],
        gain: float = 1.0,
        channels_at: ChannelsAt = "first",
    ):
        require(len(channels) >= 1, "channels", channels, "one width per block, at least one")
        self.image = tuple(require_integer("image", side, 1) for side in image)
        self.channels_at = channels_at
        *keys, last = jax.random.split(key, len(channels) + 1)
        self.blocks = tuple(
            Convolution(inputs, outputs, key=k, gain=gain)
            for inputs, outputs, k in zip(
                (self._depth, *channels[:-1]), channels, keys, strict=True
            )
        )
        self.readout = Linear(math.prod(self.sizes[-1]) * channels[-1], classes, key=last)
        self.activation = activation

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of an image, and of what each block makes of it."""
        high, wide = sides(self.image, self.channels_at, "image")
        found = [(self.image[high], self.image[wide])]
        for _ in self.blocks:
            height, width = found[-1]
            found.append(((height + 1) // 2, (width + 1) // 2))
        return tuple(found)

    @property
    def _depth(self) -> int:
        """Channels of an image."""
        at_sides = sides(self.image, self.channels_at, "image")
        return math.prod(n for axis, n in enumerate(self.image) if axis not in at_sides)

    def features(self, x: Float[Array, "..."]) -> tuple[Float[Array, " _"], ...]:
        """Each block's pooled output, flattened (height, width, channel), lowest first."""
        height, width = self.sizes[0]
        shapes = [self.image, (math.prod(self.image),)]
        if len(self.image) == 2:
            shapes[1:1] = (height, width, 1), (1, height, width)
        require(x.shape in shapes, "x.shape", x.shape, f"one image: {_either(shapes)}")
        if len(self.image) == 3 and self.channels_at == "first":
            x = jnp.moveaxis(x.reshape(self.image), 0, 2)
        x = x.reshape(height, width, self._depth)
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
