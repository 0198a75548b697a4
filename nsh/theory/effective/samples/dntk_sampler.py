"""Exact samples of how the tangent kernel moves under gradient descent, without matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.samples.conditioned_matrix import ConditionedMatrix
from nsh.theory.effective.samples.sampler import Layers, SampledNetwork, backward, forward
from nsh.theory.effective.samples.seeds import over_seeds, standard_normals
from nsh.training.ensemble import Device


class DntkSamples(Shown):
    """One number a network each, with means ``P / n = E[dH_011 z_0]``, ``Q / n = E[dH_001 z_1]``.

    They are these products averaged over the output layer's weights, given the hidden layers (and,
    where dH is quadratic in a row of these weights, given that row).
    """

    P: Float[Array, "*seeds"]
    Q: Float[Array, "*seeds"]


def dntk_samples(
    architecture: Architecture,
    x2: ArrayLike,
    key: Key[Array, ""],
    *,
    seeds: int,
    padded: int | None = None,
    chunk: int | None = None,
    devices: Sequence[Device] | None = None,
    callback: Callable[[int], object] | None = None,
) -> DntkSamples:
    """Samples of the dNTK's correlations with the output, in O(width depth) a network.

    With ``dH_abc = (Lam grad z_b)^T (Hess z_a) (Lam grad z_c)``, Lam the learning-rate scalings
    (arXiv 2106.10165, section 11.1). A second derivative along directions g = Lam grad is two
    forward modes, each a chain of products with the same matrices as the forward and backward
    pass, of which `ConditionedMatrix` keeps the law exactly. With W a row of output weights, a the
    last hidden layer and g_u = Lam grad (u . a): ``P/n = (C_W/n) E[a . d^2 a(g_W, g_W)]`` and ``Q/n
    = (C_W/n) E[W . d^2 a(g_W, g_a) + (lambda_W/n) a . d a(g_a)]``.

    Arguments, seeds and errors as in `output_samples`.

    Example:
        >>> from nsh.theory.effective import Architecture, dntk_samples
        >>> result = dntk_samples(Architecture("linear", 2, 8), 1.0, jax.random.key(0), seeds=2)
        >>> result.P.tolist()  # the hidden layer of a linear network is linear in its weights
        [0.0, 0.0]
    """
    return over_seeds(
        _sample, SampledNetwork(architecture, x2, padded), key,
        seeds=seeds, chunk=chunk, devices=devices, callback=callback,
    )  # fmt: skip


class _Tangent(eqx.Module):
    """Derivatives of one layer along g_W and g_a, and the second ones along (W, W) and (W, a)."""

    W: Float[Array, " width"]
    a: Float[Array, " width"]
    WW: Float[Array, " width"]
    Wa: Float[Array, " width"]


def _sample(network: SampledNetwork, key: Key[Array, ""]) -> DntkSamples:
    architecture, width = network.architecture, network.widths[-1]
    hidden, widest = len(network.widths), network.widest
    noise, bias, weights, columns, tangents = standard_normals(
        key, network.x2.dtype, (hidden, widest), (hidden, widest), (widest,),
        (hidden - 1, 2, widest), (hidden - 1, 4, widest),
    )  # fmt: skip
    layers = forward(network, noise, bias)
    C_W = architecture.C_W[-1] / width
    a, weights = layers.a[-1], jnp.sqrt(C_W) * weights
    deltas, matrix = backward(layers, jnp.stack([weights, a]), columns)
    moved = _tangents(network, layers, deltas, matrix, tangents)
    own = architecture.lambda_W[-1] / width * jnp.dot(a, moved.a)
    return DntkSamples(P=C_W * jnp.dot(a, moved.WW), Q=C_W * (jnp.dot(weights, moved.Wa) + own))


def _tangents(
    network: SampledNetwork,
    layers: Layers,
    deltas: Float[Array, "layers 2 width"],
    matrix: ConditionedMatrix,
    noise: Float[Array, "matrices 4 width"],
) -> _Tangent:
    """The derivatives of the last hidden layer's activations."""
    bend = network.architecture.activation.derivative(layers.z, 2)
    rate = network.architecture.lambda_W[1:-1] / network.widths[:-1]

    def through_activation(z: _Tangent, slope: Array, bend: Array) -> _Tangent:
        return _Tangent(
            slope * z.W, slope * z.a,
            bend * z.W**2 + slope * z.WW, bend * z.W * z.a + slope * z.Wa,
        )  # fmt: skip

    def layer(z: _Tangent, given: tuple) -> tuple[_Tangent, None]:
        matrix, a, slope, bend, delta, theta, rate, noise = given
        below, matrix, products = through_activation(z, slope, bend), matrix.transposed(), []
        for vector, fresh in zip((below.W, below.a, below.WW, below.Wa), noise, strict=True):
            product, matrix = matrix.times(vector, fresh)
            products.append(product)
        by_weights, by_a = delta
        along_W, along_a = rate * jnp.dot(a, below.W), rate * jnp.dot(a, below.a)
        above = _Tangent(
            theta * by_weights + products[0],
            theta * by_a + products[1],
            2 * along_W * by_weights + products[2],
            along_a * by_weights + along_W * by_a + products[3],
        )
        return above, None

    nothing = jnp.zeros_like(deltas[0, 0])
    start = _Tangent(
        layers.theta[0] * deltas[0, 0], layers.theta[0] * deltas[0, 1], nothing, nothing
    )
    below = (matrix, layers.a[:-1], layers.slope[:-1], bend[:-1])
    above = (deltas[1:], layers.theta[1:], rate, noise)
    last, _ = jax.lax.scan(layer, start, (*below, *above))
    return through_activation(last, layers.slope[-1], bend[-1])
