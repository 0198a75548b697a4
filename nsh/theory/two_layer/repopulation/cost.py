"""What it costs to represent a network by units drawn from a law."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_numbers, is_concrete, require, require_all
from nsh.theory.two_layer.checks import as_inputs, require_law, require_particles
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles
from nsh.theory.two_layer.repopulation.law import feature_norms


def representation_cost(
    rho: Float[Array, "width outputs"], law: Float[Array, " width"], norms: Float[Array, " width"]
) -> Float[Array, ""]:
    """``int |rho|^2 ||h||^2 / p = sum_j |rho_j|^2 norms_j^2 / law_j``, jointly convex in both.

    The variance regulariser ``E_p |u|^2 ||h||^2`` in the variables ``rho = u p`` and p, in which f
    is linear: so loss plus this is convex, although it is not in u and p (Fang, Dong, Zhang, arXiv
    2012.13982). Over laws its least value is ``(sum_j |rho_j| norms_j)^2``, at
    `optimal_distribution`. Infinite where a unit of law 0 is needed. Differentiable where law > 0.
    Raises `ValueError` on other shapes, and on a law or norms below 0.

    Example:
        >>> from nsh.theory.two_layer import representation_cost
        >>> rho, law = jnp.array([[1.0], [3.0]]), jnp.array([0.25, 0.75])
        >>> float(representation_cost(rho, law, norms=jnp.ones(2)))  # (1 + 3)^2, the least value
        16.0
    """
    rho, law, norms = (
        as_numbers(field, given, None)
        for field, given in (("rho", rho), ("law", law), ("norms", norms))
    )
    require(rho.ndim == 2, "rho.shape", rho.shape, "(width, outputs)")
    for field, given in (("law", law), ("norms", norms)):
        shape = (len(rho),)
        require(given.shape == shape, f"{field}.shape", given.shape, f"{shape}, one for each unit")
        if is_concrete(given):
            require_all(np.asarray(given) >= 0, field, given, ">= 0")
    weight = jnp.sum(rho**2, axis=-1) * norms**2
    return jnp.sum(weight / jnp.where(weight > 0, law, 1))


def sampling_variance(
    network: TwoLayer,
    particles: Particles,
    x: Float[Array, "n inputs"],
    law: Float[Array, " width"] | None = None,
) -> Float[Array, ""]:
    """``m E ||f_m - f||^2`` of m units drawn independently from `law`, weighted as by `resample`.

    ``alpha^2 sum_j |mass_j u_j|^2 ||h_j||^2 / law_j - ||f||^2``: the same for every m, so the
    error of a sample falls as 1 / m. ``||f||^2`` is the mean over inputs x of ``|f(x)|^2``.
    `law`: probabilities of the particles, by default their masses (plain thinning). Exact; the
    second moment of a sum of independent terms. Differentiable. Raises `ValueError` on a law of
    another shape or that is no law, and on such x.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, sampling_variance
        >>> network = TwoLayer(1, FromArrays(u=[[1.0], [3.0]], theta=[[1.0], [1.0]]))
        >>> particles = network.init(jax.random.key(0), {"alpha": 1.0})
        >>> float(sampling_variance(network, particles, jnp.ones((1, 1))))  # of 1 and 3
        1.0
    """
    require_particles(particles, network)
    x = as_inputs(network, "x", x, particles.theta.dtype)
    if law is not None:
        require_law(law, len(particles.mass))
    law = particles.mass if law is None else jnp.asarray(law, particles.mass.dtype)
    rho = particles.alpha * particles.mass[:, None] * particles.u
    cost = representation_cost(rho, law, feature_norms(network, particles, x))
    outputs = jax.vmap(network.output, (None, 0))(particles, x)
    return cost - jnp.mean(jnp.sum(outputs**2, axis=-1))
