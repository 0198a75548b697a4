"""The hidden units of a two-layer network as particles with mass."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Particles(eqx.Module):
    """Hidden units: readout u_j, input weights theta_j, and the mass each one carries.

    A network of m units gives each the mass 1 / m; quadrature nodes of an infinitely wide one
    carry their weights. `alpha` is the dial, on which the network's output depends. Masses and
    alpha stay as they are in training.
    """

    u: Float[Array, "width outputs"]
    theta: Float[Array, "width inputs"]
    mass: Float[Array, " width"]
    alpha: Float[Array, ""]


def mean_over(particles: Particles, values: Array) -> Array:
    """``sum_j mass_j values_j`` of values [width, ...]: the mean over the particles."""
    return jnp.tensordot(particles.mass, values, axes=1)
