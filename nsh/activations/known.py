"""The activations that have a name. To add one, add an entry to `ACTIVATIONS`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh._checks import require
from nsh.activations.activation import Activation
from nsh.activations.closed_duals import Erf, Gelu, Jump, ScaleInvariant, Waves


def leaky_relu(slope: float = 0.01) -> Activation:
    """s(z) = z for z > 0 and ``slope * z`` for z < 0; raises `ValueError` unless slope is finite.

    `slope` = 0 is ReLU, 1 is linear, -1 the absolute value.

    Example:
        >>> from nsh.activations import leaky_relu
        >>> leaky_relu(0.5).slopes
        (0.5, 1.0)
    """
    require(np.isfinite(slope), "slope", slope, "a finite number")
    return _leaky_relu(f"leaky_relu({float(slope):g})", float(slope))


def _leaky_relu(name: str, slope: float) -> Activation:
    kinks = () if slope == 1 else (0.0,)
    dual, gain = ScaleInvariant((slope, 1.0)), 2 / (1 + slope**2)
    return Activation(name, partial(_bent, slope), kinks, dual, gain)


def _bent(slope: float, z: Array) -> Array:
    return jnp.where(z > 0, z, slope * z)


def _linear(z: Array) -> Array:
    return z


def _step(z: Array) -> Array:
    return jnp.heaviside(z, 0.5)


_gelu = partial(jax.nn.gelu, approximate=False)

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        known.name: known
        for known in (
            Activation("linear", _linear, dual=ScaleInvariant((1.0, 1.0))),
            Activation("relu", jax.nn.relu, (0.0,), ScaleInvariant((0.0, 1.0)), gain=2.0),
            _leaky_relu("leaky_relu", 0.01),
            Activation("tanh", jnp.tanh),
            Activation("sin", jnp.sin, dual=Waves((0.0, 0.0, 1.0, 0.0, 1.0))),
            Activation("erf", jax.scipy.special.erf, dual=Erf()),
            Activation("gelu", _gelu, dual=Gelu(), gain=2.0),
            Activation("swish", jax.nn.silu, gain=2.0),
            Activation("softplus", jax.nn.softplus),
            Activation("sigmoid", jax.nn.sigmoid),
            Activation("elu", jax.nn.elu),
            Activation("selu", jax.nn.selu, (0.0,)),
            Activation("hard_tanh", jax.nn.hard_tanh, (-1.0, 1.0)),
        )
    }
)
"""The activations known by name: to networks, theories, study files and `nsh criticality`.

Example:
    >>> from nsh.activations import ACTIVATIONS
    >>> ACTIVATIONS["hard_tanh"].kinks
    (-1.0, 1.0)
"""

SIGN = Activation("sign", jnp.sign, (0.0,), Jump(-1.0, 1.0))
"""s(z) = -1 or 1: for kernels of `nsh.theory.effective.layers`, whose training sees no slope.

Example:
    >>> from nsh.activations import SIGN
    >>> SIGN(jnp.array([-2.0, 3.0])).tolist()
    [-1.0, 1.0]
"""

STEP = Activation("step", _step, (0.0,), Jump(0.0, 1.0))
"""s(z) = 0 or 1, as `SIGN`.

Example:
    >>> from nsh.activations import STEP
    >>> STEP(jnp.array([-2.0, 3.0])).tolist()
    [0.0, 1.0]
"""
