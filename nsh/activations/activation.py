"""Activations as values: the function, where its derivative jumps, what is known exactly."""

from __future__ import annotations

import equinox as eqx
from jaxtyping import Array, Float

from nsh.activations.closed_duals import ScaleInvariant
from nsh.activations.pairs import Dual
from nsh.activations.program import Elementwise, derivative


class Activation(eqx.Module):
    """A scalar function s(z), with all that theories and networks know of it.

    `kinks`: the places where s' jumps; quadrature breaks there, and s'' is 0 there, the delta
    functions being left out (the convention under which the theory's formulas hold for ReLU).
    `dual`: the closed form of its kernels, such as a `ClosedDual`; None: theories expand s.
    `gain`: networks for the digits start with hidden weights of variance gain / fan-in: 1 (LeCun),
    or 2 for rectifiers (He et al., arXiv 1502.01852).

    Example:
        >>> from nsh.activations import ACTIVATIONS
        >>> relu = ACTIVATIONS["relu"]
        >>> relu.kinks, relu.slopes, relu.gain
        ((0.0,), (0.0, 1.0), 2.0)
    """

    name: str = eqx.field(static=True)
    function: Elementwise = eqx.field(static=True)
    kinks: tuple[float, ...] = eqx.field(static=True, default=())
    dual: Dual | None = eqx.field(static=True, default=None)
    gain: float = eqx.field(static=True, default=1.0)

    def __call__(self, z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """s(z), elementwise."""
        return self.function(z)

    @property
    def slopes(self) -> tuple[float, float] | None:
        """(a-, a+) if s(z) = a- z for z < 0 and a+ z for z > 0 (scale-invariant), else None."""
        return self.dual.slopes if isinstance(self.dual, ScaleInvariant) else None

    def derivative(self, z: Float[Array, "*shape"], order: int = 1) -> Float[Array, "*shape"]:
        """The derivative of s of the given order, elementwise, by automatic differentiation."""
        function = self.function
        for _ in range(order):
            function = derivative(function)
        return function(z)


ActivationLike = str | Elementwise | Activation
"""A name of `ACTIVATIONS`, an elementwise JAX function, or an `Activation`."""
