"""Where amplification factors and class weights start."""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from nsh._checks import is_concrete, require
from nsh._shown import Shown
from nsh._types import ArrayLike


def _number(value: ArrayLike) -> Float[Array, ""]:
    return jnp.asarray(value, dtype=float)


class Initializer(Shown):
    """A distribution of factors before training (arXiv 2112.09741: zero, constant or random)."""

    @abc.abstractmethod
    def log_sample(self, key: Key[Array, ""], count: int) -> Float[Array, " count"]:
        """Logarithms of `count` independent draws; -inf for zero."""


class Constant(Initializer):
    """The same value >= 0 for all; 0 suits only rules whose g+(0) > 0, such as `Additive`.

    Differentiable where the value is > 0. At 0 derivatives are NaN: states hold logarithms.

    Example:
        >>> from nsh.neurashed import Constant
        >>> Constant(1.0).log_sample(jax.random.key(0), 3).tolist()
        [0.0, 0.0, 0.0]
    """

    value: Float[Array, ""] = eqx.field(converter=_number)

    def __check_init__(self):
        if is_concrete(self.value):
            require(self.value.ndim == 0, "value.shape", self.value.shape, "(), one number for all")
            require(0 <= self.value < jnp.inf, "value", float(self.value), ">= 0 and finite")

    def log_sample(self, key: Key[Array, ""], count: int) -> Float[Array, " count"]:  # noqa: ARG002
        """See `Initializer.log_sample`."""
        return jnp.full(count, jnp.log(self.value))


class Uniform(Initializer):
    """Uniform on (low, high] with 0 <= low < high. Differentiable in both ends (reparametrised).

    Example:
        >>> from nsh.neurashed import Uniform
        >>> draws = jnp.exp(Uniform(1.0, 3.0).log_sample(jax.random.key(0), 10_000))
        >>> round(float(draws.mean()), 1)
        2.0
    """

    low: Float[Array, ""] = eqx.field(converter=_number, default=0.0)
    high: Float[Array, ""] = eqx.field(converter=_number, default=0.01)

    def __check_init__(self):
        if is_concrete((self.low, self.high)):
            for name in ("low", "high"):
                shape = getattr(self, name).shape
                require(shape == (), f"{name}.shape", shape, "(), one number for all")
            require(0 <= self.low < jnp.inf, "low", float(self.low), ">= 0 and finite")
            allowed = f"above low = {float(self.low)} and finite"
            require(self.low < self.high < jnp.inf, "high", float(self.high), allowed)

    def log_sample(self, key: Key[Array, ""], count: int) -> Float[Array, " count"]:
        """See `Initializer.log_sample`."""
        # 1 - u is never 0: a factor of exactly 0 would be dead for good under geometric rules
        share = 1 - jax.random.uniform(key, (count,), self.low.dtype)
        return jnp.log(self.low + (self.high - self.low) * share)
