"""Kernel matrices of many inputs as linear maps, made block by block and never held whole."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from nsh._checks import as_finite, require
from nsh._types import ArrayLike
from nsh.theory.effective.prediction.matrices import MATMUL

Kernel = Callable[[Array, Array], Array]
Inputs = Shaped[Array, "blocks block ..."]


class KernelMatrix(eqx.Module):
    """The symmetric matrix ``kernel(x, x)`` of `count` inputs, as a map.

    `inputs`: in blocks, the last input repeated in the last one. Only blocks on and above the
    diagonal are made; `kept` has them if they are in memory.
    """

    kernel: Kernel
    inputs: Inputs
    count: int = eqx.field(static=True)
    kept: Float[Array, "pairs block block"] | None = None

    def keep(self) -> KernelMatrix:
        """The same with its blocks in memory, constant for derivatives."""

        def one(place: tuple[Array, Array]) -> Array:
            row, column = place
            return self.kernel(self.inputs[row], self.inputs[column])

        blocks = jax.lax.stop_gradient(jax.lax.map(one, self._places()))
        return KernelMatrix(self.kernel, self.inputs, self.count, blocks)

    def times(self, v: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """``kernel(x, x) v``: every pair of inputs is looked at once."""
        blocks, size = self.inputs.shape[:2]
        padded = jnp.pad(v, ((0, blocks * size - len(v)), (0, 0)))
        # columns of v as rows: then a block is read as it is stored, also for its transpose
        rows = jnp.swapaxes(padded.reshape(blocks, size, -1), 1, 2)

        @jax.checkpoint
        def add(total: Array, given: tuple[Array, Array, Array | None]) -> tuple[Array, None]:
            row, column, block = given
            if block is None:
                block = self.kernel(self.inputs[row], self.inputs[column])
            # a block on the diagonal is made symmetric: half of it, and half of its transpose
            share = jnp.where(row == column, 0.5, 1.0).astype(v.dtype)
            here = jnp.einsum("kj,ij->ki", rows[column], block, precision=MATMUL)
            there = jnp.einsum("ki,ij->kj", rows[row], block, precision=MATMUL)
            return total.at[row].add(share * here).at[column].add(share * there), None

        total, _ = jax.lax.scan(add, jnp.zeros_like(rows), (*self._places(), self.kept))
        return jnp.swapaxes(total, 1, 2).reshape(blocks * size, -1)[: len(v)]

    def diagonal(self) -> Float[Array, " n"]:
        """Of the matrix."""
        return diagonal_of(self.kernel, self.inputs)[: self.count]

    def columns(self, z: Shaped[Array, "m ..."]) -> Float[Array, "n m"]:
        """``kernel(x, z)`` of a few z."""
        found = jax.lax.map(jax.checkpoint(lambda block: self.kernel(block, z)), self.inputs)
        return found.reshape(-1, len(z))[: self.count]

    def cross_times(self, z: Inputs, v: Float[Array, "n k"]) -> Float[Array, "m k"]:
        """``kernel(z, x) v`` for z in blocks, whose padding is left in."""
        blocks, size = self.inputs.shape[:2]
        padded = jnp.pad(v, ((0, blocks * size - len(v)), (0, 0))).reshape(blocks, size, -1)

        def row(one: Array) -> Array:
            @jax.checkpoint
            def add(total: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
                inputs, part = given
                return total + jnp.matmul(self.kernel(one, inputs), part, precision=MATMUL), None

            start = jnp.zeros((len(one), v.shape[1]), v.dtype)
            return jax.lax.scan(add, start, (self.inputs, padded))[0]

        return jax.lax.map(row, z).reshape(-1, v.shape[1])

    def _places(self) -> tuple[Array, Array]:
        """Rows and columns of the blocks."""
        row, column = np.triu_indices(len(self.inputs))
        return jnp.asarray(row, jnp.int32), jnp.asarray(column, jnp.int32)


def kept_bytes(count: int, block: int, itemsize: int) -> int:
    """What the blocks of a matrix of this many inputs take if they are kept."""
    blocks = -(-count // block)
    return blocks * (blocks + 1) // 2 * block**2 * itemsize


def in_blocks(x: Shaped[Array, "n ..."], block: int) -> Inputs:
    """Inputs in blocks, the last one repeated until they are full."""
    blocks = -(-len(x) // block)
    place = np.minimum(np.arange(blocks * block), len(x) - 1)
    return x[place].reshape(blocks, block, *x.shape[1:])


def diagonal_of(kernel: Kernel, inputs: Inputs) -> Float[Array, " n"]:
    """Each input's kernel with itself, the padding's too."""
    found = jax.lax.map(jax.checkpoint(lambda one: jnp.diagonal(kernel(one, one))), inputs)
    return found.reshape(-1)


def as_inputs(field: str, given: ArrayLike, like: Array | None = None) -> Array:
    """Inputs with at least one axis of features, of the type and features of `like`.

    Numbers of an integer type stay what they are: they may be tokens.
    """
    x = as_finite(field, given, None)
    whole = jnp.issubdtype(getattr(given, "dtype", None) or np.asarray(given).dtype, jnp.integer)
    x = jnp.asarray(given) if whole else x
    features = ("...",) if like is None else like.shape[1:]
    right = x.ndim >= 2 and x.size > 0 and (like is None or x.shape[1:] == features)
    allowed = f"(inputs, {', '.join(map(str, features))}), one input or more"
    require(right, f"{field}.shape", x.shape, allowed)
    if like is not None and jnp.issubdtype(like.dtype, jnp.floating):
        return x.astype(like.dtype)
    if like is not None:
        require(x.dtype == like.dtype, f"{field}.dtype", str(x.dtype), f"{like.dtype}, as x's")
    return x


def dtype_of_kernel(kernel: object, x: Array, block: int) -> np.dtype:
    """Its floating-point type, `kernel` being a function of two blocks that gives a matrix.

    Raises `ValueError` if it is not.
    """
    require(callable(kernel), "kernel", kernel, "a function of two blocks of inputs")
    one = jax.ShapeDtypeStruct((block, *x.shape[1:]), x.dtype)
    found = jax.eval_shape(kernel, one, one)  # pyright: ignore[reportArgumentType]
    shape = getattr(found, "shape", found)
    allowed = f"{(block, block)}, of {block} inputs x and {block} inputs z"
    require(shape == (block, block), "kernel(x, z).shape", shape, allowed)
    dtype, own = np.dtype(found.dtype), jnp.issubdtype(x.dtype, jnp.floating)
    right = dtype == x.dtype if own else jnp.issubdtype(dtype, jnp.floating)
    allowed = f"{x.dtype}, as the inputs'" if own else "a floating-point type"
    require(right, "kernel(x, z).dtype", str(dtype), allowed)
    return dtype
