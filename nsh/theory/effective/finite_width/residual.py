"""Finite width with skips, z' = b + W s + gamma z: the book's closed recursion and a corrected one.

The closed recursion (`naive_residual_vertex`) is refuted by Monte Carlo for ReLU and leaky ReLU:
it follows only the correlation of squares of neurons, but skips carry on the correlations of all
other functions of z too. `residual_vertex` follows all of them.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import require, require_integer
from nsh._types import ArrayLike
from nsh.activations import as_activation
from nsh.activations.activation import ActivationLike
from nsh.activations.gaussian import gaussian, hermite
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.closed_forms import slope_moments, vanishing_criticality
from nsh.theory.effective.means import first_layer, later_layers, over_layers
from nsh.theory.effective.susceptibility import susceptibilities


def residual_critical_C_W(activation: ActivationLike, gamma: ArrayLike) -> Float[Array, "..."]:
    """The critical C_W with skips, at C_b = 0: (1 - gamma^2) / A2, or (1 - gamma^2) / s'(0)^2.

    For scale-invariant activations, and for the K* = 0 class. Source: arXiv 2106.10165, appendix
    B. Differentiable by gamma. Raises `ValueError` for activations of neither class.

    Example:
        >>> from nsh.theory.effective import residual_critical_C_W
        >>> float(residual_critical_C_W("relu", gamma=0.5))
        1.5
    """
    activation = as_activation(activation)
    if activation.slopes is not None:
        C_W = 1 / slope_moments(activation)[0]
    else:
        C_W = vanishing_criticality(activation).C_W
    return C_W * (1 - jnp.asarray(gamma, float) ** 2)


def naive_residual_growth(activation: ActivationLike, gamma: ArrayLike) -> Float[Array, "..."]:
    """nu(gamma) of the closed recursion at criticality: V / K^2 grows by nu(gamma) / n a layer.

    Scale-invariant: ``(1 - gamma^2) [(1 - gamma^2) nu + 4 gamma^2]``, nu = 3 rho - 1; K* = 0
    class: ``nu (1 - gamma^4)``. Source: arXiv 2106.10165, appendix B. Refuted for ReLU and leaky
    ReLU (see `residual_vertex`); right for linear and, deep, for tanh. Differentiable by gamma.
    Raises `ValueError` for other classes, and where nu is not known (hard_tanh, relu6).
    """
    activation = as_activation(activation)
    gamma2 = jnp.asarray(gamma, float) ** 2
    if activation.slopes is None:
        nu = vanishing_criticality(activation).nu
        allowed = "one whose kernels fall as a power of depth: a1 != 0 (see criticality)"
        require(np.isfinite(nu), "activation", activation.name, allowed)
        return nu * (1 - gamma2**2)
    A2, A4 = slope_moments(activation)
    return (1 - gamma2) * ((1 - gamma2) * (3 * A4 / A2**2 - 1) + 4 * gamma2)


def naive_residual_vertex(architecture: Architecture, x2: ArrayLike) -> Float[Array, " layers"]:
    """V of every layer by the closed recursion, refuted for ReLU and leaky ReLU with gamma != 0.

    ``V' = {C_W^2 Var(s^2) + 2 gamma^2 C_W [<s^2 z^2> - g K]} / n + (C_W dg/dK + gamma^2)^2 V``.
    Source: arXiv 2106.10165, appendix B. Monte Carlo agrees for linear and, deep, for tanh; for
    ReLU, gamma = 1/2, 6 layers it finds n V / K^2 = 26.80 +- 0.18 where this says 17.81. Shapes,
    errors and derivatives as `residual_vertex`.

    Example:
        >>> from nsh.theory.effective import Architecture, mean_kernels, naive_residual_vertex
        >>> network = Architecture("relu", 6, 100, C_W=1.5, gamma=0.5)
        >>> V, (K, _) = naive_residual_vertex(network, 1.0), mean_kernels(network, 1.0)
        >>> round(float(100 * V[-1] / K[-1] ** 2), 2)  # 26.85 is right: see `residual_vertex`
        17.81
    """
    n, activation, gamma2 = _width(architecture), architecture.activation, architecture.gamma**2
    K, _ = first_layer(architecture, x2)

    def step(layer, after):
        K, V = layer
        C_b, C_W, _, _ = after
        nodes = gaussian(K, activation)
        s = activation(nodes.z)
        after_K = C_b + C_W * nodes.mean_square(s) + gamma2 * K
        root = _root(after_K)
        squared = (s / root) ** 2  # in units of the new K, to stay in the range of floats
        spread = squared - nodes.mean(squared)
        parallel = susceptibilities(nodes, activation, C_W).parallel + gamma2
        source = C_W**2 * nodes.mean(spread**2)
        source += 2 * gamma2 * C_W * nodes.mean(spread * (nodes.z / root) ** 2)
        return after_K, root**2 * (root**2 * source / n) + parallel**2 * V

    return over_layers(step, (K, jnp.zeros_like(K)), later_layers(architecture))[1]


def residual_vertex(
    architecture: Architecture, x2: ArrayLike, *, modes: int = 24
) -> Float[Array, " layers"]:
    """V of every layer with skips of strength gamma, to first order in 1/width.

    Follows the covariance matrix M / n of h_j(z1) with h_k(z2) of two neurons, in the orthonormal
    Hermite functions h_k(z / sqrt K), k = 1..modes. With c_k = <s^2 h_k>,
    U = C_W^2 [Var(s^2) + c M c], R = C_W (c + M c), G = diag((gamma sqrt(K / K'))^k),
    a = 1 / (sqrt 2 K') and e2 the unit vector of k = 2::

        K' = C_b + C_W <s^2> + gamma^2 K
        M' = G M G + a [(G R) e2^T + e2 (G R)^T] + a^2 U e2 e2^T        V = 2 K^2 M_22 / n

    Derived anew; agrees with Monte Carlo (ReLU, gamma = 1/2, 6 layers: n V / K^2 = 26.85, where the
    closed recursion has 17.8) and, at gamma = 0, with `fluctuations`. `modes` cuts off functions
    of z that oscillate faster. One input; skips need equal widths, the outputs' included. Far off
    criticality V ends at 0 or infinity, where floats do. Shapes: [layers], entry l - 1 being
    layer l. Differentiable by x2 and the numbers of the architecture
    (by gamma not at exactly 0). Raises `ValueError` for unequal or no widths, a bad x2, modes < 2.

    Example:
        >>> from nsh.theory.effective import Architecture, mean_kernels, residual_vertex
        >>> network = Architecture("relu", 6, 100, C_W=1.5, gamma=0.5)
        >>> V, (K, _) = residual_vertex(network, 1.0), mean_kernels(network, 1.0)
        >>> round(float(100 * V[-1] / K[-1] ** 2), 2)
        26.85
    """
    require_integer("modes", modes, 2, 64)
    n, activation, gamma = _width(architecture), architecture.activation, architecture.gamma
    K, _ = first_layer(architecture, x2)
    V = jnp.zeros_like(K)
    order = np.arange(1, modes + 1)
    e2 = jnp.asarray(order == 2, K.dtype)

    def step(layer, after):
        K, M, _ = layer
        C_b, C_W, _, _ = after
        nodes = gaussian(K, activation)
        s, deviation = activation(nodes.z), jnp.sqrt(nodes.K)
        after_K = C_b + C_W * nodes.mean_square(s) + gamma**2 * K
        root = _root(after_K)
        squared = (s / root) ** 2  # in units of the new K, to stay in the range of floats
        h = jnp.stack(hermite(nodes.z / deviation, modes + 1)[1:])
        c = h @ (nodes.weight * squared)
        Mc = M @ c
        U = C_W**2 * (nodes.mean((squared - nodes.mean(squared)) ** 2) + c @ Mc)
        a = 1 / np.sqrt(2.0)
        G = jnp.cumprod(jnp.broadcast_to(gamma * deviation / root, (modes,)))
        mixed = jnp.outer(G * C_W * (c + Mc), e2)
        M = G[:, None] * M * G[None] + a * (mixed + mixed.T) + a**2 * U * jnp.outer(e2, e2)
        return after_K, M, root**2 * (root**2 * (2 * M[1, 1] / n))

    start = K, jnp.zeros((modes, modes), K.dtype), V
    return over_layers(step, start, later_layers(architecture))[2]


def _root(K: Array) -> Array:
    """The root of K in the range of floats."""
    limits = jnp.finfo(K.dtype)
    return jnp.sqrt(jnp.clip(K, limits.tiny, limits.max))


def _width(architecture: Architecture) -> int:
    widths = architecture.hidden_widths()
    require(len(set(widths)) <= 1, "widths", widths, "equal: skips join layers of one width")
    return widths[0] if widths else 1
