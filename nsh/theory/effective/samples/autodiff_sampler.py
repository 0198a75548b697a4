"""Finite networks with all their weights, differentiated automatically: slow, and beyond doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from nsh._checks import is_concrete, require, require_integer
from nsh._shown import Shown
from nsh._types import ArrayLike, DTypeLike
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.samples.sampler import checked_x2
from nsh.theory.effective.samples.seeds import over_seeds, standard_normals
from nsh.training.ensemble import Device


class NetworkSamples(Shown):
    """Outputs z_a, NTK H_ab and dNTK dH_abc of finite networks at one input, one network a seed.

    ``H_ab = grad z_a . Lam grad z_b`` and ``dH_abc = (Lam grad z_b)^T (Hess z_a) (Lam grad z_c)``
    with Lam the learning-rate scalings.
    """

    outputs: Float[Array, "*seeds outputs"]
    ntk: Float[Array, "*seeds outputs outputs"]
    dntk: Float[Array, "*seeds outputs outputs outputs"]


def network_samples(
    architecture: Architecture,
    x2: ArrayLike,
    key: Key[Array, ""],
    *,
    seeds: int,
    outputs: int = 2,
    chunk: int | None = None,
    devices: Sequence[Device] | None = None,
    callback: Callable[[int], object] | None = None,
) -> NetworkSamples:
    """Samples of what the theory is about, by its definition: the check of all the rest.

    Every weight is drawn, and all derivatives by all of them are automatic, so the cost is
    O(width^2 depth) a network; `output_samples` and `dntk_samples` have the same law. The input is
    the number sqrt(x2), as only x2 = |x|^2 / n_0 matters. Skips (gamma) are allowed between equal
    widths. Arguments, seeds and errors otherwise as in `output_samples`.

    Example:
        >>> from nsh.theory.effective import Architecture, network_samples
        >>> network = Architecture("linear", depth=2, widths=8)
        >>> result = network_samples(network, 1.0, jax.random.key(0), seeds=100)
        >>> Theta = result.ntk[:, 0, 0]
        >>> bool(abs(Theta.mean() - 4.0) < 4 * Theta.std() / 10)  # the mean tangent kernel is 4
        True
    """
    x2 = checked_x2(architecture, x2)
    require_integer("outputs", outputs, 2)
    widths = architecture.hidden_widths()
    if not (is_concrete(architecture.gamma) and architecture.gamma == 0):
        require(len({*widths}) <= 1, "widths", widths, "all equal, for a skip (gamma) to join them")
        require(outputs <= min(widths, default=outputs), "outputs", outputs, "<= the width")
    return over_seeds(
        _sample, (architecture, x2, outputs), key,
        seeds=seeds, chunk=chunk, devices=devices, callback=callback,
    )  # fmt: skip


def _sample(shared: tuple[Architecture, Array, int], key: Key[Array, ""]) -> NetworkSamples:
    architecture, x2, outputs = shared
    parameters, rates = _drawn(architecture, outputs, x2.dtype, key)
    rates, _ = ravel_pytree(rates)
    flat, unravel = ravel_pytree(parameters)

    def values(flat: Array) -> Array:
        return _outputs(architecture, unravel(flat), jnp.sqrt(x2)[None])

    z = values(flat)
    slopes = jax.jacrev(values)(flat)
    directions = slopes * rates[None]

    def along(b: Array, c: Array) -> Array:
        """The second derivative of all outputs along two directions."""
        return jax.jvp(lambda p: jax.jvp(values, (p,), (b,))[1], (flat,), (c,))[1]

    every = jax.vmap(jax.vmap(along, (None, 0)), (0, None))(directions, directions)
    return NetworkSamples(z, slopes @ directions.T, jnp.moveaxis(every, 2, 0))


def _drawn(
    architecture: Architecture, outputs: int, dtype: DTypeLike, key: Key[Array, ""]
) -> tuple[PyTree, PyTree]:
    """Biases and weights [fan_out, fan_in] of every layer, and their learning rates."""
    sizes = pairwise((1, *architecture.hidden_widths(), outputs))
    shapes = [shape for below, above in sizes for shape in ((above,), (above, below))]
    noise = standard_normals(key, dtype, *shapes)
    parameters, rates = [], []
    for layer, (bias, weights) in enumerate(zip(noise[::2], noise[1::2], strict=True)):
        below = weights.shape[1]
        bias = jnp.sqrt(architecture.C_b[layer]) * bias
        parameters.append((bias, jnp.sqrt(architecture.C_W[layer] / below) * weights))
        rate = architecture.lambda_b[layer], architecture.lambda_W[layer] / below
        rates.append(jax.tree.map(jnp.full_like, parameters[-1], rate))
    return parameters, rates


def _outputs(architecture: Architecture, parameters: PyTree, x: Array) -> Array:
    (bias, weights), *later = parameters
    z = bias + weights @ x
    for bias, weights in later:
        skip = jnp.resize(z, bias.shape)  # z itself, or its first numbers; whatever if gamma is 0
        z = bias + weights @ architecture.activation(z) + architecture.gamma * skip
    return z
