"""Fully connected layers, and elementwise functions between layers of weights."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from nsh._checks import plain_integer, require, require_integer
from nsh.activations import Activation, as_activation
from nsh.activations.pairs import Dual, InputMoments
from nsh.theory.effective.infinite_width.dual import dual_of
from nsh.theory.effective.infinite_width.errors import Errors, floored, of_activation
from nsh.theory.effective.infinite_width.gap import gap_of, product
from nsh.theory.effective.infinite_width.hermite import TERMS
from nsh.theory.effective.layers.covariance import Covariance
from nsh.theory.effective.layers.layer import Layer, Module, Signal, Weights, require_numbers


class Dense(Weights):
    """Fully connected layer ``b + W x`` of `features` outputs, at every position alike.

    ``K' = C_b + C_W K`` and ``Theta' = lambda_b + lambda_W K + C_W Theta`` (Roberts, Yaida, Hanin,
    arXiv 2106.10165, eqs. 4.8 and 9.5), K and Theta being means over the inputs' features.

    Raises `ValueError` unless `features` is an integer >= 1 and all numbers are finite and >= 0.
    Differentiable by these numbers.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> kernels(layers.Dense(1, C_W=2.0), jnp.array([[3.0]])).nngp.tolist()  # 2 x x
        [[18.0]]
    """

    features: int = eqx.field(static=True, converter=plain_integer)

    def __check_init__(self):
        require_integer("features", self.features, 1)

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_numbers(signal, place)
        return signal.of_weights(self.features)

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        return self.weighted(covariance)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """`eqx.nn.Linear`, or a convolution of one position where there are positions."""
        sizes = signal.features, self.features
        if not signal.positions:
            return self.drawn(eqx.nn.Linear(*sizes, key=key), key)
        module = eqx.nn.Conv(len(signal.positions), *sizes, kernel_size=1, key=key)
        return self.drawn(module, key)


class Elementwise(Layer):
    """An activation between layers of weights: a name, a function or an `Activation`.

    ``K' = <s_a s_b>`` and ``Theta' = <s'_a s'_b> Theta`` of Gaussian preactivations (see `dual`).
    In a `Serial` the activation alone does.

    Without closed form it is expanded: `terms` as in `dual`; `ramps` False leaves out the ramps.
    The Hermite series alone is some ten times faster, and good for smooth functions at variances
    up to about 2: some 30 terms give 1e-4. Look at the `error` of the kernels.

    Raises `ValueError` as `as_activation` does, and where preactivations are not Gaussian.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> network = layers.Serial(layers.Dense(64), layers.Elementwise("relu"))
        >>> kernels(network, jnp.array([[2.0]])).nngp.tolist()  # half of 2 x 2
        [[2.0]]
    """

    activation: Activation = eqx.field(converter=as_activation)
    terms: int = eqx.field(static=True, default=TERMS, converter=plain_integer)
    ramps: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        require_integer("terms", self.terms, 2)
        allowed = f"True, for kinks at {self.activation.kinks} are none of a series"
        require(self.ramps or not self.activation.kinks, "ramps", self.ramps, allowed)

    def _dual(self) -> Dual:
        return dual_of(self.activation, self.terms, ramps=self.ramps)

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        allowed = "one of weights, such as Dense, directly or before pooling: Gaussian"
        require(signal.gaussian, f"{place}: the layer before", "not Gaussian", allowed)
        return signal._replace(gaussian=False, uncorrelated=False)

    def of_one(
        self,
        covariance: Covariance,
        all_pairs: bool,  # noqa: ARG002
    ) -> tuple[Covariance, InputMoments]:
        """See `Layer.of_one`."""
        known = self._dual()
        moments = known.moments(covariance.variances().reshape(-1))
        shape = covariance.nngp.shape
        if not covariance.all_pairs:
            ntk = moments.slope.reshape(shape) * covariance.ntk
            return covariance.changed(moments.square.reshape(shape), ntk, None), moments
        result = self._pairs(covariance, moments.as_rows(), moments.as_columns())
        count = moments.K.size
        same = jnp.eye(count, dtype=bool).reshape(shape)
        square, slope = (
            jnp.broadcast_to(one, (count, count)).reshape(shape)
            for one in (moments.square, moments.slope)
        )
        nngp = jnp.where(same, square, result.nngp)
        ntk = jnp.where(same, slope * covariance.ntk, result.ntk)
        return covariance.changed(nngp, ntk, None), moments

    def of_pairs(
        self,
        covariance: Covariance,
        a: InputMoments,
        b: InputMoments,
        all_pairs: bool,  # noqa: ARG002
    ) -> Covariance:
        """See `Layer.of_pairs`."""
        if covariance.all_pairs:
            return self._pairs(covariance, a.as_rows(), b.as_columns())
        return self._pairs(covariance, a, b)

    def _pairs(self, covariance: Covariance, a: InputMoments, b: InputMoments) -> Covariance:
        known = self._dual()
        shape = np.broadcast_shapes(a.K.shape, b.K.shape)
        flat = covariance.map(lambda array: array.reshape(shape))
        gap = gap_of(a.K, b.K, flat.nngp)
        found = known.pairs(a, b, gap)
        error = flat.error
        if error is not None:
            of_K = error.K / floored(a.root_K * b.root_K)
            s, slope = of_activation(of_K, (a, b), gap, found)
            of_Theta = jnp.abs(found.slope) * error.Theta + jnp.abs(flat.ntk) * slope
            error = Errors(s, of_Theta)
        nngp = product(a.root_square, b.root_square, found.gap)
        result = flat.changed(nngp, found.slope * flat.ntk, error)
        return result.map(lambda array: array.reshape(covariance.nngp.shape))

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:  # noqa: ARG002
        """`eqx.nn.Lambda` of the activation."""
        return eqx.nn.Lambda(self.activation)


def as_layer(given: Any, place: str) -> Layer:
    """A layer as it is, and an activation as a layer."""
    if isinstance(given, Layer):
        return given
    try:
        return Elementwise(given)
    except ValueError as complaint:
        raise ValueError(f"{place}: {complaint}") from None
