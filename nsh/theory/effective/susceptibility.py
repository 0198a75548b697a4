"""How a small change of a kernel, or a small difference of two inputs, passes through a layer."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.activations import Activation
from nsh.activations.gaussian import TAIL, Gaussian


class Susceptibilities(Shown):
    """``parallel = C_W dg/dK``, ``perpendicular = C_W <s'^2>``, ``h = (1/2) d perpendicular / dK``.

    With g(K) = <s(z)^2>, z ~ N(0, K). A change dK of the kernel becomes ``parallel dK`` one layer
    on; the squared distance of two nearby inputs of equal norm grows by ``perpendicular``.
    Source: arXiv 2106.10165, eqs. 5.7 and 5.10 (chi_par, chi_perp) and section 8.1 (h).
    """

    parallel: Float[Array, ""]
    perpendicular: Float[Array, ""]
    h: Float[Array, ""]


def susceptibilities(nodes: Gaussian, activation: Activation, C_W: ArrayLike) -> Susceptibilities:
    """The susceptibilities at the variance of `nodes` (see `nsh.activations.gaussian`).

    chi_par = (C_W / K) <z s s'>; h = (C_W / 4 K^2) <s'^2 (z^2 - K)>, which holds at kinks too, or
    (C_W / 2 K) <z s' s''>, which loses nothing to rounding, where no kink beside 0 is reached.
    Differentiable by K and C_W.
    """
    C_W, deviation = jnp.asarray(C_W, nodes.K.dtype), jnp.sqrt(nodes.K)
    s, slope = activation(nodes.z), activation.derivative(nodes.z)
    u = nodes.z / deviation
    h = nodes.mean(u * slope * activation.derivative(nodes.z, 2)) / (2 * deviation)
    beside = [abs(kink) for kink in activation.kinks if kink]
    if beside:
        through = nodes.mean(slope**2 * (u**2 - 1)) / (4 * nodes.K)
        h = jnp.where(TAIL * deviation < min(beside), h, through)
    return Susceptibilities(
        C_W * nodes.mean(u * (s / deviation) * slope), C_W * nodes.mean(slope**2), C_W * h
    )
