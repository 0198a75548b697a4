"""Functions that are equal if they compute the same, so that compiled programs are shared."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh._checks import require

Elementwise = Callable[[Array], Array]
ORDERS = 4  # the function and its first derivatives, which the theory looks at
_FAILURES = (TypeError, ValueError, AttributeError, IndexError, jax.errors.JAXTypeError)


class Program:
    """An elementwise function with what it computes, in the compiler's own language, as its key.

    The key holds the function and three derivatives, constants included. So a lambda made anew is
    equal to the one before, and one that closes over another constant is not. Raises `ValueError`
    for a function that JAX cannot trace or differentiate, or of another shape or type of numbers.
    """

    def __init__(self, name: str, function: Elementwise):
        self.name, self.function = name, function
        number = jnp.zeros((), float)
        allowed = f"a JAX function, such as jnp.{name}"
        require(not isinstance(function, np.ufunc), f"activation {name}", function, allowed)
        try:
            found = {z.shape: jax.eval_shape(function, z) for z in (number, jnp.zeros((2, 3)))}
            text = jax.jit(with_derivatives(function, ORDERS)).lower(number).as_text()
        except _FAILURES as error:
            allowed = f"an elementwise, differentiable JAX function of numbers; it raises: {error}"
            raise ValueError(f"activation {name} = {function!r}: must be {allowed}") from error
        for shape, out in found.items():
            got = getattr(out, "shape", out)
            require(got == shape, f"activation {name}", got, f"of shape {shape} where z is")
            kind = str(out.dtype)
            require(out.dtype == number.dtype, f"type of activation {name}", kind, "that of z")
        self.computed, self.key = text, (name, text)

    def __call__(self, z: Array) -> Array:
        """The function of z."""
        return self.function(z)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def with_derivatives(function: Elementwise, count: int) -> Callable[[Array], list[Array]]:
    """z -> [s(z), s'(z), ...], `count` of them, elementwise."""

    def every(z: Array) -> list[Array]:
        found, now = [], function
        for _ in range(count):
            found.append(now(z))
            now = derivative(now)
        return found

    return every


def derivative(function: Elementwise) -> Elementwise:
    """s', elementwise, by automatic differentiation."""
    return lambda z: jax.jvp(function, (z,), (jnp.ones_like(z),))[1]
