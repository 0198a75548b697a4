"""A bound on the generalisation gap that can be computed from a trained network and its data."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_numbers, is_concrete, require, require_all, require_integer
from nsh.theory.two_layer.checks import require_positive


def clipped_squared_error(
    output: Float[Array, "..."], y: Float[Array, "..."], largest: float
) -> Float[Array, "..."]:
    """``min((output - y)^2 / 2, largest)``: in [0, largest], of Lipschitz constant sqrt(2 largest).

    Differentiable where it is not at `largest`. Raises `ValueError` unless largest > 0 and both
    have one shape, or y is one number: outputs [n] less y [n, 1] would be n^2 differences.

    Example:
        >>> from nsh.theory.two_layer import clipped_squared_error
        >>> output, y = jnp.array([0.0, 3.0]), jnp.array([1.0, 0.0])
        >>> clipped_squared_error(output, y, largest=1.0).tolist()
        [0.5, 1.0]
    """
    output, y = as_numbers("output", output, None), as_numbers("y", y, None)
    shape = jnp.shape(output)
    require(jnp.shape(y) in ((), shape), "y.shape", jnp.shape(y), f"{shape}, as output's")
    require_positive("largest", largest)
    gap = output - y.astype(output.dtype)
    return jnp.minimum(gap**2 / 2, jnp.asarray(largest, output.dtype))


def generalisation_bound(
    norm: Float[Array, "*shape"],
    complexity: Float[Array, "*shape"] | Float[Array, ""],
    samples: int,
    *,
    lipschitz: float,
    largest: float,
    failure: float = 0.05,
) -> Float[Array, "*shape"]:
    """A bound on risk minus training error, holding with probability 1 - failure.

    ``2 lipschitz Q R + 3 largest sqrt(ln(2 k (k + 1) / failure) / (2 n))``, Q = k the path norm
    rounded up to an integer: Mohri, Rostamizadeh, Talwalkar, Foundations of Machine Learning (2nd
    edition), Theorem 3.3, for the loss on the networks of path norm at most k, at confidence
    ``failure / (k (k + 1))``, which sum to `failure`, so that k may depend on the data. It holds
    for every network at once, whatever trained it.

    `norm`: `path_norm` of the trained network; `complexity`: empirical Rademacher complexity of
    path norm 1 on the n = `samples` training inputs, or `rademacher_bound`. `lipschitz` and
    `largest`: of the loss, which lies in [0, largest]. A step function of `norm`; differentiable
    in `complexity`. Raises `ValueError` on numbers out of range.

    Example:
        >>> from nsh.theory.two_layer import generalisation_bound
        >>> one, tenth = jnp.array(1.0), jnp.array(0.1)
        >>> round(float(generalisation_bound(one, tenth, 100, lipschitz=1.0, largest=0.5)), 4)
        0.422
    """
    require_integer("samples", samples, 1)
    require_positive("lipschitz", lipschitz)
    require_positive("largest", largest)
    for field, value in (("norm", norm), ("complexity", complexity)):
        if is_concrete(value):
            require_all(np.asarray(value) >= 0, field, value, ">= 0")
    require(0 < failure < 1, "failure", failure, "between 0 and 1")
    stratum = jnp.maximum(jnp.ceil(norm), 1)
    doubt = math.log(2 / failure) + jnp.log(stratum) + jnp.log1p(stratum)
    deviation = 3 * largest * jnp.sqrt(doubt / (2 * samples))
    return 2 * lipschitz * stratum * complexity + deviation
