"""Numbers of a function at places, known while other code is being traced."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh._types import DTypeLike


def sampled(function: Callable[[Array], Array], z: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """function(z), computed in `dtype` and given in 64 bits."""
    with jax.ensure_compile_time_eval():
        given = jnp.asarray(z, dtype)
        # compiled ahead: one program, which no trace around it takes over
        return np.asarray(jax.jit(function).lower(given).compile()(given), np.float64)
