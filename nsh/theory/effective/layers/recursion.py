"""Kernels of layers: inputs alone first, then all pairs of them, in blocks."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from nsh.theory.effective.infinite_width.errors import Errors, floored
from nsh.theory.effective.infinite_width.pairs_in_blocks import in_blocks, mirrored
from nsh.theory.effective.layers.covariance import Covariance
from nsh.theory.effective.layers.dense import Elementwise
from nsh.theory.effective.layers.inputs import LayerInputs, is_tokens
from nsh.theory.effective.layers.layer import Layer

NUMBERS = 2**16  # of covariances in one block: what a processor's cache holds
ROWS = 2**16  # of positions whose moments are computed together


class Known(eqx.Module):
    """Of each input alone, leading axis [n]: itself, its kernels, and what its pairs need."""

    x: LayerInputs
    nngp: Array
    ntk: Array
    kept: PyTree


@partial(jax.jit, static_argnames="block")
def kernels_of_layers(
    layer: Layer, x: LayerInputs, z: LayerInputs | None, block: int | None
) -> tuple[Array, Array, Array]:
    """NNGP, NTK and error of all pairs, [n, m, *positions]; the inputs are checked already."""
    first = known_of(layer, x)
    second = first if z is None else known_of(layer, z)
    size = block or block_of(layer, x)
    found = _in_blocks(layer, first, second, size, symmetric=z is None)
    error = jnp.zeros_like(found.ntk)
    if found.error is not None:
        of_K, of_Theta = (
            one / floored(jnp.sqrt(a[:, None] * b[None]))
            for one, a, b in (
                (found.error.K, first.nngp, second.nngp),
                (found.error.Theta, first.ntk, second.ntk),
            )
        )
        error = jnp.maximum(of_K, of_Theta)
    if z is not None:
        return found.nngp, found.ntk, error
    nngp, ntk = mirrored(found.nngp, first.nngp), mirrored(found.ntk, first.ntk)
    return nngp, ntk, mirrored(error)


def block_of(layer: Layer, x: LayerInputs) -> int:
    """Inputs on a side of a block, whose covariances fit in a processor's cache."""
    count = _positions(x)
    numbers = count**2 if layer.needs_all_pairs(False) else count
    return max(1, int((NUMBERS / numbers) ** 0.5))


def _in_blocks(
    layer: Layer, first: Known, second: Known, block: int, *, symmetric: bool
) -> Covariance:
    """All pairs, block by block; of inputs with themselves only those on one side."""
    shape = len(first.x), len(second.x)
    if max(shape) <= block:
        return pairs_of_known(layer, first, second)
    first, second = _padded(first, block), _padded(second, block)

    @jax.checkpoint
    def block_of(row: Array, column: Array) -> Covariance:
        return pairs_of_known(layer, _part(first, row, block), _part(second, column, block))

    return in_blocks(block_of, shape, block, symmetric=symmetric)


def _part(known: Known, start: Array, count: int) -> Known:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, count), known)


def _padded(known: Known, block: int) -> Known:
    """The last input repeated until their number is a multiple of `block`."""
    count = len(known.x)
    place = np.minimum(np.arange(-(-count // block) * block), count - 1)
    return jax.tree.map(lambda leaf: leaf[place], known)


def known_of(layer: Layer, x: LayerInputs) -> Known:
    """The recursion of inputs alone."""

    def one(x: LayerInputs) -> Known:
        covariance, kept = layer.of_one(_first(layer, x, x, error=False), False)
        covariance = covariance.as_needed(False).there()
        return Known(x, covariance.nngp, covariance.ntk, kept)

    size = max(1, ROWS // max(1, _positions(x)))
    return jax.vmap(one)(x) if len(x) <= size else jax.lax.map(one, x, batch_size=size)


def pairs_of_known(layer: Layer, first: Known, second: Known) -> Covariance:
    """All pairs of inputs: leaves [n, m, *positions]."""

    error = not exact(layer)

    def pair(a: Known, b: Known) -> Covariance:
        found = layer.of_pairs(_first(layer, a.x, b.x, error=error), a.kept, b.kept, False)
        return found.as_needed(False).there()

    return jax.vmap(lambda a: jax.vmap(lambda b: pair(a, b))(second))(first)


def exact(layer: Layer) -> bool:
    """Whether all activations have closed forms with no errors but rounding."""
    parts = jax.tree.leaves(layer, is_leaf=lambda part: isinstance(part, Elementwise))
    duals = [part.activation.dual for part in parts if isinstance(part, Elementwise)]
    return all(dual is not None and dual.exact for dual in duals)


def _positions(inputs: LayerInputs) -> int:
    return int(np.prod(inputs.x.shape[1 if is_tokens(inputs.x) else 2 :]))


def _first(layer: Layer, a: LayerInputs, b: LayerInputs, *, error: bool) -> Covariance:
    """Of two inputs themselves: a mean over features, or whether tokens are equal."""
    x, z, sides = a.x, b.x, (a.side(), b.side())
    tokens = is_tokens(x)
    d = x.ndim if tokens else x.ndim - 1
    all_pairs = d > 0 and layer.needs_all_pairs(False)
    if tokens:
        features = 1
        x = x.reshape(*x.shape, *(1,) * d) if all_pairs else x
        nngp = x == (z.reshape(*(1,) * d, *z.shape) if all_pairs else z)
        nngp = nngp.astype(jnp.zeros(()).dtype)
    else:
        features = len(x)
        where = "xyzw"[:d], "abcd"[:d]
        how = f"i{where[0]},i{where[1]}->{where[0]}{where[1]}" if all_pairs else "i...,i...->..."
        nngp = jnp.einsum(how, x, z, precision="highest") / features
    zero = jnp.zeros_like(nngp)
    rounding = None
    if error:
        rounding = Errors(zero, zero)
        if not tokens:
            one, other = (jnp.sqrt(jnp.mean(value**2, 0)) for value in (x, z))
            size = jnp.multiply.outer(one, other) if all_pairs else one * other
            rounding = Errors(float(jnp.finfo(nngp.dtype).eps) * size, zero)
    return Covariance(nngp, zero, rounding, features, d, all_pairs, sides)
