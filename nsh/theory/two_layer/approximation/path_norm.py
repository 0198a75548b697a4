"""The path norm of a two-layer network, and what it says about samples of it."""

from __future__ import annotations

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from nsh._checks import require
from nsh.theory.two_layer.checks import as_inputs, require_particles
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles


def path_norm(particles: Particles) -> Float[Array, ""]:
    """``alpha sum_j |mass_j| |u_j| |theta_j|``, with Euclidean norms over outputs and inputs.

    For scale-invariant activations the size of f as a combination of units with |theta| = 1; the
    Barron norm of f is its least value over all networks, of any width, that are f (E, Ma, Wu,
    arXiv 1906.08039, with the 2-norm of theta in place of the 1-norm). Differentiable.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, path_norm
        >>> network = TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]]))
        >>> float(path_norm(network.init(jax.random.key(0), {"alpha": 1.0})))
        2.0
    """
    require_particles(particles)
    size = optax.safe_norm(particles.u, 0.0, axis=-1)
    length = optax.safe_norm(particles.theta, 0.0, axis=-1)
    return particles.alpha * jnp.sum(jnp.abs(particles.mass) * size * length)


def largest_slope(network: TwoLayer) -> float:
    """L in ``|s(z) - s(z')| <= L |z - z'|``; `ValueError` unless s is scale-invariant."""
    activation = network.activation
    allowed = "scale-invariant, as relu or linear, for path norms to say anything"
    require(activation.slopes is not None, "activation", activation.name, allowed)
    return max(abs(slope) for slope in activation.slopes or ())


def approximation_bound(
    network: TwoLayer, particles: Particles, x: Float[Array, "n inputs"]
) -> Float[Array, ""]:
    """``L^2 path_norm^2 lambda_max(mean_i x_i x_i^T)``: above ``m E ||f_m - f||^2``.

    Holds for m units drawn from `optimal_distribution`, so some network of m units is within bound
    / m of f in mean square: it is ``(sum_j |rho_j| ||h_j||)^2`` with ``||h_j|| <= L |theta_j|
    lambda^(1/2)`` put in, L the largest slope of s (after Barron, 1993, and E, Ma, Wu, arXiv
    1906.08039). Differentiable. Raises `ValueError` unless the activation is scale-invariant.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, approximation_bound
        >>> network = TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]]))
        >>> particles = network.init(jax.random.key(0), {"alpha": 1.0})
        >>> bound = approximation_bound(network, particles, jnp.array([[3.0]]))
        >>> round(float(bound), 3)  # 2^2 * 3^2
        36.0
    """
    require_particles(particles, network)
    x = as_inputs(network, "x", x, particles.theta.dtype)
    largest = jnp.linalg.eigvalsh(x.T @ x / len(x))[-1]
    return (largest_slope(network) * path_norm(particles)) ** 2 * largest
