"""Activations as values: the function, its derivatives, where these jump, what is known exactly."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import require
from nsh.theory.effective.kinks import look_at
from nsh.theory.effective.program import Elementwise, Program, derivative


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
            function = derivative(function)
        return function(z)


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

    Functions that compute the same give equal activations, which share compiled programs: also a
    lambda that is made anew each time. Of a function, kinks and scale invariance are found
    numerically (once, outside any trace): jumps of s' in [-100, 100]. Warns where a function
    varies too fast for the theory's quadrature.

    Raises `ValueError` for unknown names, and for functions that JAX cannot trace, that are not
    elementwise, that jump, whose value or derivative is not finite somewhere in [-20, 20], whose
    derivative grows without bound (the NTK of sqrt |z| is infinite), or with more than 32 kinks.
    """
    if isinstance(given, Activation):
        return given
    if isinstance(given, str):
        require(given in ACTIVATIONS, "activation", given, f"one of {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[given]
    require(callable(given), "activation", given, "a name, an elementwise function or Activation")
    for known in ACTIVATIONS.values():
        if given is known.function:
            return known
    program = Program(getattr(given, "__name__", type(given).__name__), given)
    kinks, slopes, _ = look_at(program)
    return Activation(program.name, program, kinks, slopes)
