"""Entropies of laws: exact on a grid, by nearest neighbours from particles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, entr, gammaln
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all, require_integer
from nsh.theory.two_layer.checks import require_particles
from nsh.theory.two_layer.mean_field.grid import Density
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles

BLOCK = 64  # particles whose distances to all others are held at once


def entropy(
    network: TwoLayer, law: Density | Particles, *, neighbours: int = 4
) -> Float[Array, ""]:
    """The differential entropy ``-int p log p`` in nats, of the trained coordinates.

    Where training keeps u or theta, the entropy given it. Of a `Density`: the sum over cells. Of
    `Particles`, which must be independent draws with equal masses: the estimate from the distance
    to the k-th nearest other place, ``psi(m) - psi(k) + log c_d + (d / m) sum_j log distance_j``,
    c_d the volume of the unit ball (Kozachenko and Leonenko 1987; Kraskov et al., arXiv
    cond-mat/0305641, equation 20), k = `neighbours`. Its standard error is about
    sqrt((psi'(k) + Var log p) / m), its bias of order (k / m)^(2 / d): for few coordinates. It is
    -inf where a place is held k + 1 times, as after `resample`. Time is of order m^2.

    Differentiable. Raises `ValueError` on masses that differ, on too few particles, and for
    particles of which a part is kept.

    Example:
        >>> from nsh.theory.two_layer import Density, Grid, Independent, TwoLayer, entropy
        >>> normal = Density.normal(Grid(low=(-8.0, -8.0), high=(8.0, 8.0), cells=(64, 64)))
        >>> round(float(entropy(TwoLayer(1, Independent(4)), normal)), 4)  # 1 + log(2 pi)
        2.8379
    """
    require(isinstance(law, Density | Particles), "law", type(law).__name__, "Density or Particles")
    if isinstance(law, Density):
        law.require_one()
        return _on_grid(network, law)
    return _by_neighbours(network, law, neighbours)


def _on_grid(network: TwoLayer, law: Density) -> Array:
    law.grid.require_axes(network.out_size + network.in_size, "outputs + inputs")
    moved = moved_axes(network)
    kept = jnp.sum(law.mass, axis=moved)
    volume = float(np.prod([law.grid.spacing[axis] for axis in moved]))
    return jnp.sum(entr(law.mass)) - jnp.sum(entr(kept)) + float(np.log(volume))


def moved_axes(network: TwoLayer) -> tuple[int, ...]:
    """The axes of a grid over (u, theta) along which training moves."""
    both = range(network.out_size + network.in_size)
    axes = {"both": both, "u": both[: network.out_size], "theta": both[network.out_size :]}
    return tuple(axes[network.trained])


def _by_neighbours(network: TwoLayer, law: Particles, k: int) -> Array:
    require(network.trained == "both", "trained", network.trained, "'both' for particles' entropy")
    require_particles(law, network, "law")
    require_integer("neighbours", k, 1, len(law.mass) - 1)
    if is_concrete(law.mass):
        equal = np.isclose(np.asarray(law.mass) * len(law.mass), 1, rtol=1e-4)
        require_all(equal, "mass", law.mass, "1 / width for each particle")
    places = jnp.concatenate([law.u, law.theta], axis=1)
    count, axes = places.shape
    numbers = jnp.arange(count)

    def to_neighbour(place: Array) -> Array:
        squares = jnp.sum((places - place[None]) ** 2, axis=1)
        for _ in range(k):  # faster than sorting; the first is the place itself, or a copy of it
            squares = jnp.where(numbers == jnp.argmin(squares), jnp.inf, squares)
        return jnp.min(squares)

    squares = jax.lax.map(to_neighbour, places, batch_size=BLOCK)
    ball = axes / 2 * float(np.log(np.pi)) - gammaln(axes / 2 + 1)
    psi = digamma(jnp.asarray([count, k], places.dtype))
    return psi[0] - psi[1] + ball + axes / 2 * jnp.mean(jnp.log(squares))
