"""Activations as values: the function, its derivatives, where these jump, what is known exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import require

Elementwise = Callable[[Array], Array]
WIDEST = 20.0  # kinks are looked for in [-WIDEST, WIDEST]


class Activation(eqx.Module):
    """A scalar function s(z) as the theory needs it; make one by `as_activation`.

    `kinks`: the places where s' jumps; quadrature breaks there, and s'' is 0 there, the delta
    functions being left out (the convention under which the theory's formulas hold for ReLU).
    `slopes`: (a-, a+) if s(z) = a- z for z < 0 and a+ z for z > 0 (scale-invariant), else None.
    """

    name: str = eqx.field(static=True)
    function: Elementwise = eqx.field(static=True)
    kinks: tuple[float, ...] = eqx.field(static=True, default=())
    slopes: tuple[float, float] | None = eqx.field(static=True, default=None)

    def __call__(self, z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """s(z), elementwise."""
        return self.function(z)

    def derivative(self, z: Float[Array, "*shape"], order: int = 1) -> Float[Array, "*shape"]:
        """The derivative of s of the given order, elementwise, by automatic differentiation."""
        function = self.function
        for _ in range(order):
            function = _derivative(function)
        return function(z)


def _derivative(function: Elementwise) -> Elementwise:
    return lambda z: jax.jvp(function, (z,), (jnp.ones_like(z),))[1]


def leaky_relu(slope: float = 0.01) -> Activation:
    """s(z) = z for z > 0 and ``slope * z`` for z < 0; raises `ValueError` unless slope is finite.

    `slope` = 0 is ReLU, 1 is linear, -1 the absolute value.
    """
    require(np.isfinite(slope), "slope", slope, "a finite number")
    slope = float(slope)
    kinks = () if slope == 1 else (0.0,)
    return Activation(
        f"leaky_relu({slope:g})", partial(_leaky_relu, slope), kinks, slopes=(slope, 1.0)
    )


def _leaky_relu(slope: float, z: Array) -> Array:
    return jnp.where(z > 0, z, slope * z)


def _linear(z: Array) -> Array:
    return z


_gelu = partial(jax.nn.gelu, approximate=False)

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        known.name: known
        for known in (
            Activation("linear", _linear, slopes=(1.0, 1.0)),
            Activation("relu", jax.nn.relu, (0.0,), slopes=(0.0, 1.0)),
            Activation("leaky_relu", leaky_relu().function, (0.0,), slopes=(0.01, 1.0)),
            Activation("tanh", jnp.tanh),
            Activation("sin", jnp.sin),
            Activation("erf", jax.scipy.special.erf),
            Activation("gelu", _gelu),
            Activation("swish", jax.nn.silu),
            Activation("softplus", jax.nn.softplus),
            Activation("sigmoid", jax.nn.sigmoid),
            Activation("elu", jax.nn.elu),
            Activation("selu", jax.nn.selu, (0.0,)),
            Activation("hard_tanh", jax.nn.hard_tanh, (-1.0, 1.0)),
        )
    }
)
"""The activations known by name."""


def as_activation(given: Any) -> Activation:
    """An `Activation` from a name of `ACTIVATIONS` or any elementwise JAX function.

    Of a function, kinks and scale invariance are found numerically (once, outside any trace): a
    kink is a jump of s' in [-20, 20] that does not shrink as the interval around it is halved.
    Raises `ValueError` for unknown names, functions that are not elementwise, that jump, or whose
    value or derivative is not finite somewhere in that interval.
    """
    if isinstance(given, Activation):
        return given
    if isinstance(given, str):
        require(given in ACTIVATIONS, "activation", given, f"one of {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[given]
    name = getattr(given, "__name__", type(given).__name__)
    require(callable(given), "activation", given, "a name, an elementwise function or Activation")
    with jax.ensure_compile_time_eval():
        kinks = _kinks(name, given)
        slopes = _slopes(given, kinks)
    return Activation(name, given, kinks, slopes)


def _kinks(name: str, function: Elementwise) -> tuple[float, ...]:
    """Where s' jumps, by bisection of every interval of a grid at once."""
    # 0, where most kinks are, is no point of the grid, nor is any simple fraction
    grid = jnp.linspace(-WIDEST, WIDEST, 4096) + 1.2345e-4

    def look(z: Array) -> tuple[np.ndarray, np.ndarray]:
        value, slope = jax.jvp(function, (z,), (jnp.ones_like(z),))
        require(value.shape == z.shape, f"activation {name}", value.shape, f"of shape {z.shape}")
        for what, found in (("value", value), ("derivative", slope)):
            at = np.asarray(z)[~np.isfinite(np.asarray(found))]
            require(at.size == 0, f"{what} of activation {name} at z", at[:1], "finite everywhere")
        return np.asarray(value, float), np.asarray(slope, float)

    low, high = np.asarray(grid[:-1], float), np.asarray(grid[1:], float)
    value, slope = look(grid)
    left, right = np.stack([value, slope])[:, :-1], np.stack([value, slope])[:, 1:]
    for _ in range(12):  # down to 2e-6 wide; narrower, the rounding of 32 bits shows
        middle = (low + high) / 2
        between = np.stack(look(jnp.asarray(middle, grid.dtype)))
        goes_left = np.abs(between - left).sum(0) > np.abs(right - between).sum(0)
        low, high = np.where(goes_left, low, middle), np.where(goes_left, middle, high)
        left, right = np.where(goes_left, left, between), np.where(goes_left, between, right)
    jump = np.abs(right - left)
    scale = np.max(np.abs(slope))
    steps = (low + high)[jump[0] > 1e-3 * max(np.max(np.abs(value)), scale)] / 2
    require(steps.size == 0, f"activation {name} jumps at z", steps[:1], "continuous")
    places = (low + high)[jump[1] > 1e-3 * scale] / 2
    return tuple(float(np.round(place, 4)) + 0.0 for place in places)


def _slopes(function: Elementwise, kinks: tuple[float, ...]) -> tuple[float, float] | None:
    """(a-, a+) of a scale-invariant function, else None."""
    if any(kinks):
        return None
    z = jnp.asarray([0.01, 0.3, 1.0, 1e3])
    below, above = (np.asarray(function(sign * z), float) / float(sign) for sign in (-1.0, 1.0))
    slopes = below[2], above[2]
    straight = all(
        np.allclose(side, slope * np.asarray(z), rtol=1e-5, atol=1e-7)
        for side, slope in zip((below, above), slopes, strict=True)
    )
    return (float(slopes[0]) + 0.0, float(slopes[1]) + 0.0) if straight else None
