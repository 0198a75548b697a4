"""Finite width to first order: how kernels and tangent kernels fluctuate from net to net.

The idea: a network of width n is nearly Gaussian. Its kernel differs from network to network by
an amount of order 1/n, and so do its tangent kernel and the derivative of that. To first order
these fluctuations are a few numbers for each layer: V for the kernel, A and B for the tangent
kernel, D and F for both together, P and Q for the derivative, and G1 for the shift of the mean.

Each number has a recursion over layers with two kinds of terms. A layer adds fluctuations of its
own, of order 1 / n, from its finite number of neurons. And it passes on those of the layer
below, times susceptibilities. At criticality these are 1, so fluctuations add up, and grow as
depth over width. That ratio decides where the theory holds.

`fluctuations` runs all recursions at once, for one input, as a scan over layers. Its docstring has
the equations, and `_step` computes one layer. The Gaussian means come from `moments`.

Read next: `moments`, then `aspect_ratio` (depth over width), `several_inputs`, and `residual`
for networks with skips, where this recursion does not hold.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.activations import Activation
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.moments import moments
from nsh.theory.effective.means import first_layer, later_layers, over_layers

PerLayer = Float[Array, "*layers"]


class Fluctuations(Shown):
    """Means, and leading connected correlations in 1/width, of one input's z and NTK H.

    Of two different neurons (outputs) 1 and 2 of a layer, over networks at initialisation:

    - ``K``, ``Theta``: infinite-width E[z1^2] and E[H11]; E[z1^2] = K + G1 to first order;
    - ``V`` = E[z1^2 z2^2] - E[z1^2] E[z2^2], and E[z1^4] - 3 E[z1^2]^2 = 3 V;
    - ``A`` = Cov(H11, H22), ``B`` = E[H12^2], so that Var H11 = A + 2 B;
    - ``D`` = E[(z1^2 - K) H22], ``F`` = E[z1 z2 H12];
    - ``P`` = E[dH_122 z1], ``Q`` = E[dH_112 z2], with
      dH_abc = (Lam grad z_b)^T Hess z_a (Lam grad z_c), Lam the learning rates.

    These are the correlations themselves, of the order of 1/width: the sheet's or book's V is
    n_{l-1} times this one. Shapes: [layers], entry l - 1 being layer l; layer 1 is exactly
    Gaussian, so its correlations are 0.
    """

    K: PerLayer
    Theta: PerLayer
    V: PerLayer
    G1: PerLayer
    A: PerLayer
    B: PerLayer
    D: PerLayer
    F: PerLayer
    P: PerLayer
    Q: PerLayer


def fluctuations(architecture: Architecture, x2: ArrayLike) -> Fluctuations:
    """The `Fluctuations` of every layer for one input with |x|^2 / n_0 = x2.

    From layer l to l + 1, with C_W, lambda_b, lambda_W of layer l + 1, n = n_l, expectations over
    z ~ N(0, K_l), Omega = lambda_W s^2 + C_W s'^2 Theta, X = lambda_W dg/dK + 2 h Theta,
    x = C_W dg/dK (chi_par), y = C_W <s'^2> (chi_perp)::

        V' = C_W^2 Var(s^2) / n + x^2 V          G1' = x G1 + (1/2) C_W (d2g/dK2) V
        B' = C_W^2 <s'^4> Theta^2 / n + y^2 B    F' = C_W^2 <s^2 s'^2> Theta / n + x^2 F
        D' = C_W Cov(s^2, Omega) / n + x (X V + y D)
        A' = Var(Omega) / n + y^2 A + 2 y X D + X^2 V
        P' = C_W^2 <s s'^2 s''> Theta^2 / n + y (C_W <s s''> B + x P)
        Q' = (C_W^2 <s s'^2 s''> Theta^2 + lambda_W C_W <s^2 s'^2> Theta) / n
             + x y Q + x X F

    Source: arXiv 2106.10165, sections 4.3 (V), 4.5 (G1), 8.4 (D, F, A, B) and 11.2 (P, Q). To
    first order in 1/width, for any widths; what is left out is relatively of the order of
    V / 2 K^2 (see `effective_complexity`). Differentiable, forward and reverse, by x2 and all
    numbers of the architecture. Where K leaves the range of floats (see `mean_kernels`) so do they.

    Raises `ValueError` without widths, for a bad x2, and for gamma != 0 (a traced gamma != 0 gives
    NaN): with skips this recursion is wrong, see `residual_vertex`.

    Example:
        >>> from nsh.theory.effective import Architecture, fluctuations
        >>> result = fluctuations(Architecture("linear", 2, 8), 1.0)
        >>> round(float(result.V[-1]), 4)  # 2 K^2 / n
        0.25
    """
    widths = architecture.hidden_widths()
    gamma = architecture.gamma
    if is_concrete(gamma):
        require(float(gamma) == 0, "gamma", float(gamma), "0 here; with skips use residual_vertex")
    activation = architecture.activation
    K, Theta = first_layer(architecture, x2)
    zero = jnp.where(gamma == 0, jnp.zeros_like(K), jnp.nan)
    first = Fluctuations(K, Theta, *[zero] * 8)
    width = jnp.asarray(widths, K.dtype)

    def step(layer: Fluctuations, after: tuple[Array, ...]) -> Fluctuations:
        return _step(activation, layer, *after)

    return over_layers(step, first, (*later_layers(architecture), width))


def _step(
    activation: Activation,
    now: Fluctuations,
    C_b: Array,
    C_W: Array,
    lambda_b: Array,
    lambda_W: Array,
    n: Array,
) -> Fluctuations:
    """Layer l + 1 from layer l of width n; the hyperparameters are those of layer l + 1."""
    m = moments(now.K, activation)
    Theta = now.Theta
    parallel, perpendicular = C_W * m.dg, C_W * m.slope2
    tilt = lambda_W * m.dg + C_W * m.dslope2 * Theta  # d<Omega>/dK
    signal, backward = lambda_W, C_W * Theta  # Omega = signal s^2 + backward s'^2
    Omega_variance = (
        signal**2 * m.variance
        + 2 * signal * backward * m.covariance
        + backward**2 * m.slope_variance
    )
    Omega_covariance = signal * m.variance + backward * m.covariance
    both = m.covariance + m.g * m.slope2  # <s^2 s'^2>
    bent = C_W**2 * _times(m.cubic, Theta**2)
    return Fluctuations(
        K=C_b + C_W * m.g,
        Theta=lambda_b + lambda_W * m.g + perpendicular * Theta,
        V=C_W**2 * m.variance / n + parallel**2 * now.V,
        G1=parallel * now.G1 + C_W / 2 * m.d2g * now.V,
        A=Omega_variance / n
        + perpendicular**2 * now.A
        + 2 * perpendicular * tilt * now.D
        + tilt**2 * now.V,
        B=C_W**2 * (m.slope_variance + m.slope2**2) * Theta**2 / n + perpendicular**2 * now.B,
        D=C_W * Omega_covariance / n + parallel * (tilt * now.V + perpendicular * now.D),
        F=C_W**2 * both * Theta / n + parallel**2 * now.F,
        P=bent / n + perpendicular * (C_W * _times(m.bend, now.B) + parallel * now.P),
        Q=(bent + lambda_W * C_W * both * Theta) / n
        + parallel * (perpendicular * now.Q + tilt * now.F),
    )


def _times(factor: Array, value: Array) -> Array:
    """Their product; 0 where the factor is, as for functions without curvature."""
    return jnp.where(factor == 0, 0.0, factor * value)
