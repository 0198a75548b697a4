"""To what depth signals survive: where kernels go, and how fast differences die or grow there."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_numbers, is_concrete, require, require_all
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.activations import Activation, as_activation
from nsh.activations.activation import ActivationLike
from nsh.activations.gaussian import gaussian
from nsh.theory.effective.susceptibility import susceptibilities

DOWN, UP, POINTS = 1e-10, 1e8, 128  # search on either side of K1, as factors of it


class DepthScales(Shown):
    """The fixed point K* of a layer's kernel map, its susceptibilities there, and depths.

    `K`: 0 or infinity where kernels vanish or explode. `xi_parallel`, `xi_perpendicular`
    = 1 / |log chi|: layers over which a difference of norms, or of directions, changes by a factor
    e; it dies where chi < 1, grows where chi > 1, and lives on (infinite) at chi = 1. In 32-bit
    floats lengths above 1e6 are as good as infinite. (arXiv 2106.10165, section 5.1; the lengths:
    Schoenholz et al., arXiv 1611.01232, eqs. 7 to 9.)
    """

    K: Float[Array, "*grid"]
    parallel: Float[Array, "*grid"]
    perpendicular: Float[Array, "*grid"]

    @property
    def xi_parallel(self) -> Float[Array, "*grid"]:
        """Layers over which a difference of norms changes by a factor e."""
        return 1 / jnp.abs(jnp.log(jnp.abs(self.parallel)))

    @property
    def xi_perpendicular(self) -> Float[Array, "*grid"]:
        """Layers over which a difference of directions changes by a factor e."""
        return 1 / jnp.abs(jnp.log(self.perpendicular))


def fixed_point(
    activation: ActivationLike, C_b: ArrayLike, C_W: ArrayLike, K1: ArrayLike = 1.0
) -> Float[Array, ""]:
    """Find the fixed point that ``K' = C_b + C_W g(K)`` leads to from K = `K1`.

    0 (below 1e-10 `K1`) and infinity (above 1e8 `K1`) included. By bisection, so as exact
    near criticality as far from it; for maps increasing in K, as those of all common activations
    are. Differentiable by C_b and C_W through the implicit function theorem: dK/dC_b
    = 1 / (1 - chi_par), dK/dC_W = g / (1 - chi_par). Raises `ValueError` on negative C_b, C_W and
    on K1 <= 0.

    Example:
        >>> from nsh.theory.effective import fixed_point
        >>> round(float(fixed_point("relu", C_b=1.0, C_W=1.0)), 4)  # K = 1 + K / 2
        2.0
    """
    return _fixed_point(as_activation(activation), *_checked(C_b, C_W, K1))


@jax.jit
def _fixed_point(activation: Activation, C_b: Array, C_W: Array, K1: Array) -> Array:
    def g(K: Array) -> Array:
        nodes = gaussian(K, activation)
        return nodes.mean_square(activation(nodes.z))

    def excess(K: Array) -> Array:
        return C_b + C_W * g(K) - K

    dtype = K1.dtype
    ways = np.concatenate([np.geomspace(1, end, POINTS) for end in (UP, DOWN)])
    paths = K1 * jnp.asarray(ways, dtype)
    upwards, downwards = paths.reshape(2, -1)
    rises, falls = jax.vmap(excess)(paths).reshape(2, -1)
    rounding = max(4 * float(jnp.finfo(dtype).eps), 1e-13)  # the quadrature's own, in 64 bits
    rests = jnp.abs(rises[0]) <= rounding * K1
    up = rises[0] > 0
    path, sign = jnp.where(up, upwards, downwards), jnp.where(up, 1.0, -1.0).astype(dtype)
    past = jnp.where(up, rises, falls) * sign < -rounding * path
    place = jnp.maximum(jnp.argmax(past), 1)

    def solve(_: object, near: Array) -> Array:
        def halve(_: object, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = jnp.sqrt(ends[0] * ends[1])
            beyond = excess(middle) * sign <= 0
            return jnp.where(beyond, ends[0], middle), jnp.where(beyond, middle, ends[1])

        # neighbours on a path differ by less than a half: this comes down to rounding
        ends = jax.lax.fori_loop(0, jnp.finfo(dtype).nmant, halve, (near, path[place]))
        return jnp.where(rests, K1, jnp.sqrt(ends[0] * ends[1]))

    K = jax.lax.custom_root(excess, path[place - 1], solve, lambda f, y: y / f(jnp.ones_like(y)))
    limit = jnp.where(up, jnp.inf, 0.0).astype(dtype)
    return jnp.where(rests | jnp.any(past), K, limit)


def depth_scales(
    activation: ActivationLike, C_b: ArrayLike, C_W: ArrayLike, K1: ArrayLike = 1.0
) -> DepthScales:
    """Kernel, susceptibilities and depths far from the input, at any (C_b, C_W).

    `K1`: the first layer's kernel, as in `fixed_point`, whose errors it raises. Where kernels
    vanish or explode, susceptibilities are those of 1e-10 or 1e8 times `K1`.

    Example:
        >>> from nsh.theory.effective import depth_scales
        >>> result = depth_scales("relu", C_b=0.0, C_W=1.0)
        >>> result
        DepthScales(K=0., parallel=0.5, perpendicular=0.5)
        >>> round(float(result.xi_perpendicular), 4)  # 1 / log 2
        1.4427
    """
    return _depth_scales(as_activation(activation), *_checked(C_b, C_W, K1))


@jax.jit
def _depth_scales(activation: Activation, C_b: Array, C_W: Array, K1: Array) -> DepthScales:
    K = _fixed_point(activation, C_b, C_W, K1)
    nodes = gaussian(jnp.clip(K, K1 * DOWN, K1 * UP), activation)
    chi = susceptibilities(nodes, activation, C_W)
    return DepthScales(K, chi.parallel, chi.perpendicular)


def phase_diagram(
    activation: ActivationLike,
    C_b: Float[Array, " biases"],
    C_W: Float[Array, " weights"],
    K1: ArrayLike = 1.0,
) -> DepthScales:
    """`depth_scales` at all pairs of C_b and C_W: leaves [biases, weights]; raises the same errors.

    Ordered (chi_perp < 1: inputs become alike) and chaotic (chi_perp > 1) phases meet at
    chi_perp = 1, the edge of chaos.

    Example:
        >>> from nsh.theory.effective import phase_diagram
        >>> result = phase_diagram("relu", C_b=jnp.array([0.1]), C_W=jnp.array([1.0, 1.5]))
        >>> result.perpendicular.round(4).tolist()  # C_W / 2
        [[0.5, 0.75]]
    """
    activation = as_activation(activation)
    C_b, C_W = as_numbers("C_b", C_b, float), as_numbers("C_W", C_W, float)
    for field, values in (("C_b", C_b), ("C_W", C_W)):
        require(values.ndim == 1, f"{field}.shape", values.shape, "(n,), a row of numbers")
        if is_concrete(values):
            fine = np.isfinite(values) & (values >= 0)
            require_all(fine, field, values, "finite and >= 0")
    by_weight = jax.vmap(lambda b, W: depth_scales(activation, b, W, K1), in_axes=(None, 0))
    return jax.vmap(by_weight, in_axes=(0, None))(C_b, C_W)


def _checked(C_b: ArrayLike, C_W: ArrayLike, K1: ArrayLike) -> tuple[Array, Array, Array]:
    given = {"C_b": C_b, "C_W": C_W, "K1": K1}
    numbers = {field: as_numbers(field, value, float) for field, value in given.items()}
    for field, value in numbers.items():
        require(value.shape == (), f"{field}.shape", value.shape, "that of one number")
        if is_concrete(value):
            positive = field == "K1"
            fine = np.isfinite(value) & ((value > 0) if positive else (value >= 0))
            require_all(fine, field, value, f"finite and {'> 0' if positive else '>= 0'}")
    return numbers["C_b"], numbers["C_W"], numbers["K1"]
