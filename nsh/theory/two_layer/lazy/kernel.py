"""The neural tangent kernel of two-layer networks: infinitely wide, and a network's own."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh._checks import require
from nsh._types import ArrayLike
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.infinite_width.kernels import kernels
from nsh.theory.effective.prediction.matrices import MATMUL
from nsh.theory.two_layer.checks import as_inputs, require_particles
from nsh.theory.two_layer.initializer import Independent, Quadrature, Symmetric
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles

NORMAL = (Independent, Symmetric, Quadrature)


def infinite_ntk(
    network: TwoLayer, x: ArrayLike, z: ArrayLike | None = None
) -> Float[Array, "n m"]:
    """The kernel K before training at infinite width: ``df/dt = -K loss'`` for all of it if lazy.

    ``K = k_u + k_theta``, ``k_u = E[s(a) s(b)]``, ``k_theta = E[u^2] E[s'(a) s'(b)] x.z``, with
    ``a = theta.x, b = theta.z`` and u, theta ~ N(0, 1) (Jacot et al., arXiv 1806.07572; Fang,
    Dong, Zhang, arXiv 2012.13982): what is trained alone has its part alone. With several outputs
    it is K times the identity.

    Shapes: x [n, inputs], z [m, inputs], by default x. Differentiable in both, as `kernels` of
    `nsh.theory.effective` is, which this is. Raises `ValueError` on other shapes and unless the
    start is normal: `Independent`, `Symmetric` or `Quadrature`.

    Example:
        >>> from nsh.theory.two_layer import Independent, TwoLayer, infinite_ntk
        >>> K = infinite_ntk(TwoLayer(2, Independent(4)), jnp.eye(2))
        >>> round(float(K[0, 0]), 4), round(float(K[0, 1]), 4)  # 1 and 1 / (2 pi)
        (1.0, 0.1592)
    """
    init = network.particle_init
    require(isinstance(init, NORMAL), "particle_init", init, "Independent, Symmetric or Quadrature")
    x = as_inputs(network, "x", x, float)
    z = None if z is None else as_inputs(network, "z", z, float)
    rates = {"u": (0, 1), "theta": (network.in_size, 0), "both": (network.in_size, 1)}
    architecture = Architecture(
        network.activation, 2, C_W=jnp.array((network.in_size, 1.0)), lambda_b=0.0,
        lambda_W=jnp.array(rates[network.trained], float),
    )  # fmt: skip
    return kernels(architecture, x, z).ntk


def ntk(
    network: TwoLayer, particles: Particles, x: ArrayLike, z: ArrayLike | None = None
) -> Float[Array, "n m ..."]:
    """A network's own tangent kernel, wherever its particles are: ``df/dt = -K loss'``.

    ``K_ab(x, z) = sum_j mass_j (delta_ab s(x) s(z) + u_ja u_jb s'(x) s'(z) x.z)``, s(x) standing
    for ``s(theta_j . x)``, and only the first or second part where u or theta alone is trained.
    No Jacobians are formed. (With masses 1 / m it is m / alpha^2 times the kernel of f's gradients
    by u and theta.)

    Shapes: x [n, inputs], z [m, inputs], by default x; the result is [n, m] of a network with one
    output, else [n, m, outputs, outputs]. Differentiable in particles and inputs. Raises
    `ValueError` on other shapes.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, ntk
        >>> network = TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]]))
        >>> particles = network.init(jax.random.key(0), {"alpha": 1.0})
        >>> ntk(network, particles, [[3.0]]).tolist()  # s^2 + u^2 s'^2 x^2 = 36 + 9
        [[45.0]]
    """
    require_particles(particles, network)
    x = as_inputs(network, "x", x, particles.theta.dtype)
    z = x if z is None else as_inputs(network, "z", z, particles.theta.dtype)
    return _ntk(network, particles, x, z)


@eqx.filter_jit
def _ntk(network: TwoLayer, particles: Particles, x: Array, z: Array) -> Array:
    outputs = network.out_size
    kernel = jnp.zeros((len(x), len(z), outputs, outputs), x.dtype)
    left, right = (jnp.matmul(particles.theta, a.T, precision=MATMUL) for a in (x, z))
    if network.trained != "theta":
        s = network.activation
        shared = _mean_product(particles.mass, s(left), s(right))
        kernel += shared[:, :, None, None] * jnp.eye(outputs, dtype=x.dtype)[None, None]
    if network.trained != "u":
        slopes = (_slopes(network, particles, a) for a in (left, right))
        pairs = _mean_product(particles.mass, *slopes)  # [n outputs, m outputs]
        pairs = pairs.reshape(len(x), outputs, len(z), outputs).swapaxes(1, 2)
        kernel += jnp.matmul(x, z.T, precision=MATMUL)[:, :, None, None] * pairs
    return kernel[:, :, 0, 0] if outputs == 1 else kernel


def _slopes(network: TwoLayer, particles: Particles, at: Array) -> Float[Array, "width columns"]:
    """``u_ja s'(theta_j . x)``, columns = inputs times outputs."""
    slope = network.activation.derivative(at)
    return (slope[:, :, None] * particles.u[:, None, :]).reshape(len(at), -1)


def _mean_product(mass: Array, left: Array, right: Array) -> Array:
    return jnp.matmul((mass[:, None] * left).T, right, precision=MATMUL)
