"""LayerNorm and dropout."""

from __future__ import annotations

from dataclasses import KW_ONLY
from functools import partial
from numbers import Real

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from nsh._checks import is_concrete, require
from nsh.activations.arccos import safe_sqrt
from nsh.theory.effective.infinite_width.errors import Errors
from nsh.theory.effective.layers.covariance import Covariance
from nsh.theory.effective.layers.layer import (
    Layer,
    Module,
    Number,
    Signal,
    as_variance,
    require_numbers,
)


class LayerNorm(Layer):
    """Features divided by their standard deviation: at each position, or over all of them.

    ``K'(a, b) = K(a, b) / sqrt((K(a, a) + eps) (K(b, b) + eps))``, and Theta is divided alike: at
    infinite width the scale of one input does not depend on single weights. K(a, a) is of one
    position, or the mean of all with `over_positions` (as `equinox.nn.LayerNorm` of a whole
    image). The mean over features is 0, as they come from weights. Trained scales and shifts
    (all 1 and 0 at first) add ``lambda_scale K' + lambda_shift`` to Theta; with `over_positions`
    each position has its own, so that they add to equal positions alone.

    Raises `ValueError` for features that do not come from weights, and for bad numbers.
    Differentiable.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> network = layers.Serial(layers.Dense(64), layers.LayerNorm(eps=0.0))
        >>> kernels(network, jnp.array([[3.0], [-2.0]])).nngp.round(4).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """

    _: KW_ONLY
    over_positions: bool = eqx.field(static=True, default=False)
    eps: Number = eqx.field(default=1e-5, converter=partial(as_variance, "eps"))
    lambda_scale: Number = eqx.field(default=0.0, converter=partial(as_variance, "lambda_scale"))
    lambda_shift: Number = eqx.field(default=0.0, converter=partial(as_variance, "lambda_shift"))

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        allowed = "one of weights, such as Dense: whose features have mean 0"
        require(signal.gaussian, f"{place}: the layer before", "not Gaussian", allowed)
        return signal

    def _divided(self, covariance: Covariance, scale: Array) -> Covariance:
        nngp, ntk = covariance.nngp * scale, covariance.ntk * scale
        error = covariance.error
        if error is not None:
            of_K, of_Theta = error.K * scale, error.Theta * scale
            error = Errors(of_K, of_Theta + self.lambda_scale * of_K)
        trained = self.lambda_scale * nngp + self.lambda_shift
        if self.over_positions:  # scales and shifts of each position's own
            trained = covariance.only_same_positions(trained)
        ntk = ntk + trained
        return covariance.changed(nngp, ntk, error)

    def of_one(self, covariance: Covariance, all_pairs: bool) -> tuple[Covariance, Array]:
        """See `Layer.of_one`."""
        variance = covariance.variances()
        if self.over_positions:
            present = covariance.sides[0].present
            mean = jnp.mean(variance)
            if present is not None:
                mean = jnp.mean(variance, where=present)
            variance = jnp.broadcast_to(mean, variance.shape)
        root = safe_sqrt(variance + self.eps)
        inverse = jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1.0), 0.0)
        return self.of_pairs(covariance, inverse, inverse, all_pairs), inverse

    def of_pairs(self, covariance: Covariance, a: Array, b: Array, all_pairs: bool) -> Covariance:  # noqa: ARG002
        """See `Layer.of_pairs`."""
        scale = jnp.multiply.outer(a, b) if covariance.all_pairs else a * b
        return self._divided(covariance, scale)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:  # noqa: ARG002
        """`eqx.nn.LayerNorm` over positions, or a module that takes each position alone."""
        rates = self.lambda_scale, self.lambda_shift
        trained = not is_concrete(rates) or any(np.asarray(rate) > 0 for rate in rates)
        require(is_concrete(self.eps), "eps", self.eps, "known, of a network that is built")
        return Normalised(signal, self.over_positions, float(np.asarray(self.eps)), trained)

    def rates(self, module: Normalised) -> PyTree:
        """See `Layer.rates`."""
        if module.scale is None:
            return module
        rates = self.lambda_scale, self.lambda_shift
        return eqx.tree_at(lambda m: (m.scale, m.shift), module, rates)


class Normalised(eqx.Module):
    """What `LayerNorm` builds."""

    scale: Float[Array, "features ..."] | None
    shift: Float[Array, "features ..."] | None
    over_positions: bool = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(self, signal: Signal, over_positions: bool, eps: float, trained: bool):
        shape = signal.features, *(signal.positions if over_positions else ())
        self.scale = jnp.ones(shape) if trained else None
        self.shift = jnp.zeros(shape) if trained else None
        self.over_positions = over_positions
        self.eps = eps

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:  # noqa: ARG002
        """Of one input [features, *positions]."""
        axes = tuple(range(x.ndim)) if self.over_positions else (0,)
        x = (x - jnp.mean(x, axes, keepdims=True)) / jnp.sqrt(
            jnp.var(x, axes, keepdims=True) + self.eps
        )
        if self.scale is None or self.shift is None:
            return x
        more = (1,) * (x.ndim - self.scale.ndim)
        scale, shift = (one.reshape(*one.shape, *more) for one in (self.scale, self.shift))
        return x * scale + shift


class Dropout(Layer):
    """Features set to 0 with probability p, others divided by 1 - p: in training.

    The mean over masks, which every input has of its own: an input's variance is divided by
    1 - p, and so is its Theta; pairs of different inputs, or positions, do not change. In
    inference dropout does nothing: leave it out. Where an input is compared with itself as two
    inputs, the two have masks of their own.

    Raises `ValueError` unless 0 <= p < 1.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> network = layers.Serial(layers.Dense(8), "relu", layers.Dropout(0.5))
        >>> kernels(network, jnp.array([[2.0], [4.0]])).nngp.round(4).tolist()
        [[4.0, 4.0], [4.0, 16.0]]
    """

    p: float = eqx.field(static=True)

    def __check_init__(self):
        fits = isinstance(self.p, Real) and 0 <= self.p < 1
        require(fits, "p", self.p, "a number in [0, 1)")

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_numbers(signal, place)
        return signal._replace(gaussian=signal.gaussian and self.p == 0)

    def of_one(self, covariance: Covariance, all_pairs: bool) -> tuple[Covariance, None]:  # noqa: ARG002
        """See `Layer.of_one`."""
        kept = 1 - self.p
        if not covariance.all_pairs:
            return covariance.map(lambda array: array / kept), None

        def divided(array: Array) -> Array:
            return array + (1 / kept - 1) * covariance.only_same_positions(array)

        return covariance.map(divided), None

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        return covariance

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:  # noqa: ARG002
        """`eqx.nn.Dropout`, which takes a key."""
        return eqx.nn.Dropout(self.p)
