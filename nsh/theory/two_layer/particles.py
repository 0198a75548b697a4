"""The hidden units of a two-layer network as particles with mass."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh._shown import Shown


class Particles(Shown):
    """Hidden units: readout u_j, input weights theta_j, and the mass each one carries.

    A network of m units gives each the mass 1 / m; quadrature nodes of an infinitely wide one
    carry their weights. `alpha` is the dial, on which the network's output depends. Masses and
    alpha stay as they are in training.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer
        >>> network = TwoLayer(1, FromArrays(u=[[1.0], [3.0]], theta=[[2.0], [4.0]]))
        >>> network.init(jax.random.key(0), {"alpha": 1.0})
        Particles(u=[[1.], [3.]], theta=[[2.], [4.]], mass=[0.5, 0.5], alpha=1.)
    """

    u: Float[Array, "width outputs"]
    theta: Float[Array, "width inputs"]
    mass: Float[Array, " width"]
    alpha: Float[Array, ""]


def mean_over(particles: Particles, values: Array) -> Array:
    """``sum_j mass_j values_j`` of values [width, ...]: the mean over the particles."""
    return jnp.tensordot(particles.mass, values, axes=1)
