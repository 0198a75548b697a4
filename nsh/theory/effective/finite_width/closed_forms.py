"""Where the finite-width recursions have closed forms."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all, require_integer
from nsh._types import ArrayLike
from nsh.activations import Activation, as_activation
from nsh.activations.activation import ActivationLike
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.critical.criticality import Criticality, criticality
from nsh.theory.effective.finite_width.fluctuations import Fluctuations
from nsh.theory.effective.means import first_layer


def slope_moments(activation: Activation) -> tuple[float, float]:
    """``A2 = (a+^2 + a-^2) / 2`` and ``A4 = (a+^4 + a-^4) / 2`` of a scale-invariant activation.

    <s^2> = A2 K and <s^4> = 3 A4 K^2; the critical C_W is 1 / A2. Raises `ValueError` for others.
    """
    require(activation.slopes is not None, "activation", activation.name, "scale-invariant")
    assert activation.slopes is not None
    below, above = activation.slopes
    require(below != 0 or above != 0, "slopes", activation.slopes, "not both 0")
    return (above**2 + below**2) / 2, (above**4 + below**4) / 2


def scale_invariant_fluctuations(
    activation: ActivationLike,
    depth: int,
    width: int,
    x2: ArrayLike,
    *,
    lambda_b: ArrayLike = 1.0,
    lambda_W: ArrayLike = 1.0,
) -> Fluctuations:
    """`fluctuations` of a scale-invariant activation at criticality and equal widths.

    At C_b = 0, C_W = 1 / A2, with K = x2 / A2, w = lambda_W A2 K, t = lambda_b + w,
    rho = A4 / A2^2, nu = 3 rho - 1, S = (l - 1) l (2 l - 1) / 6, and n the width::

        Theta = t l         V = nu (l - 1) K^2 / n         B = rho t^2 S / n
        F = rho K t l (l - 1) / 2 n                 D = K [nu w + (rho - 1) t] l (l - 1) / 2 n
        A = {[nu w^2 + (rho - 1) t^2] S + (rho - 1) w t (l - 1) l (l + 1) / 3} / n
        Q = rho w t (l - 1) l (l + 1) / 6 n         G1 = P = 0

    Source: arXiv 2106.10165, section 5.4 (V), chapters 9 and 11, where the last terms in l are
    given; here for every l. Shapes and meaning as in `Fluctuations`. Differentiable by x2,
    lambda_b, lambda_W. Raises `ValueError` for activations that are not scale-invariant and sizes
    below 1.

    Example:
        >>> from nsh.theory.effective import scale_invariant_fluctuations
        >>> result = scale_invariant_fluctuations("relu", depth=3, width=100, x2=1.0)
        >>> [round(float(v), 4) for v in result.V]  # 5 (l - 1) K^2 / n with K = 2
        [0.0, 0.2, 0.4]
    """
    activation = as_activation(activation)
    require_integer("width", width, 1)
    A2, A4 = slope_moments(activation)
    critical = Architecture(
        activation, depth, width, C_W=1 / A2, lambda_b=lambda_b, lambda_W=lambda_W
    )
    for name, rate in {"lambda_b": lambda_b, "lambda_W": lambda_W}.items():
        require(np.shape(rate) == (), name, np.shape(rate), "one number for all layers")
    K, t = first_layer(critical, x2)
    w, rho = critical.lambda_W[0] * A2 * K, A4 / A2**2
    nu = 3 * rho - 1
    layer = jnp.arange(1, critical.depth + 1, dtype=K.dtype)
    pairs = layer * (layer - 1) / 2
    squares = (layer - 1) * layer * (2 * layer - 1) / 6
    cubes = (layer - 1) * layer * (layer + 1) / 3
    zero = jnp.zeros_like(layer)
    return Fluctuations(
        K=jnp.broadcast_to(K, layer.shape),
        Theta=t * layer,
        V=nu * (layer - 1) * K**2 / width,
        G1=zero,
        A=((nu * w**2 + (rho - 1) * t**2) * squares + (rho - 1) * w * t * cubes) / width,
        B=rho * t**2 * squares / width,
        D=K * (nu * w + (rho - 1) * t) * pairs / width,
        F=rho * K * t * pairs / width,
        P=zero,
        Q=rho * w * t * cubes / 2 / width,
    )


def scale_invariant_vertex(architecture: Architecture, x2: ArrayLike) -> Float[Array, " layers"]:
    """V of every layer, exactly in the widths: ``V_l = K_l^2 [prod_{k < l} (1 + nu / n_k) - 1]``.

    For scale-invariant activations with C_b = 0, at any C_W: K_l = K_1 prod_k C_W A2. E[z1^2 z2^2]
    less K^2 is this V and E[z1^4] / 3 - K^2 too, at finite width, to all orders (`fluctuations`
    has the first); V / K^2 is the variance of |z|^2 / K n_l at infinite n_l. Source: products
    of independent norms, Hanin and Nica, arXiv 1812.05994; derived anew. Differentiable by x2 and
    C_W. Raises `ValueError` for other activations, C_b or gamma not 0, no widths.

    Example:
        >>> from nsh.theory.effective import Architecture, scale_invariant_vertex
        >>> V = scale_invariant_vertex(Architecture("linear", 3, 10), 1.0)
        >>> [round(float(v), 4) for v in V]  # 1.2 - 1 and 1.2^2 - 1
        [0.0, 0.2, 0.44]
    """
    widths = architecture.hidden_widths()
    A2, A4 = slope_moments(architecture.activation)
    _require_zero("gamma", architecture.gamma)
    _require_zero("C_b", architecture.C_b)
    K, _ = first_layer(architecture, x2)
    nu = 3 * A4 / A2**2 - 1
    later = architecture.C_W[1:]
    K = K * jnp.concatenate([jnp.ones_like(K)[None], jnp.cumprod(A2 * later)])
    # log1p and expm1: 1 + nu / n loses the small V of wide networks
    growth = jnp.cumsum(jnp.asarray([0.0, *np.log1p(nu / np.asarray(widths, float))], K.dtype))
    return K**2 * jnp.expm1(growth)


def vanishing_kernel_asymptotics(
    activation: ActivationLike, depth: int, width: int
) -> tuple[Float[Array, " layers"], Float[Array, " layers"]]:
    """(K, V) deep in a critical network of the K* = 0 class (tanh, sin, erf), to leading order.

    ``K_l = (p_K / (-a1 l))^p_K`` and ``V_l = nu (l / n) K_l^2``, with p_K = 1 and nu = 2/3 for
    smooth s (see `criticality` for these and a1), at C_b = 0, C_W = 1 / A2, for large l, whatever
    the input; corrections are of relative order log(l) / l. Source: arXiv 2106.10165, section
    5.4. Raises `ValueError` for activations of other classes, and where kernels fall slower than
    any power (hard_tanh, relu6).

    Example:
        >>> from nsh.theory.effective import vanishing_kernel_asymptotics
        >>> K, V = vanishing_kernel_asymptotics("tanh", depth=100, width=10)
        >>> round(float(K[-1]), 4)  # 1 / (2 l)
        0.005
    """
    critical = vanishing_criticality(as_activation(activation))
    allowed = "one whose kernels fall as a power of depth: a1 != 0 (see criticality)"
    require(np.isfinite(critical.p_K), "activation", critical.activation.name, allowed)
    require_integer("depth", depth, 1)
    require_integer("width", width, 1)
    assert critical.near_zero is not None
    layer = jnp.arange(1.0, depth + 1.0)
    K = (critical.p_K / (-critical.near_zero.a1 * layer)) ** critical.p_K
    return K, critical.nu * layer / width * K**2


def vanishing_criticality(activation: Activation) -> Criticality:
    """The critical point of an activation of the K* = 0 class; `ValueError` for others."""
    critical = criticality(activation)
    allowed = "of the K* = 0 class: s(0) = 0, s'(0) != 0, K' < K near 0"
    require(critical.universality == "K* = 0", "activation", activation.name, allowed)
    return critical


def _require_zero(field: str, value: Array) -> None:
    if is_concrete(value):
        require_all(np.asarray(value) == 0, field, value, "0 here")
