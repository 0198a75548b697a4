"""Exact samples of kernels in every layer of finite networks, in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from nsh._shown import Shown
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.means import first_layer, later_layers
from nsh.theory.effective.samples.sampler import SampledNetwork
from nsh.theory.effective.samples.seeds import over_seeds
from nsh.training.ensemble import Device


class ForwardSamples(Shown):
    """Of every layer of finite networks, expectations given the layers below it.

    - `kernel`: E[z_a^2], of mean K + G1 and variance V (see `fluctuations`);
    - `tangent`: E[u_a^2] of the response u of z to a random small change of all parameters, of
      variance lambda each, so its mean is that of H_aa; its variance is Cov(H_11, H_22)
      + 2 E[H_12^2] = A + 2 B, to first order that of H_aa;
    - `log_distance`: log E[v_a^2] of the response v to a small change of the input at right angles
      to it, 0 in layer 1.
    """

    kernel: Float[Array, "*seeds layers"]
    tangent: Float[Array, "*seeds layers"]
    log_distance: Float[Array, "*seeds layers"]


def forward_samples(
    architecture: Architecture,
    x2: Float[Array, ""] | float,
    key: Key[Array, ""],
    *,
    seeds: int,
    padded: int | None = None,
    chunk: int | None = None,
    devices: Sequence[Device] | None = None,
    callback: Callable[[int], object] | None = None,
) -> ForwardSamples:
    """Independent networks, one a seed, in O(width depth) each; leaves [seeds, layers].

    Exact at any width: z, u and v of a layer are jointly Gaussian given those of the layer below,
    so that no weight matrix is drawn. Any widths; gamma must be 0. Arguments as in
    `output_samples`. Differentiable by the architecture's numbers and x2 for fixed key, with
    chunk=None. Raises `ValueError` on bad input.

    Example:
        >>> from nsh.theory.effective import Architecture, forward_samples
        >>> network = Architecture("relu", depth=2, widths=8, C_W=2.0)
        >>> result = forward_samples(network, 1.0, jax.random.key(0), seeds=2)
        >>> result.kernel[:, 0].round(4).tolist()  # of layer 1: no fluctuations
        [2.0, 2.0]
    """
    shared = SampledNetwork(architecture, x2, padded), jnp.stack(first_layer(architecture, x2))
    return over_seeds(
        _sample, shared, key, seeds=seeds, chunk=chunk, devices=devices, callback=callback
    )


def _sample(shared: tuple[SampledNetwork, Array], key: Key[Array, ""]) -> ForwardSamples:
    network, start = shared
    net = network.architecture

    def layer(carry: tuple[Array, Array], given: tuple[Array, ...]):
        covariance, log_scale = carry
        C_b, C_W, lambda_b, lambda_W, width, units, key = given
        # drawn in one row: the same numbers, many times faster to compile on CPUs
        noise = jax.random.normal(key, (3 * network.widest,), covariance.dtype).reshape(3, -1)
        z, u, v = _root(covariance) @ noise
        slope = net.activation.derivative(z)
        below = jnp.stack([net.activation(z), slope * u, slope * v])
        below = jnp.where(units[None] > 0, below, 0.0)
        square = below @ below.T / width
        own = jnp.stack([C_b, lambda_b + lambda_W * square[0, 0], jnp.zeros_like(C_b)])
        covariance = C_W * square + jnp.diag(own)
        # distances shrink and grow beyond 32 bits in depth
        scale = jnp.where(covariance[2, 2] > 0, covariance[2, 2], 1.0)
        log_distance = log_scale + jnp.log(covariance[2, 2])
        unit = jnp.stack([jnp.ones_like(scale), jnp.ones_like(scale), scale**-0.5])
        found = (covariance[0, 0], covariance[1, 1], log_distance)
        return (covariance * jnp.outer(unit, unit), log_scale + jnp.log(scale)), found

    first = jnp.diag(jnp.concatenate([start, jnp.ones((1,), start.dtype)]))
    keys = jax.random.split(key, net.depth - 1)
    zero = jnp.zeros((), start.dtype)
    given = (*later_layers(net), network.widths, network.units(), keys)
    _, later = jax.lax.scan(layer, (first, zero), given)
    return ForwardSamples(
        *(
            jnp.concatenate([initial[None], rest])
            for initial, rest in zip((*start, zero), later, strict=True)
        )
    )


def _root(covariance: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """Lower-triangular L with L L^T = covariance, singular ones (dead layers) included."""
    columns = []
    for i in range(3):
        pivot = covariance[i, i]
        safe = jnp.where(pivot > 0, pivot, 1.0)
        below = jnp.arange(3) >= i
        column = jnp.where(below & (pivot > 0), covariance[:, i] / jnp.sqrt(safe), 0.0)
        covariance = covariance - jnp.outer(column, column)
        columns.append(column)
    return jnp.stack(columns, axis=1)
