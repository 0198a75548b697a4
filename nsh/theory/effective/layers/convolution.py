"""Convolutional layers: shared weights, weights of each place's own, and transposed."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from nsh._checks import plain_integer, require, require_integer
from nsh.theory.effective.layers.covariance import Covariance
from nsh.theory.effective.layers.layer import Module, Signal, Weights, require_positions
from nsh.theory.effective.layers.windows import (
    Pads,
    as_padding,
    as_sizes,
    each,
    length,
    pads,
    product,
    spread,
    sums,
    taken,
    window_ends,
)

Sizes = int | tuple[int, ...]
MODES = "ZEROS", "CIRCULAR"


class _Windowed(Weights):
    """What convolutions have in common: a window that slides over the positions."""

    features: int = eqx.field(static=True, converter=plain_integer)
    kernel_size: Sizes = eqx.field(static=True, converter=partial(as_sizes, "kernel_size"))
    stride: Sizes = eqx.field(static=True, default=1, converter=partial(as_sizes, "stride"))
    padding: str | Sizes | Pads = eqx.field(static=True, default=0, converter=as_padding)
    dilation: Sizes = eqx.field(static=True, default=1, converter=partial(as_sizes, "dilation"))

    def __check_init__(self):
        require_integer("features", self.features, 1)

    def _window(self, positions: tuple[int, ...], place: str) -> tuple[tuple[int, ...], ...]:
        d = len(positions)
        return tuple(
            each(f"{place}.{field}", getattr(self, field), d)
            for field in ("kernel_size", "stride", "dilation")
        )

    def _pads(self, positions: tuple[int, ...], place: str = "layer") -> Pads:
        size, stride, dilation = self._window(positions, place)
        wide = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
        return pads(f"{place}.padding", self.padding, positions, wide, stride)

    def _after(self, signal: Signal, place: str) -> tuple[int, ...]:
        require_positions(signal, place)
        size, stride, dilation = self._window(signal.positions, place)
        found = self._pads(signal.positions, place)
        after = tuple(
            length(n, pad, d * (k - 1) + 1, step)
            for n, pad, k, step, d in zip(
                signal.positions, found, size, stride, dilation, strict=True
            )
        )
        allowed = f"a window that fits into {signal.positions} positions and padding {found}"
        require(min(after) > 0, f"{place}.kernel_size", self.kernel_size, allowed)
        return after

    def _signal(self, signal: Signal, after: tuple[int, ...]) -> Signal:
        return Signal(self.features, after, True, True, masked=signal.masked)

    def fan_in(self, signal: Signal) -> int:
        """See `Weights.fan_in`."""
        return signal.features * product(self._window(signal.positions, "layer")[0])

    def _mean(self, array: Array, covariance: Covariance, mode: str = "ZEROS") -> Array:
        """Over the window, the same offset along both axes of a covariance."""
        positions = covariance.positions
        size, stride, dilation = self._window(positions, "layer")
        pad = self._pads(positions)
        for i in range(len(positions)):
            axes = covariance.axes(i)
            array = sums(array, axes, pad[i], size[i], stride[i], dilation[i], mode)
        return array / product(size)

    def _present(self, present: Array) -> Array:
        """Which places are there: those that an input without the rest would have."""
        positions = present.shape
        size, stride, dilation = self._window(positions, "layer")
        wide = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
        return window_ends(present, self._pads(positions), wide, stride)


class Conv(_Windowed):
    """Convolution with `features` outputs: in 1, 2 or any number of dimensions of positions.

    ``K'(p, q) = C_b + C_W mean_d K(s p + d, s q + d)`` over the window's offsets d, and the same
    of Theta (Novak et al., arXiv 1810.05148; Arora et al., arXiv 1904.11955). Options as those of
    `equinox.nn.Conv`; padding also "VALID" and "SAME", padding_mode "ZEROS" or "CIRCULAR". Zeros
    of the padding count in the mean.

    Raises `ValueError` for options that are out of range, or do not fit the inputs' positions.
    Differentiable by the numbers of `Dense`.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> image = jnp.arange(4.0).reshape(1, 1, 4)  # one input, one feature, four positions
        >>> network = layers.Serial(layers.Conv(8, 4), layers.Flatten())
        >>> kernels(network, image).nngp.tolist()  # the mean of 0, 1, 4, 9
        [[3.5]]
    """

    padding_mode: str = eqx.field(static=True, default="ZEROS")

    def __check_init__(self):
        allowed = " or ".join(MODES)
        require(self.padding_mode in MODES, "padding_mode", self.padding_mode, allowed)

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        after = self._after(signal, place)
        if self.padding_mode == "CIRCULAR":
            most = max(max(pad) for pad in self._pads(signal.positions, place))
            fits = most <= min(signal.positions)
            allowed = f"at most {min(signal.positions)}, as it is circular"
            require(fits, f"{place}.padding", self.padding, allowed)
            allowed = "ZEROS, as not all positions of all inputs are there"
            require(not signal.masked, f"{place}.padding_mode", self.padding_mode, allowed)
        return self._signal(signal, after)

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        mode, given = self.padding_mode, covariance.there()
        found = given.map(lambda array: self._mean(array, covariance, mode))
        return self.weighted(found.with_present(self._present))

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """`eqx.nn.Conv`."""
        size, stride, dilation = self._window(signal.positions, "layer")
        module = eqx.nn.Conv(
            len(signal.positions),
            signal.features,
            self.features,
            size,
            stride,
            self._pads(signal.positions),
            dilation,
            padding_mode=self.padding_mode,
            key=key,
        )
        return self.drawn(module, key)


class LocalConv(_Windowed):
    """As a convolution, but with weights and biases of each place's own.

    ``K'(p, q) = [p = q] (C_b + C_W mean_d K(s p + d, s q + d))``, and the same of Theta.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> image = jnp.arange(4.0).reshape(1, 1, 4)
        >>> network = layers.Serial(layers.LocalConv(8, 2), layers.AvgPool(3))
        >>> round(float(kernels(network, image).nngp[0, 0, 0]), 4)  # (.5 + 2.5 + 6.5) / 9
        1.0556
    """

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        return self._signal(signal, self._after(signal, place))

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        found = covariance.there().map(lambda array: self._mean(array, covariance))
        found = self.weighted(found.with_present(self._present))
        return found.map(found.only_same_positions)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """A module with weights [*places, outputs, inputs, *kernel_size]."""
        size, stride, dilation = self._window(signal.positions, "layer")
        after = self._after(signal, "layer")
        of_weight, of_bias = jax.random.split(key)
        fan_in = signal.features * product(size)
        weight = jax.random.normal(of_weight, (self.features, fan_in, *after))
        bias = jax.random.normal(of_bias, (self.features, *after))
        return LocalConvolution(
            weight * jnp.sqrt(self.C_W / fan_in),
            bias * jnp.sqrt(self.C_b),
            size,
            stride,
            self._pads(signal.positions),
            dilation,
        )

    def rates(self, module: LocalConvolution) -> LocalConvolution:
        """See `Layer.rates`."""
        rates = self.lambda_W / module.weight.shape[1], self.lambda_b
        return eqx.tree_at(lambda m: (m.weight, m.bias), module, rates)


class LocalConvolution(eqx.Module):
    """What `LocalConv` builds: every place has weights of its own."""

    weight: Float[Array, "outputs fan_in ..."]
    bias: Float[Array, "outputs ..."]
    size: tuple[int, ...] = eqx.field(static=True)
    stride: tuple[int, ...] = eqx.field(static=True)
    pad: Pads = eqx.field(static=True)
    dilation: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:  # noqa: ARG002
        """Of one input [features, *positions]."""
        patches = jax.lax.conv_general_dilated_patches(
            x[None], self.size, self.stride, self.pad, rhs_dilation=self.dilation
        )[0]
        return jnp.sum(self.weight * patches[None], 1) + self.bias


class ConvTranspose(_Windowed):
    """Transposed convolution: strides spread the inputs instead of skipping outputs.

    ``K'(p, q) = C_b + C_W / k sum_d K((p - d) / s, (q - d) / s)`` over the d with whole results,
    k the window's size. Options as those of `equinox.nn.ConvTranspose`.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> network = layers.Serial(layers.ConvTranspose(8, 2, stride=2), layers.Flatten())
        >>> kernels(network, jnp.ones((1, 1, 3))).nngp.tolist()  # half of its window is filled
        [[0.5]]
    """

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_positions(signal, place)
        allowed = "integers >= 0: transposed, it takes no name"
        require(not isinstance(self.padding, str), f"{place}.padding", self.padding, allowed)
        size, stride, dilation = self._window(signal.positions, place)
        found = self._pads(signal.positions, place)
        after = tuple(
            (n - 1) * step + 1 + before + behind - d * (k - 1)
            for n, (before, behind), k, step, d in zip(
                signal.positions, found, size, stride, dilation, strict=True
            )
        )
        allowed = f"a window and padding that leave some of {signal.positions} positions"
        require(min(after) > 0, f"{place}.padding", self.padding, allowed)
        return self._signal(signal, after)

    def _pads(self, positions: tuple[int, ...], place: str = "layer") -> Pads:
        size, _, dilation = self._window(positions, place)
        given = super()._pads(positions, place)
        return tuple(
            (d * (k - 1) - before, d * (k - 1) - behind)
            for d, k, (before, behind) in zip(dilation, size, given, strict=True)
        )

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        size, stride, dilation = self._window(covariance.positions, "layer")
        pad = self._pads(covariance.positions)

        def mean(array: Array) -> Array:
            for i in range(len(size)):
                axes = covariance.axes(i)
                array = spread(array, axes, stride[i])
                array = sums(array, axes, pad[i], size[i], 1, dilation[i])
            return array / product(size)

        found = covariance.there().map(mean)
        return self.weighted(found.with_present(self._present))

    def _present(self, present: Array) -> Array:
        """The last input in each place's window is there."""
        positions = present.shape
        size, stride, dilation = self._window(positions, "layer")
        after = self.after(Signal(1, positions), "layer").positions
        given = zip(after, self._pads(positions), size, stride, dilation, strict=True)
        return taken(
            present,
            [-(-(np.arange(n) + d * (k - 1) - sum(pad)) // s) for n, pad, k, s, d in given],
        )

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """`eqx.nn.ConvTranspose`."""
        size, stride, dilation = self._window(signal.positions, "layer")
        given = super()._pads(signal.positions)
        module = eqx.nn.ConvTranspose(
            len(signal.positions),
            signal.features,
            self.features,
            size,
            stride,
            padding=given,
            dilation=dilation,
            key=key,
        )
        return self.drawn(module, key)
