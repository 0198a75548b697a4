"""What it costs to represent a network by units drawn from a law."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh._checks import require
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles
from nsh.theory.two_layer.repopulation.law import feature_norms


def representation_cost(
    rho: Float[Array, "width outputs"], law: Float[Array, " width"], norms: Float[Array, " width"]
) -> Float[Array, ""]:
    """``int |rho|^2 ||h||^2 / p = sum_j |rho_j|^2 norms_j^2 / law_j``, jointly convex in both.

    The variance regulariser ``E_p |u|^2 ||h||^2`` in the variables ``rho = u p`` and p, in which f
    is linear: so loss plus this is convex, although it is not in u and p (Fang, Dong, Zhang, arXiv
    2012.13982). Over laws its least value is ``(sum_j |rho_j| norms_j)^2``, at `optimal_law`.
    Infinite where a unit of law 0 is needed. Differentiable where law > 0.
    """
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
    another shape.
    """
    law = particles.mass if law is None else law
    require(law.shape == particles.mass.shape, "law.shape", law.shape, f"{particles.mass.shape}")
    rho = particles.alpha * particles.mass[:, None] * particles.u
    cost = representation_cost(rho, law, feature_norms(network, particles, x))
    outputs = jax.vmap(network.output, (None, 0))(particles, x)
    return cost - jnp.mean(jnp.sum(outputs**2, axis=-1))
