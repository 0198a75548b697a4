"""What is done to one example's input before a network sees it: pure functions, with keys.

They take one example; `jax.vmap` adds axes. The input comes first and the key second, so that they
are put together in the `augment` of a `Network`.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from nsh._checks import require, require_all, require_integer, require_scalar
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.data.images import ChannelsAt, check_channels_at, sides
from nsh.data.source import source_of


class Standardise(Shown):
    """``(x - mean) / std``, with the numbers of the data that it was made of: a function.

    `Standardise.of` finds the numbers. Of one example or of many [n, ...]: shapes broadcast.
    Differentiable.

    Example:
        >>> from nsh.data import Standardise
        >>> scaled = Standardise.of(np.array([[0.0, 5.0], [2.0, 5.0]]))
        >>> scaled(np.array([4.0, 6.0])).tolist()  # the second number never changed
        [3.0, 1.0]
    """

    mean: Float[Array, "..."]
    std: Float[Array, "..."]

    @classmethod
    def of(
        cls,
        x: Any,
        per: Literal["feature", "channel", "all"] = "feature",
        *,
        channels_at: ChannelsAt = "first",
    ) -> Standardise:
        """Mean and standard deviation of the examples x [n, ...], read in blocks, in float64.

        `per`: of each number of an example for itself (``"feature"``), of each channel of images
        (``"channel"``; `channels_at` says where), or one of all (``"all"``). What never changes
        keeps its unit: its deviation counts as 1. Raises `ValueError` for numbers that are not
        finite.

        Example:
            >>> from nsh.data import Standardise
            >>> images = np.stack([np.zeros((3, 2, 2)), np.full((3, 2, 2), 2.0)])
            >>> Standardise.of(images, "channel").mean.shape
            (3, 1, 1)
        """
        require(per in ("feature", "channel", "all"), "per", per, "'feature', 'channel' or 'all'")
        check_channels_at(channels_at)
        source = source_of(x)
        axes = tuple(range(len(source.shape)))
        if per == "channel":
            allowed = "[n, height, width] with channels first or last, for per='channel'"
            require(len(axes) == 4, "x.shape", source.shape, allowed)
        kept = {"feature": axes[1:], "channel": (1 if channels_at == "first" else 3,), "all": ()}
        over = tuple(axis for axis in axes if axis not in kept[per])
        count, mean, squares = 0, np.zeros(()), np.zeros(())
        for block in source.blocks():
            block = block.astype(np.float64)
            require_all(np.isfinite(block), "x", block, "finite")
            size = math.prod(block.shape[axis] for axis in over)
            own = block.mean(over, keepdims=True)
            # Chan et al. 1983: sums of squares about the mean, put together
            gap, count = own - mean, count + size
            mean = mean + gap * (size / count)
            squares = squares + ((block - own) ** 2).sum(over, keepdims=True)
            squares = squares + gap**2 * (size * (count - size) / count)
        std = np.sqrt(squares / count)
        shape = mean.shape[1:] if per != "all" else ()
        mean, std = mean.reshape(shape), np.where(std > 0, std, 1).reshape(shape)
        return cls(jnp.asarray(mean, float), jnp.asarray(std, float))

    def __call__(self, x: ArrayLike) -> Float[Array, "..."]:
        """The same in units of the deviations, from the means."""
        x = _as_jax(x).astype(self.mean.dtype)
        allowed = f"(..., {', '.join(map(str, self.mean.shape))}), as the examples were"
        require(x.ndim >= self.mean.ndim, "x.shape", x.shape, allowed)
        shape = (1,) * (x.ndim - self.mean.ndim) + self.mean.shape
        return (x - self.mean.reshape(shape)) / self.std.reshape(shape)


def random_crop(
    x: ArrayLike, key: Key[Array, ""], padding: int, *, channels_at: ChannelsAt = "first"
) -> Array:
    """One image, moved by up to `padding` pixels each way; what comes in from outside is 0.

    All ``(2 padding + 1)^2`` displacements are equally likely. x [height, width], or with channels.
    Differentiable in x; the displacement is a whole number.

    Example:
        >>> from nsh.data import random_crop
        >>> random_crop(jnp.ones((8, 8)), jax.random.key(0), 2).shape
        (8, 8)
    """
    padding = require_integer("padding", padding, 0)
    x = _as_jax(x)
    places = sides(x.shape, channels_at)
    width = [(padding, padding) if axis in places else (0, 0) for axis in range(x.ndim)]
    moved = jax.random.randint(key, (2,), 0, 2 * padding + 1, jnp.int32)
    zero = jnp.zeros((), jnp.int32)
    start = [moved[places.index(axis)] if axis in places else zero for axis in range(x.ndim)]
    return jax.lax.dynamic_slice(jnp.pad(x, width), start, x.shape)


def random_flip(x: ArrayLike, key: Key[Array, ""], *, channels_at: ChannelsAt = "first") -> Array:
    """One image, or with probability 1/2 its mirror image, left and right exchanged.

    x [height, width], or with channels. Differentiable in x.

    Example:
        >>> from nsh.data import random_flip
        >>> images = jax.vmap(random_flip, (None, 0))(
        ...     jnp.array([[1, 2]]), jax.random.split(jax.random.key(0), 100)
        ... )
        >>> sorted({tuple(row) for row in images[:, 0].tolist()})
        [(1, 2), (2, 1)]
    """
    x = _as_jax(x)
    across = sides(x.shape, channels_at)[1]
    return jnp.where(jax.random.bernoulli(key), jnp.flip(x, across), x)


def add_noise(x: ArrayLike, key: Key[Array, ""], scale: ArrayLike) -> Float[Array, "..."]:
    """``x + scale z`` with z ~ N(0, 1), independent for all numbers of x.

    Differentiable in x and in `scale`, a number, which can be tuned as a hyperparameter.

    Example:
        >>> from nsh.data import add_noise
        >>> noisy = add_noise(jnp.zeros(10_000), jax.random.key(0), 2.0)
        >>> abs(float(noisy.std()) - 2.0) < 0.06  # four standard errors
        True
    """
    require_scalar("scale", scale)
    x = _as_jax(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(float)
    return x + jnp.asarray(scale, x.dtype) * jax.random.normal(key, x.shape, x.dtype)


def _as_jax(x: ArrayLike) -> Array:
    """The input as JAX has it: files of the IDX format have the bytes in the other order."""
    if isinstance(x, np.ndarray) and not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    return jnp.asarray(x)
