"""The distribution of a finite network's outputs at initialisation, to first order in 1/width."""

from __future__ import annotations

import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.fluctuations import fluctuations


class NearlyGaussian(Shown):
    """Outputs of one input: zero mean, uncorrelated, but dependent and with heavier tails.

    To first order in 1/width, of any outputs i and j of the layer (and all higher cumulants 0)::

        E[z_i z_j] = variance delta_ij,    variance = K + G1
        E[z_i z_j z_k z_l]_connected = V (delta_ij delta_kl + delta_ik delta_jl + delta_il delta_jk)

    so an output's fourth cumulant is 3 V, and that of z_i^2 with z_j^2 is V. Equivalently
    z = sqrt(G) eps with a random G of mean `variance` and variance V shared by all outputs.
    Source: arXiv 2106.10165, sections 4.2 to 4.4. Shapes: scalars, or as vmap makes them.
    """

    variance: Float[Array, "*shape"]
    V: Float[Array, "*shape"]

    def fourth_cumulant(self) -> Float[Array, "*shape"]:
        """E[z^4] - 3 E[z^2]^2 = 3 V of one output."""
        return 3 * self.V

    def excess_kurtosis(self) -> Float[Array, "*shape"]:
        """The fourth cumulant over the variance's square, 3 V / variance^2."""
        return self.fourth_cumulant() / self.variance**2

    def density(self, z: Float[Array, "*outputs"]) -> Float[Array, ""]:
        """The joint Edgeworth density at z: one output (a scalar), or several at once.

        ``N(z; 0, variance) [1 + (V / 8 variance^2) (u^4 - 2 (m + 2) u^2 + m (m + 2))]``, with m
        outputs and u^2 = |z|^2 / variance; for one output the bracket's polynomial is He4(u). Its
        moments up to the fourth are those above. It is negative somewhere once
        V > 4 variance^2 / (m + 2). One place: use jax.vmap over many. Differentiable by z too.
        """
        m = z.size
        u2 = jnp.sum(z**2) / self.variance
        gaussian = jnp.prod(norm.pdf(z, scale=jnp.sqrt(self.variance)))
        polynomial = u2**2 - 2 * (m + 2) * u2 + m * (m + 2)
        return gaussian * (1 + self.V / (8 * self.variance**2) * polynomial)

    def cdf(self, z: Float[Array, ""]) -> Float[Array, ""]:
        """P(one output <= z): ``Phi(u) - (V / 8 variance^2) He3(u) phi(u)``, He3 = u^3 - 3 u."""
        u = z / jnp.sqrt(self.variance)
        return norm.cdf(u) - self.V / (8 * self.variance**2) * (u**3 - 3 * u) * norm.pdf(u)


def output_distribution(architecture: Architecture, x2: ArrayLike) -> NearlyGaussian:
    """The law of the last layer's preactivations for one input with |x|^2 / n_0 = x2.

    Source and validity as `fluctuations`, whose errors it raises; differentiable likewise.

    Example:
        >>> from nsh.theory.effective import Architecture, output_distribution
        >>> result = output_distribution(Architecture("linear", 2, 8), 1.0)
        >>> round(float(result.excess_kurtosis()), 4)  # 6 / n
        0.75
    """
    of_layers = fluctuations(architecture, x2)
    return NearlyGaussian(of_layers.K[-1] + of_layers.G1[-1], of_layers.V[-1])
