"""Rademacher complexity of two-layer networks of bounded path norm."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from nsh._checks import is_concrete, require_all, require_integer, require_key
from nsh.theory.two_layer.approximation.path_norm import largest_slope
from nsh.theory.two_layer.checks import as_inputs
from nsh.theory.two_layer.network import TwoLayer


def rademacher_bound(network: TwoLayer, x: Float[Array, "n inputs"]) -> Float[Array, ""]:
    """``2 L sqrt(mean_i |x_i|^2 / n)``: above the empirical Rademacher complexity of the class.

    The class: all networks with one output, of any width, with path norm at most 1; that of path
    norm Q is Q times as complex. A supremum over the class is one over single units of |theta| = 1
    and their negatives, ``E sup_theta |mean_i sigma_i s(theta . x_i)|``; the 2 is for the two
    signs, L, the largest slope of s, by contraction (Shalev-Shwartz, Ben-David, Understanding
    Machine Learning, Lemma 26.9), the rest by Jensen's inequality. Differentiable. Raises
    `ValueError` unless the activation is scale-invariant, and on x of another shape or not finite.

    Example:
        >>> from nsh.theory.two_layer import Independent, TwoLayer, rademacher_bound
        >>> round(float(rademacher_bound(TwoLayer(1, Independent(4)), jnp.array([[3.0]]))), 4)
        6.0
    """
    x = as_inputs(network, "x", x, None)
    square = jnp.mean(jnp.sum(x**2, axis=-1))
    return 2 * largest_slope(network) * jnp.sqrt(square / len(x))


def empirical_rademacher(
    network: TwoLayer,
    x: Float[Array, "n inputs"],
    directions: Float[Array, "directions inputs"],
    key: Key[Array, ""],
    draws: int,
) -> Float[Array, " draws"]:
    """``max_k |mean_i sigma_i s(theta_k . x_i)|`` for independent random signs sigma, draw by draw.

    Its mean estimates without bias the empirical Rademacher complexity of the networks with path
    norm at most 1 whose theta point in these directions; that of all (see `rademacher_bound`) is
    larger by at most ``L d mean_i |x_i|`` if no unit vector is farther than d from a direction.
    Differentiable. Raises `ValueError` unless the activation is scale-invariant, draws >= 1
    and no direction is zero.

    Example:
        >>> from nsh.theory.two_layer import Independent, TwoLayer, empirical_rademacher
        >>> network, one = TwoLayer(1, Independent(4)), jnp.ones((1, 1))
        >>> empirical_rademacher(network, one, one, jax.random.key(0), draws=3).tolist()
        [1.0, 1.0, 1.0]
    """
    require_integer("draws", draws, 1)
    require_key(key)
    largest_slope(network)
    x = as_inputs(network, "x", x, None)
    directions = as_inputs(network, "directions", directions, x.dtype)
    lengths = jnp.linalg.norm(directions, axis=-1)
    if is_concrete(lengths):
        require_all(np.asarray(lengths) > 0, "|directions|", lengths, "> 0")
    unit = directions / lengths[:, None]
    features = network.activation(x @ unit.T)
    # drawn flat, which compiles ten times faster on a CPU
    signs = jax.random.rademacher(key, (draws * len(x),), x.dtype).reshape(draws, len(x))
    return jnp.max(jnp.abs(signs @ features), axis=-1) / len(x)
