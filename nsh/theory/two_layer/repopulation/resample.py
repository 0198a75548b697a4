"""Hidden units drawn anew from a law, reweighted so that the network stays the same on average."""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from nsh._checks import require, require_integer, require_key
from nsh.theory.two_layer.checks import require_law, require_particles
from nsh.theory.two_layer.particles import Particles

Scheme = Literal["independent", "systematic"]


def resample(
    particles: Particles,
    law: Float[Array, " width"],
    key: Key[Array, ""],
    width: int,
    *,
    scheme: Scheme = "independent",
) -> Particles:
    """`width` units of mass 1 / width, drawn from `law`; ``u_j`` becomes ``u_j mass_j / law_j``.

    These importance weights keep ``E f`` what it was. With `optimal_distribution` every drawn unit
    contributes equally: |u_j| ||h_j|| is the same for all. `law`: probabilities of the particles,
    such as their masses (plain thinning: u stays as it is where they are equal). `scheme`:
    "independent" draws, whose error `sampling_variance` gives exactly, the first k of them being a
    sample of k; or "systematic" ones (one random offset, then evenly spaced along the cumulative
    law), where unit j is drawn width law_j times, rounded up or down at random: the usual one of
    particle filters, and a population that has the law already stays as it is.

    Units drawn more than once are exact copies. Differentiable for the units drawn; how u and law
    change which ones are drawn is left out. Raises `ValueError` on a bad law, width or scheme; in
    compiled code the units' u is NaN where the law is.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, resample
        >>> network = TwoLayer(1, FromArrays(u=[[1.0], [3.0]], theta=[[1.0], [1.0]]))
        >>> particles = network.init(jax.random.key(0), {"alpha": 1.0})
        >>> drawn = resample(particles, jnp.array([0.25, 0.75]), jax.random.key(1), width=3)
        >>> drawn.u[:, 0].tolist()
        [2.0, 2.0, 2.0]
    """
    require_integer("width", width, 1)
    require(scheme in get_args(Scheme), "scheme", scheme, "'independent' or 'systematic'")
    require_key(key)
    require_particles(particles)
    require_law(law, len(particles.mass))
    law = jnp.asarray(law, particles.mass.dtype)
    cumulative = jnp.cumsum(jax.lax.stop_gradient(law))
    shape = () if scheme == "systematic" else (width,)
    places = jax.random.uniform(key, shape, law.dtype)
    if scheme == "systematic":
        places = (jnp.arange(width, dtype=law.dtype) + places) / width
    # by the last sum, not 1: rounding must not draw a unit of law 0 at the end
    drawn = jnp.searchsorted(cumulative, places * cumulative[-1], side="right")
    last = jnp.sum(cumulative < cumulative[-1], dtype=drawn.dtype)
    drawn = jnp.minimum(drawn, last)
    told = jnp.where(jnp.isfinite(cumulative[-1]), 1, jnp.nan)  # of a law that is no law
    weight = told * particles.mass[drawn] / law[drawn]
    mass = jnp.full(width, 1 / width, law.dtype)
    return Particles(weight[:, None] * particles.u[drawn], particles.theta[drawn], mass,
                     particles.alpha)  # fmt: skip
