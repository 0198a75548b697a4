"""Expectations over one Gaussian, accurate at kinks and from small to very large variances."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all

if TYPE_CHECKING:
    from nsh.activations.activation import Activation

Numbers = TypeVar("Numbers", np.ndarray, Array)
NODES = 200  # of each piece between two kinks
TAIL = 12.0  # standard deviations; what lies beyond weighs 4e-33


class Gaussian(eqx.Module):
    """z ~ N(0, K) as nodes and weights: ``<F> = sum_i weight_i F(z_i)``.

    Gauss-Legendre on each piece of the line between 0, the activation's kinks and +-12 standard
    deviations, under the map t -> t^3 (10 - 15 t + 6 t^2), which crowds nodes around the breaks:
    so a function whose own scale is 1 stays resolved up to K = 1e8. (Gauss-Hermite is wrong by
    percents at kinks and for large K.) Differentiable by K: nodes move with the breaks.

    `K` is at least the smallest normal float: a deep layer's K underflows to 0, where every place
    would be z = 0 and slopes beside it, as of ReLU, out of sight. It is at most the largest one.
    """

    K: Float[Array, ""]
    z: Float[Array, " nodes"]
    weight: Float[Array, " nodes"]

    def mean(self, values: Float[Array, " nodes"]) -> Float[Array, ""]:
        """<F>, of F's values at the nodes."""
        return jnp.sum(self.weight * values)

    def mean_square(self, values: Float[Array, " nodes"]) -> Float[Array, ""]:
        """<F^2>, also where squares at the farthest nodes are beyond floats."""
        size = jax.lax.stop_gradient(jnp.max(jnp.abs(values)))
        size = jnp.where(size > 0, size, 1.0)
        return size * (size * self.mean((values / size) ** 2))


def gaussian(K: Float[Array, ""], activation: Activation) -> Gaussian:
    """The nodes for N(0, K), broken at the activation's kinks; `ValueError` unless K > 0.

    A traced K of 0 is the limit K -> 0, an infinite one the largest float; one below 0, or NaN,
    makes every mean NaN.
    """
    K = jnp.asarray(K, jnp.result_type(K, float))
    require(K.shape == (), "shape of variance K", K.shape, "(), one number (jax.vmap for several)")
    if is_concrete(K):
        require_all(np.asarray(K) > 0, "variance K", K, "> 0")
    limits = jnp.finfo(K.dtype)
    K = jnp.where(K >= 0, jnp.clip(K, limits.tiny, limits.max), jnp.nan)
    deviation = jnp.sqrt(K)
    inner = [
        jnp.clip(kink / deviation, -TAIL, TAIL) if kink else jnp.zeros_like(deviation)
        for kink in sorted({0.0, *activation.kinks})
    ]
    breaks = jnp.stack([jnp.full_like(deviation, -TAIL), *inner, jnp.full_like(deviation, TAIL)])
    u, weight = standard_nodes(breaks, NODES)
    weight = jnp.where(jnp.isnan(K), jnp.nan, weight)  # s' of NaN may be a number
    return Gaussian(K, deviation * u, weight)


def standard_nodes(
    breaks: Float[Array, " breaks"], count: int
) -> tuple[Float[Array, " nodes"], Float[Array, " nodes"]]:
    """Nodes u and weights of N(0, 1): `count` on each piece between the breaks, which ascend."""
    place, share = (jnp.asarray(part, breaks.dtype) for part in clustered_nodes(count))
    low, high, length = breaks[:-1, None], breaks[1:, None], jnp.diff(breaks)[:, None]
    # from the nearer end, where nodes lie closer than rounding of the farther one would tell
    below, above = low + length * place[None], high - length * place[None, ::-1]
    u = jnp.where(place[None] < 0.5, below, above).reshape(-1)
    weight = (length * share[None]).reshape(-1) * jnp.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    return u, weight


@functools.cache
def clustered_nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1], crowded at both ends; in 64 bits whatever the run's own."""
    node, weight = legendre_nodes(count)
    t, weight = (node + 1) / 2, weight / 2
    return t**3 * (10 - 15 * t + 6 * t**2), weight * 30 * t**2 * (1 - t) ** 2


@functools.cache
def legendre_nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre on [-1, 1], in 64 bits.

    By SciPy: NumPy's eigenvalues of a full matrix take seconds where processors are busy.
    """
    return importlib.import_module("scipy.special").roots_legendre(count)


def hermite(u: Numbers, count: int) -> list[Numbers]:
    """The orthonormal Hermite polynomials h_0 .. h_{count-1} at u, an array of NumPy or JAX.

    ``sqrt(k + 1) h_{k+1} = u h_k - sqrt(k) h_{k-1}``; <h_j h_k> = delta_jk over u ~ N(0, 1).
    """
    found = [u * 0 + 1, u]
    for k in range(1, count - 1):
        found.append((u * found[k] - float(np.sqrt(k)) * found[k - 1]) / float(np.sqrt(k + 1)))
    return found[:count]
