"""The law of hidden units that represents a network with the least variance."""

from __future__ import annotations

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from nsh.theory.two_layer.checks import as_inputs, require_particles
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles


def feature_norms(
    network: TwoLayer, particles: Particles, x: Float[Array, "n inputs"]
) -> Float[Array, " width"]:
    """``||h_j|| = sqrt(mean_i s(theta_j . x_i)^2)`` of each hidden unit over inputs x.

    Differentiable; the derivative is 0 where a unit is 0 on all of x.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, feature_norms
        >>> network = TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]]))
        >>> particles = network.init(jax.random.key(0), {"alpha": 1.0})
        >>> feature_norms(network, particles, jnp.array([[3.0]])).tolist()
        [6.0]
    """
    require_particles(particles, network)
    x = as_inputs(network, "x", x, particles.theta.dtype)
    hidden = network.activation(particles.theta @ x.T)
    return optax.safe_norm(hidden, 0.0, axis=-1) / len(x) ** 0.5


def optimal_distribution(
    network: TwoLayer, particles: Particles, x: Float[Array, "n inputs"]
) -> Float[Array, " width"]:
    """``p*_j ~ |rho_j| ||h_j||``, ``rho_j = mass_j u_j``: probabilities of the particles.

    Of all laws to draw units from, the one of least `sampling_variance` on inputs x; it follows
    by the Cauchy-Schwarz inequality (feature repopulation: Fang, Dong, Zhang, arXiv 2012.13982;
    for two layers, arXiv 1910.11508). |.| is the Euclidean norm over outputs. Particles with the
    same theta count one by one: merge them first for less. A network that is 0 in every unit
    keeps its masses. Differentiable.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, optimal_distribution
        >>> network = TwoLayer(1, FromArrays(u=[[1.0], [3.0]], theta=[[1.0], [1.0]]))
        >>> particles = network.init(jax.random.key(0), {"alpha": 1.0})
        >>> optimal_distribution(network, particles, jnp.ones((1, 1))).tolist()
        [0.25, 0.75]
    """
    size = jnp.abs(particles.mass) * optax.safe_norm(particles.u, 0.0, axis=-1)
    share = size * feature_norms(network, particles, x)
    total = jnp.sum(share)
    none = total == 0  # not so for NaN, which stays
    return jnp.where(none, particles.mass, share / jnp.where(none, 1, total))
