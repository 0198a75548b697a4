"""Images of another size, by interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from nsh._checks import require, require_integer
from nsh.theory.effective.layers.covariance import Covariance
from nsh.theory.effective.layers.layer import Layer, Module, Signal, require_positions

METHODS = "nearest", "linear", "cubic", "lanczos3", "lanczos5"
PRECISION = jax.lax.Precision.HIGHEST


def as_shape(given: Any) -> tuple[int, ...]:
    """Integers >= 1."""
    require(isinstance(given, Sequence), "shape", given, "a tuple of integers, one for each axis")
    return tuple(require_integer(f"shape[{i}]", size, 1) for i, size in enumerate(given))


class Resize(Layer):
    """Positions interpolated to another `shape`, as `jax.image.resize` does it.

    ``K'(p, q) = sum_rs R(p, r) R(q, s) K(r, s)``, Theta alike, with the interpolation's weights R
    along each axis. `method`: "nearest" (default), "linear", "cubic", "lanczos3" or "lanczos5".

    Raises `ValueError` for another method, a shape with another number of axes than the inputs'
    positions, and inputs of which not all positions are there.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> network = layers.Serial(layers.Resize((4,)), layers.Flatten())
        >>> kernels(network, jnp.array([[[1.0, 3.0]]])).nngp.tolist()  # 1 1 3 3
        [[5.0]]
    """

    shape: tuple[int, ...] = eqx.field(static=True, converter=as_shape)
    method: str = eqx.field(static=True, default="nearest")

    def __check_init__(self):
        require(self.method in METHODS, "method", self.method, f"one of {', '.join(METHODS)}")

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_positions(signal, place)
        d = len(signal.positions)
        require(len(self.shape) == d, f"{place}.shape", self.shape, f"{d}, one for each axis")
        allowed = "all of them: no size of their own after it"
        require(not signal.masked, f"{place}: positions that are there", "not all", allowed)
        return signal._replace(positions=self.shape, graph=False)

    def needs_all_pairs(self, after: bool) -> bool:
        """See `Layer.needs_all_pairs`."""
        return after or self.method != "nearest"

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        weights = [
            jax.image.resize(jnp.eye(before), (size, before), self.method, precision=PRECISION)
            for before, size in zip(covariance.positions, self.shape, strict=True)
        ]

        def resized(array: Array, weights: Sequence[Array]) -> Array:
            for i, matrix in enumerate(weights):
                for axis in covariance.axes(i):
                    found = jnp.tensordot(matrix, array, (1, axis), precision=PRECISION)
                    array = jnp.moveaxis(found, 0, axis)
            return array

        found = covariance.map(lambda array: resized(array, weights))
        if covariance.error is None:
            return found
        sizes = [jnp.abs(matrix) for matrix in weights]
        error = jax.tree.map(lambda array: resized(array, sizes), covariance.error)
        return found.changed(found.nngp, found.ntk, error)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:  # noqa: ARG002
        """`eqx.nn.Lambda` of `jax.image.resize`."""
        shape, method = (signal.features, *self.shape), self.method
        return eqx.nn.Lambda(lambda x: jax.image.resize(x, shape, method, precision=PRECISION))
