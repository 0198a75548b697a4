"""Pooling over positions, and the end of positions."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Key

from nsh._checks import require
from nsh.theory.effective.layers.covariance import Covariance
from nsh.theory.effective.layers.layer import Layer, Module, Signal, require_positions
from nsh.theory.effective.layers.windows import (
    Pads,
    as_padding,
    as_sizes,
    each,
    length,
    pads,
    product,
    sums,
    window_ends,
)

Sizes = int | tuple[int, ...]


class Pooled(eqx.Module):
    """What pooling layers build: sums over windows, divided by `share`."""

    size: tuple[int, ...] = eqx.field(static=True)
    stride: tuple[int, ...] = eqx.field(static=True)
    pad: Pads = eqx.field(static=True)
    share: int = eqx.field(static=True)

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:  # noqa: ARG002
        """Of one input [features, *positions]."""
        for i, axis in enumerate(range(1, x.ndim)):
            x = sums(x, (axis,), self.pad[i], self.size[i], self.stride[i])
        return x / self.share


class SumPool(Layer):
    """Sums over windows of positions: ``K'(p, q) = sum_d,e K(s p + d, s q + e)``, Theta alike.

    `stride`: by default the window's size. Padding with zeros: an integer, one for each axis,
    "VALID" or "SAME". It needs the covariances of all pairs of positions.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> kernels(layers.SumPool(2), jnp.ones((1, 1, 4))).nngp.tolist()
        [[[4.0, 4.0]]]
    """

    kernel_size: Sizes = eqx.field(static=True, converter=partial(as_sizes, "kernel_size"))
    stride: Sizes | None = eqx.field(static=True, default=None)
    padding: str | Sizes | Pads = eqx.field(static=True, default=0, converter=as_padding)

    def __check_init__(self):
        if self.stride is not None:
            as_sizes("stride", self.stride)

    def _pooled(self, positions: tuple[int, ...], place: str) -> Pooled:
        d = len(positions)
        size = each(f"{place}.kernel_size", self.kernel_size, d)
        stride = size if self.stride is None else each(f"{place}.stride", self.stride, d)
        pad = pads(f"{place}.padding", self.padding, positions, size, stride)
        return Pooled(size, stride, pad, self._share(size))

    def _share(self, size: tuple[int, ...]) -> int:  # noqa: ARG002
        return 1

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_positions(signal, place)
        pooled = self._pooled(signal.positions, place)
        given = zip(signal.positions, pooled.pad, pooled.size, pooled.stride, strict=True)
        after = tuple(length(*one) for one in given)
        allowed = f"a window that fits into {signal.positions} positions"
        require(min(after) > 0, f"{place}.kernel_size", self.kernel_size, allowed)
        return signal._replace(positions=after, graph=False)

    def needs_all_pairs(self, after: bool) -> bool:  # noqa: ARG002
        """See `Layer.needs_all_pairs`."""
        return True

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        pooled = self._pooled(covariance.positions, "layer")

        def pool(array: Array) -> Array:
            for i in range(covariance.dimensions):
                for axis in covariance.axes(i):
                    array = sums(array, (axis,), pooled.pad[i], pooled.size[i], pooled.stride[i])
            return array / pooled.share**2

        def present(given: Array) -> Array:
            return window_ends(given, pooled.pad, pooled.size, pooled.stride)

        return covariance.there().map(pool).with_present(present)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:  # noqa: ARG002
        """A module that sums, or takes means."""
        return self._pooled(signal.positions, "layer")


class AvgPool(SumPool):
    """Means over windows of positions: as `SumPool`, divided by the window's size.

    Zeros of the padding count in the mean, as in `equinox.nn.AvgPool2d`.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> kernels(layers.AvgPool(2), jnp.ones((1, 1, 4))).nngp.tolist()
        [[[1.0, 1.0]]]
    """

    def _share(self, size: tuple[int, ...]) -> int:
        return product(size)


class GlobalAvgPool(Layer):
    """The mean over all positions: ``K' = mean_p,q K(p, q)``, Theta alike.

    Over those that are there, where not all of them are; 0 for an input without any.
    `keep_positions`: one position is left along each axis, instead of none.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> kernels(layers.GlobalAvgPool(), jnp.array([[[1.0, 3.0]]])).nngp.tolist()
        [[4.0]]
    """

    keep_positions: bool = eqx.field(static=True, default=False, kw_only=True)
    mean: ClassVar[bool] = True

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_positions(signal, place)
        left = (1,) * self._left(len(signal.positions))
        return signal._replace(positions=left, masked=False, graph=False)

    def _left(self, dimensions: int) -> int:
        return dimensions if self.keep_positions else 0

    def needs_all_pairs(self, after: bool) -> bool:  # noqa: ARG002
        """See `Layer.needs_all_pairs`."""
        return True

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        left = self._left(covariance.dimensions)
        total = covariance.there()
        a, b = (_count(side.present, covariance) for side in covariance.sides)
        share = jnp.asarray(a * b if self.mean else 1, covariance.nngp.dtype)
        found = total.map(lambda array: jnp.sum(array).reshape((1,) * 2 * left) / share)
        given = found.nngp, found.ntk, found.error, covariance.features
        return Covariance(*given, left, left > 0)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:  # noqa: ARG002
        """A module that takes the mean, or the sum."""
        return Total(self.mean, self.keep_positions)


class Total(eqx.Module):
    """What global pooling builds: the mean over all positions of an input, or the sum."""

    mean: bool = eqx.field(static=True)
    keep_positions: bool = eqx.field(static=True)

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:  # noqa: ARG002
        """Of one input [features, *positions]."""
        take = jnp.mean if self.mean else jnp.sum
        return take(x, tuple(range(1, x.ndim)), keepdims=self.keep_positions)


class GlobalSumPool(GlobalAvgPool):
    """The sum over all positions: ``K' = sum_p,q K(p, q)``, Theta alike.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> kernels(layers.GlobalSumPool(), jnp.array([[[1.0, 3.0]]])).nngp.tolist()
        [[16.0]]
    """

    mean: ClassVar[bool] = False


def _count(present: Array | None, covariance: Covariance) -> Any:
    """How many positions are there, at least 1."""
    if present is None:
        return product(covariance.positions)
    return jnp.maximum(jnp.sum(present), 1)


class Flatten(Layer):
    """All features of all positions in one row: ``K' = mean_p K(p, p)``, Theta alike.

    The kernels are means over features, which are now as many times more as there are positions.
    A position that is not there counts, with features of 0.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> kernels(layers.Flatten(), jnp.array([[[1.0, 3.0]]])).nngp.tolist()
        [[5.0]]
    """

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_positions(signal, place)
        features = signal.features * product(signal.positions)
        return Signal(features, (), uncorrelated=signal.uncorrelated)

    def needs_all_pairs(self, after: bool) -> bool:  # noqa: ARG002
        """See `Layer.needs_all_pairs`."""
        return False

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        features = covariance.features * product(covariance.positions)
        return covariance.as_needed(False).there().without_positions(jnp.mean, features)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:  # noqa: ARG002
        """`eqx.nn.Lambda` of a reshape."""
        return eqx.nn.Lambda(jnp.ravel)
