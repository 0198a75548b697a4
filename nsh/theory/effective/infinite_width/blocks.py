"""Kernels of more inputs than a device's memory, or any memory, holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh._checks import require, require_integer
from nsh._types import ArrayLike
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.infinite_width.dual import dual_of
from nsh.theory.effective.infinite_width.hermite import TERMS
from nsh.theory.effective.infinite_width.kernels import (
    BLOCK,
    Kernels,
    Rows,
    as_inputs,
    padded,
    pairs_of,
    rows_of,
    symmetric,
    with_errors,
)
from nsh.theory.effective.infinite_width.resources import require_memory
from nsh.theory.effective.layers.inputs import LayerInputs, as_layer_inputs
from nsh.theory.effective.layers.layer import Layer
from nsh.theory.effective.layers.recursion import kernels_of_layers

Place = tuple[slice, slice]


def kernels_on_host(
    network: Architecture | Layer,
    x: ArrayLike | LayerInputs,
    z: ArrayLike | LayerInputs | None = None,
    *,
    block: int = BLOCK,
    terms: int = TERMS,
) -> Kernels:
    """As `kernels`, into NumPy arrays in the host's memory, filled block by block.

    Besides the three results it needs memory for what is known of each input alone (of layers:
    of the inputs of a block), and for some blocks. Not traceable. Raises `ValueError` as `kernels`
    does; where the results do not fit, `iterate_kernel_blocks` gives them one block at a time.

    Example:
        >>> from nsh.theory.effective import Architecture, kernels_on_host
        >>> result = kernels_on_host(Architecture("linear", 1, C_W=2.0), jnp.ones((2, 1)))
        >>> type(result.nngp).__name__, result.nngp.round(4).tolist()
        ('ndarray', [[2.0, 2.0], [2.0, 2.0]])
    """
    first, second = _inputs(network, x, z)
    shape, dtype = (len(first), len(first if second is None else second)), jnp.zeros(()).dtype
    needed = 3 * shape[0] * shape[1] * dtype.itemsize
    require_memory(shape, needed, "iterate_kernel_blocks", host=True)
    whole = None
    for (row, column), found in iterate_kernel_blocks(
        network, first, second, block=block, terms=terms
    ):
        if whole is None:
            more = found.nngp.shape[2:]  # positions that are left
            whole = Kernels(*(np.empty((*shape, *more), dtype) for _ in Kernels._fields))
        for matrix, part in zip(whole, found, strict=True):
            matrix[row, column] = part
            if second is None and row != column:
                matrix[column, row] = np.swapaxes(part, 0, 1)
    assert whole is not None
    return whole


def iterate_kernel_blocks(
    network: Architecture | Layer,
    x: ArrayLike | LayerInputs,
    z: ArrayLike | LayerInputs | None = None,
    *,
    block: int = BLOCK,
    terms: int = TERMS,
) -> Iterator[tuple[Place, Kernels]]:
    """Yield ((rows, columns), kernels of these) as NumPy arrays, block by block.

    Of x with itself, the blocks on and above the diagonal. Raises `ValueError` as `kernels` does,
    memory aside.

    Example:
        >>> from nsh.theory.effective import Architecture, iterate_kernel_blocks
        >>> blocks = iterate_kernel_blocks(Architecture("linear", 1), jnp.eye(3), block=2)
        >>> [block.nngp.shape for _, block in blocks]
        [(2, 2), (2, 1), (1, 1)]
    """
    require_integer("block", block, 1)
    first, second = _inputs(network, x, z)
    block_of = _blocks_of(network, first, second, block, terms)
    heights, widths = len(first), len(first if second is None else second)
    for row in range(0, heights, block):
        for column in range(row if second is None else 0, widths, block):
            found = block_of(row, column, second is None and row == column)
            place = (
                slice(row, min(row + block, heights)),
                slice(column, min(column + block, widths)),
            )
            inside = tuple(slice(0, one.stop - one.start) for one in place)
            yield place, Kernels(*(np.asarray(matrix)[inside] for matrix in found))


def _inputs(
    network: Architecture | Layer, x: ArrayLike | LayerInputs, z: ArrayLike | LayerInputs | None
) -> tuple[Any, Any]:
    """Arrays, or `LayerInputs` of layers."""
    if isinstance(network, Layer):
        return as_layer_inputs(network, x, z)[:2]
    allowed = "an Architecture, or a layer of nsh.theory.effective.layers"
    require(isinstance(network, Architecture), "network", network, allowed)
    return as_inputs(x, z)


def _blocks_of(
    network: Architecture | Layer, x: Any, z: Any, block: int, terms: int
) -> Callable[[int, int, bool], Kernels]:
    """A function (first row, first column, whether they are the same inputs) -> their block."""
    if isinstance(network, Layer):

        def of_layers(row: int, column: int, same: bool) -> Kernels:
            rows = _some(x, row, block)
            columns = None if same else _some(x if z is None else z, column, block)
            return Kernels(*kernels_of_layers(network, rows, columns, None))

        return of_layers
    first = _rows(network, x, block, terms)
    second = first if z is None else _rows(network, z, block, terms)
    return lambda row, column, same: _block(network, first, second, row, column, block, terms, same)


def _some(x: LayerInputs, start: int, count: int) -> LayerInputs:
    """`count` inputs from `start` on, the last repeated if there are fewer: one program for all."""
    return x[np.minimum(np.arange(start, start + count), len(x) - 1)]


@partial(jax.jit, static_argnames=("block", "terms"))
def _rows(architecture: Architecture, x: Array, block: int, terms: int) -> Rows:
    return padded(rows_of(architecture, dual_of(architecture.activation, terms), x), block)


@partial(jax.jit, static_argnames=("block", "terms", "same"))
def _block(
    architecture: Architecture,
    first: Rows,
    second: Rows,
    row: int | Array,
    column: int | Array,
    block: int,
    terms: int,
    same: bool,
) -> Kernels:
    known = dual_of(architecture.activation, terms)
    a, b = first.at(row, block), second.at(column, block)
    found = pairs_of(architecture, known, a, b)
    return symmetric(found, a) if same else with_errors(found)
