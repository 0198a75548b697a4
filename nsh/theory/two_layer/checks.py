"""Checks of what functions of a two-layer network are given: inputs, particles, laws of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all, require_numeric
from nsh._types import ArrayLike, DTypeLike
from nsh.theory.effective.prediction.matrices import as_shaped
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles


def as_inputs(
    network: TwoLayer, field: str, given: ArrayLike, dtype: DTypeLike | None
) -> Float[Array, "n inputs"]:
    """Inputs of the network, checked."""
    shape = (None, network.in_size)
    return as_shaped(field, given, shape, f"(n, {network.in_size}) with n >= 1", dtype)


def require_particles(
    particles: object, network: TwoLayer | None = None, field: str = "particles"
) -> None:
    """Raise `ValueError` unless these are the particles of one network, of this one if given."""
    if not isinstance(particles, Particles):
        raise ValueError(f"{field} = {type(particles).__name__}: must be Particles")
    width = particles.mass.shape[0] if particles.mass.ndim == 1 else "width"
    sizes: dict[str, str | int] = {"u": "outputs", "theta": "inputs"}
    if network is not None:
        sizes = {"u": network.out_size, "theta": network.in_size}
    wanted = {"mass": (width,), **{n: (width, s) for n, s in sizes.items()}, "alpha": ()}
    for name, shape in wanted.items():
        found = getattr(particles, name).shape
        fits = len(found) == len(shape) and all(
            isinstance(size, str) or size == there for size, there in zip(shape, found, strict=True)
        )
        text = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
        allowed = f"{text}, of one network; for an ensemble use jax.vmap"
        require(fits, f"{field}.{name}.shape", found, allowed)


def require_law(law: ArrayLike, width: int) -> None:
    """Raise `ValueError` unless these are probabilities of so many particles."""
    shape = np.shape(law)
    require(shape == (width,), "law.shape", shape, f"({width},), one for each particle")
    if is_concrete(law):
        numbers = require_numeric("law", law).astype(float)
        require_all(numbers >= 0, "law", numbers, "a probability >= 0")
        require(abs(numbers.sum() - 1) < 1e-4, "sum of law", float(np.sum(numbers)), "1")


def require_positive(field: str, value: ArrayLike) -> None:
    """Raise `ValueError` unless a number, if it is known, is finite and above 0."""
    if is_concrete(value):
        number = require_numeric(field, value)
        require_all((number > 0) & np.isfinite(number), field, number, "a finite number > 0")
