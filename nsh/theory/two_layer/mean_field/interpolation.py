"""Mixtures of laws, along which the free energy is convex."""

from __future__ import annotations

from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all
from nsh.theory.two_layer.checks import require_particles
from nsh.theory.two_layer.mean_field.grid import Density
from nsh.theory.two_layer.particles import Particles

Law = TypeVar("Law", Density, Particles)


def mixture(p: Law, q: Law, share: Float[Array, ""] | float) -> Law:
    """The law ``(1 - share) p + share q``: f is linear in share, L and the free energy convex.

    Of densities, on one grid, cell by cell. Of particles: all of p's and of q's, with masses times
    1 - share and share. (The straight path from each particle to one of another network's is a
    different thing, along which L is not convex.) Differentiable. Raises `ValueError` on a share
    outside 0..1 and on laws that differ in grid or alpha.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, mixture
        >>> network = TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]]))
        >>> particles = network.init(jax.random.key(0), {"alpha": 1.0})
        >>> mixture(particles, particles, 0.25).mass.tolist()
        [0.75, 0.25]
    """
    require(np.shape(share) == (), "share.shape", np.shape(share), "(); for several use jax.vmap")
    if is_concrete(share):
        number = np.asarray(share)
        require_all((number >= 0) & (number <= 1), "share", number, "within 0..1")
    if isinstance(p, Density) and isinstance(q, Density):
        require(p.grid == q.grid, "grid of q", q.grid, f"that of p, {p.grid}")
        part = jnp.asarray(share, p.mass.dtype)
        return Density(p.grid, (1 - part) * p.mass + part * q.mass)
    if not (isinstance(p, Particles) and isinstance(q, Particles)):
        raise ValueError(f"q = {type(q).__name__}: must be a {type(p).__name__}, as p is")
    require_particles(p, field="p")
    require_particles(q, field="q")
    if is_concrete((p.alpha, q.alpha)):
        require(p.alpha == q.alpha, "alpha of q", q.alpha, f"that of p, {p.alpha}")
    part = jnp.asarray(share, p.mass.dtype)
    u, theta = jnp.concatenate([p.u, q.u]), jnp.concatenate([p.theta, q.theta])
    return Particles(u, theta, jnp.concatenate([(1 - part) * p.mass, part * q.mass]), p.alpha)
