"""How large f is at an independent start."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh._checks import require_scalar
from nsh.activations.gaussian import gaussian
from nsh.theory.two_layer.checks import as_inputs, require_positive
from nsh.theory.two_layer.network import TwoLayer


def initial_variance(
    network: TwoLayer, x: Float[Array, "n inputs"], alpha: Float[Array, ""] | float
) -> Float[Array, ""]:
    """``m E ||f_m||^2`` of m units with u, theta ~ N(0, 1) independent, as `Independent` draws.

    ``alpha^2 outputs mean_i E s(z)^2``, ``z ~ N(0, |x_i|^2)``: the same for every m; the infinite
    width has f = 0. ``||f||^2`` is the mean over inputs x of ``|f(x)|^2``. To the accuracy of
    one-dimensional quadrature, for any number of inputs. Differentiable.
    Raises `ValueError` on x of another shape or not finite, and unless alpha is a number > 0.

    Example:
        >>> from nsh.theory.two_layer import Independent, TwoLayer, initial_variance
        >>> round(float(initial_variance(TwoLayer(1, Independent(4)), jnp.ones((1, 1)), 1.0)), 4)
        0.5
    """

    x = as_inputs(network, "x", x, None)
    require_scalar("alpha", alpha)
    require_positive("alpha", alpha)

    def square(K: Float[Array, ""]) -> Float[Array, ""]:
        nodes = gaussian(K, network.activation)
        return nodes.mean(network.activation(nodes.z) ** 2)

    size = network.out_size * jnp.mean(jax.vmap(square)(jnp.sum(x**2, axis=-1)))
    return jnp.asarray(alpha, x.dtype) ** 2 * size
