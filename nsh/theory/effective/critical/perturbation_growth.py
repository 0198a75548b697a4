"""Two nearby inputs through the layers: how their norms and their directions part or meet."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_finite, is_concrete, require, require_all
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.activations.gaussian import gaussian
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.means import later_layers, over_layers
from nsh.theory.effective.susceptibility import susceptibilities


class PerturbationGrowth(Shown):
    """The kernel of two inputs + and -: of their middle, and how they differ.

    ``K = (K_++ + K_-- + 2 K_+-) / 4``, ``norm = (K_++ - K_--) / 2`` and
    ``distance = (K_++ + K_-- - 2 K_+-) / 4``, which is E[(z_+ - z_-)^2] / 4 (arXiv 2106.10165,
    section 5.1).
    """

    K: Float[Array, "*layers"]
    norm: Float[Array, "*layers"]
    distance: Float[Array, "*layers"]

    @property
    def cosine(self) -> Float[Array, "*layers"]:
        """``K_+- / sqrt(K_++ K_--)``."""
        own = self.K + self.distance
        return (self.K - self.distance) / jnp.sqrt(own**2 - self.norm**2)


def perturbation_growth(
    architecture: Architecture, K: ArrayLike, norm: ArrayLike, distance: ArrayLike
) -> PerturbationGrowth:
    """All layers' `PerturbationGrowth`, leaves [layers], from the numbers of layer 1.

    ``K' = C_b + C_W g``, ``norm' = chi_par norm``, ``distance' = chi_perp distance + h norm^2``,
    with susceptibilities at K; a skip adds gamma^2 times the old ones. (arXiv 2106.10165, section
    5.1, to leading order in the difference of the inputs.) Differentiable by all. Deep off
    criticality K leaves the range of floats: 0 or infinity from there on.

    Raises `ValueError` unless all three are finite numbers, K > 0 and distance >= 0.

    Example:
        >>> from nsh.theory.effective import Architecture, perturbation_growth
        >>> network = Architecture("relu", depth=3, C_W=4.0)
        >>> result = perturbation_growth(network, K=1.0, norm=0.0, distance=0.5)
        >>> result.distance.round(4).tolist()  # times C_W / 2 in each layer
        [0.5, 1.0, 2.0]
    """
    gamma2 = architecture.gamma**2
    dtype = architecture.C_W.dtype
    given = {"K": K, "norm": norm, "distance": distance}
    numbers = {field: as_finite(field, value, dtype) for field, value in given.items()}
    for field, value in numbers.items():
        require(value.shape == (), f"{field}.shape", value.shape, "(), one number (else jax.vmap)")
    if is_concrete(numbers["distance"]):
        require_all(np.asarray(numbers["distance"]) >= 0, "distance", distance, ">= 0")
    if is_concrete(numbers["K"]):
        require_all(np.asarray(numbers["K"]) > 0, "K", K, "> 0")
    first = PerturbationGrowth(**numbers)

    def step(now: PerturbationGrowth, after: tuple[Array, ...]) -> PerturbationGrowth:
        C_b, C_W, *_ = after
        nodes = gaussian(now.K, architecture.activation)
        chi = susceptibilities(nodes, architecture.activation, C_W)
        return PerturbationGrowth(
            C_b + C_W * nodes.mean_square(architecture.activation(nodes.z)) + gamma2 * now.K,
            (chi.parallel + gamma2) * now.norm,
            (chi.perpendicular + gamma2) * now.distance + chi.h * now.norm**2,
        )

    return over_layers(step, first, later_layers(architecture))
