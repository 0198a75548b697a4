"""Exact samples of finite networks' outputs and tangent kernel, without their weight matrices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from nsh._checks import is_concrete, require, require_integer
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.means import as_x2
from nsh.theory.effective.samples.conditioned_matrix import ConditionedMatrix
from nsh.theory.effective.samples.seeds import over_seeds, standard_normals
from nsh.training.ensemble import Device


class Samples(Shown):
    """Outputs of finite networks for one input x, one network a seed.

    `outputs`: z_a; `ntk`: H_ab at (x, x); `variance`: Var(z_a | hidden layers), the same for all
    a; `mixed`: E[z_a z_b H_ab | hidden layers] for a != b.
    """

    outputs: Float[Array, "*seeds outputs"]
    ntk: Float[Array, "*seeds outputs outputs"]
    variance: Float[Array, "*seeds"]
    mixed: Float[Array, "*seeds"]


class SampledNetwork(eqx.Module):
    """What is sampled; all but activation, depth and `widest` are numbers, which may be traced.

    `widths`: of the hidden layers, whose arrays are padded to `widest`.
    """

    architecture: Architecture
    x2: Float[Array, ""]
    widths: Float[Array, " layers"]
    widest: int = eqx.field(static=True)

    def __init__(self, architecture: Architecture, x2: ArrayLike, padded: int | None = None):
        self.x2 = checked_x2(architecture, x2)
        gamma, widths = architecture.gamma, architecture.hidden_widths()
        if is_concrete(gamma):
            require(
                float(gamma) == 0, "gamma", float(gamma), "0 here; network_samples allows skips"
            )
        self.architecture = dataclasses.replace(architecture, widths=None)
        self.widths = jnp.asarray(widths, self.x2.dtype)
        most = max(widths)
        self.widest = most if padded is None else require_integer("padded", padded, most)

    def units(self) -> Float[Array, "layers widest"]:
        """1 where a layer has a neuron, 0 where it is padded."""
        places = jnp.arange(self.widest, dtype=self.widths.dtype)
        return (places[None] < self.widths[:, None]).astype(self.widths.dtype)


class Layers(eqx.Module):
    """The hidden layers of one network, forward, leading axis = layer.

    `a`: s(z); `slope`: s'(z), 0 where padded; `theta`: lambda_b + lambda_W mean a^2 of the layer
    below, which every neuron's own parameters add to its H; `matrix`: the weights between these
    layers (one fewer), of which W a is known.
    """

    z: Float[Array, "layers width"]
    a: Float[Array, "layers width"]
    slope: Float[Array, "layers width"]
    theta: Float[Array, " layers"]
    matrix: ConditionedMatrix


def output_samples(
    architecture: Architecture,
    x2: ArrayLike,
    key: Key[Array, ""],
    *,
    seeds: int,
    outputs: int = 2,
    padded: int | None = None,
    chunk: int | None = None,
    devices: Sequence[Device] | None = None,
    callback: Callable[[int], object] | None = None,
) -> Samples:
    """Exact samples of `outputs` outputs and their NTK, in O(width depth) a network.

    Weights are drawn only in the directions in which they act (`ConditionedMatrix`): forward, W a
    is ``N(0, C_W |a|^2 / n)``; backward, W^T delta is known along a and fresh noise off it. Any
    widths, biases and learning-rate scalings; gamma must be 0. `x2` = |x|^2 / n_0. `padded`: the
    width to which arrays are padded, default the widest; architectures that differ in numbers and
    widths only share one compiled program if that is the same.

    Seed i is drawn from ``fold_in(key, i)``, bitwise the same whatever `seeds`, `chunk` and
    `devices` are (as in `nsh.ensemble`). Differentiable by the architecture's numbers and x2 for
    fixed key, with chunk=None. Raises `ValueError` on bad input.

    Example:
        >>> from nsh.theory.effective import Architecture, output_samples
        >>> network = Architecture("relu", depth=2, widths=8, C_W=2.0)
        >>> result = output_samples(network, 1.0, jax.random.key(0), seeds=400)
        >>> variance = result.variance
        >>> bool(abs(variance.mean() - 2.0) < 4 * variance.std() / 20)  # the mean kernel is 2
        True
    """
    require_integer("outputs", outputs, 2)
    return over_seeds(
        _sample, (SampledNetwork(architecture, x2, padded), outputs), key,
        seeds=seeds, chunk=chunk, devices=devices, callback=callback,
    )  # fmt: skip


def checked_x2(architecture: Architecture, x2: ArrayLike) -> Float[Array, ""]:
    """x2 as an array; `ValueError` unless it is one number >= 0 and there are hidden layers."""
    require(len(architecture.hidden_widths()) >= 1, "depth", architecture.depth, ">= 2")
    return as_x2(x2, architecture.C_W.dtype)


def forward(
    network: SampledNetwork,
    noise: Float[Array, "layers width"],
    bias: Float[Array, "layers width"],
) -> Layers:
    """The hidden layers of one network, from N(0, 1) for the weights' products and the biases."""
    architecture, x2, width, units = (
        network.architecture, network.x2, network.widths, network.units()
    )  # fmt: skip
    activation, C_b, C_W = architecture.activation, architecture.C_b, architecture.C_W
    bias = jnp.sqrt(C_b[:-1])[:, None] * bias * units
    start = jnp.sqrt(C_W[0] * x2) * noise[0] * units[0] + bias[0]

    def layer(z: Array, given: tuple[Array, ...]) -> tuple[Array, tuple[Array, ConditionedMatrix]]:
        C_W, below, above, width, bias, noise = given
        matrix = ConditionedMatrix(jnp.sqrt(C_W / width), above, below)
        product, matrix = matrix.times(activation(z) * below, noise)
        z = product + bias
        return z, (z, matrix)

    between = (C_W[1:-1], units[:-1], units[1:], width[:-1], bias[1:], noise[1:])
    _, (z, matrix) = jax.lax.scan(layer, start, between)
    z = jnp.concatenate([start[None], z])
    a, slope = activation(z) * units, activation.derivative(z) * units
    second = jnp.concatenate([x2[None], jnp.sum(a**2, axis=1)[:-1] / width[:-1]])
    theta = architecture.lambda_b[:-1] + architecture.lambda_W[:-1] * second
    return Layers(z, a, slope, theta, matrix)


def backward(
    layers: Layers,
    readout: Float[Array, "columns width"],
    noise: Float[Array, "matrices columns width"],
) -> tuple[Float[Array, "layers columns width"], ConditionedMatrix]:
    """The derivatives delta of ``readout . a``, of the last hidden layer, by every layer's z.

    With the matrices' transposes as known after it.
    """

    def layer(delta: Array, given: tuple) -> tuple[Array, tuple[Array, ConditionedMatrix]]:
        matrix, slope, noise = given
        matrix, columns = matrix.transposed(), []
        for column, fresh in zip(delta, noise, strict=True):
            product, matrix = matrix.times(column, fresh)
            columns.append(slope * product)
        delta = jnp.stack(columns)
        return delta, (delta, matrix)

    last = readout * layers.slope[-1][None]
    below = (layers.matrix, layers.slope[:-1], noise)
    _, (deltas, matrix) = jax.lax.scan(layer, last, below, reverse=True)
    return jnp.concatenate([deltas, last[None]]), matrix


def _sample(shared: tuple[SampledNetwork, int], key: Key[Array, ""]) -> Samples:
    network, outputs = shared
    architecture, width = network.architecture, network.widths[-1]
    hidden, widest = len(network.widths), network.widest
    noise, hidden_bias, weights, columns, bias = standard_normals(
        key, network.x2.dtype, (hidden, widest), (hidden, widest), (outputs, widest),
        (hidden - 1, outputs + 1, widest), (outputs,),
    )  # fmt: skip
    layers = forward(network, noise, hidden_bias)
    C_b, C_W = architecture.C_b[-1], architecture.C_W[-1] / width
    a, weights = layers.a[-1], jnp.sqrt(C_W) * weights
    deltas, _ = backward(layers, jnp.concatenate([weights, a[None]]), columns)
    kernel = jnp.einsum("l,law,lbw->ab", layers.theta, deltas, deltas)
    square = jnp.sum(a**2)
    own = architecture.lambda_b[-1] + architecture.lambda_W[-1] * square / width
    return Samples(
        outputs=jnp.sqrt(C_b) * bias + weights @ a,
        ntk=kernel[:-1, :-1] + own * jnp.eye(outputs, dtype=a.dtype),
        variance=C_b + C_W * square,
        mixed=C_W**2 * kernel[-1, -1],
    )
