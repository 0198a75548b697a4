"""What the finite-width recursions need to know of one layer's Gaussian preactivations."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh.activations import Activation
from nsh.activations.gaussian import gaussian
from nsh.theory.effective.susceptibility import susceptibilities

Scalar = Float[Array, ""]


class Moments(eqx.Module):
    """Expectations over z ~ N(0, K), free of C_W and the learning rates.

    ``g = <s^2>``, ``slope2 = <s'^2>``, their derivatives by K (``dg``, ``d2g``, ``dslope2``),
    ``variance = <s^4> - g^2``, ``covariance = <s^2 s'^2> - g <s'^2>``,
    ``slope_variance = <s'^4> - <s'^2>^2``, ``bend = <s s''>``, ``cubic = <s s'^2 s''>``.
    Of a kinked activation s'' is taken as 0 at the kinks (see `Activation`). Differentiable by K.
    """

    g: Scalar
    slope2: Scalar
    dg: Scalar
    d2g: Scalar
    dslope2: Scalar
    variance: Scalar
    covariance: Scalar
    slope_variance: Scalar
    bend: Scalar
    cubic: Scalar


def moments(K: Scalar, activation: Activation) -> Moments:
    """The moments at variance K, by quadrature; `ValueError` unless K > 0 (where concrete)."""
    nodes = gaussian(K, activation)
    unit = susceptibilities(nodes, activation, 1.0)
    s, slope = activation(nodes.z), activation.derivative(nodes.z)
    curvature = activation.derivative(nodes.z, 2)
    g, slope2 = nodes.mean_square(s), nodes.mean(slope**2)
    # in units of g, so that nothing leaves the range of floats before the results do;
    # centred, so that float32 loses nothing to cancellation
    unit_s = s / jnp.sqrt(jnp.maximum(g, jnp.finfo(g.dtype).tiny))
    spread, slope_spread = unit_s**2 - 1, slope**2 - slope2
    deviation = jnp.sqrt(nodes.K)
    u2 = (nodes.z / deviation) ** 2
    return Moments(
        g=g,
        slope2=slope2,
        dg=unit.parallel,
        d2g=nodes.mean((s / deviation) ** 2 * (u2**2 - 6 * u2 + 3)) / (4 * nodes.K),
        dslope2=2 * unit.h,
        variance=g * (g * nodes.mean(spread**2)),
        covariance=g * nodes.mean(spread * slope_spread),
        slope_variance=nodes.mean(slope_spread**2),
        bend=nodes.mean(s * curvature),
        cubic=nodes.mean(s * slope**2 * curvature),
    )
