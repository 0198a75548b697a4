"""Any function as an `Activation`: kinks and closed forms are found by looking at its numbers."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from nsh._checks import nearest, require
from nsh._types import DTypeLike
from nsh.activations.activation import Activation, ActivationLike
from nsh.activations.closed_duals import ScaleInvariant
from nsh.activations.kinks import look_at
from nsh.activations.known import ACTIVATIONS
from nsh.activations.pairs import Dual
from nsh.activations.program import Program
from nsh.activations.waves import waves_of


def as_activation(given: ActivationLike) -> Activation:
    """An `Activation` from a name of `ACTIVATIONS` or any elementwise JAX function.

    Functions that compute the same give equal activations, which share compiled programs: also a
    lambda that is made anew each time. Of a function, kinks and closed forms are found
    numerically (once, outside any trace): jumps of s' in [-100, 100]. Warns where a function
    varies too fast for the theory's quadrature.

    Raises `ValueError` for unknown names, and for functions that JAX cannot trace, that are not
    elementwise, that jump, whose value or derivative is not finite somewhere in [-20, 20], whose
    derivative grows without bound (the NTK of sqrt |z| is infinite), or with more than 32 kinks.

    Example:
        >>> from nsh.activations import as_activation
        >>> as_activation(lambda z: jnp.maximum(z, 0.0)).slopes
        (0.0, 1.0)
        >>> as_activation("hard_tanh").kinks
        (-1.0, 1.0)
    """
    if isinstance(given, Activation):
        return given
    if isinstance(given, str):
        allowed = f"one of {', '.join(ACTIVATIONS)}{nearest(given.lower(), ACTIVATIONS)}"
        require(given in ACTIVATIONS, "activation", given, allowed)
        return ACTIVATIONS[given]
    require(callable(given), "activation", given, "a name, an elementwise function or Activation")
    for known in ACTIVATIONS.values():
        if given is known.function:
            return known
    program = Program(getattr(given, "__name__", type(given).__name__), given)
    kinks, slopes, _ = look_at(program)
    if slopes is not None:
        dual = ScaleInvariant(slopes)
    else:
        dual = None if kinks else _smooth(program, jnp.zeros(()).dtype)
    return Activation(program.name, program, kinks, dual)


@functools.lru_cache(maxsize=256)
def _smooth(program: Program, dtype: DTypeLike) -> Dual | None:
    """The closed form of waves, or of a known activation that computes the same; else None."""
    if (waves := waves_of(program, dtype)) is not None:
        return waves
    for known in ACTIVATIONS.values():
        if known.dual is None or known.dual.exact:  # exact ones were found by their slopes
            continue
        if Program(known.name, known.function).computed == program.computed:
            return known.dual
    return None
