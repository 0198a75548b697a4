"""Windows that slide over positions: their sizes, paddings, strides, and sums over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh._checks import require, require_integer

Pads = tuple[tuple[int, int], ...]
NAMES = "VALID", "SAME"


def as_sizes(field: str, given: Any, least: int = 1) -> tuple[int, ...] | int:
    """One integer for all dimensions, or one each."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        return tuple(require_integer(f"{field}[{i}]", size, least) for i, size in enumerate(given))
    return require_integer(field, given, least)


def each(field: str, sizes: tuple[Any, ...] | int, dimensions: int) -> tuple[Any, ...]:
    """One for each of the dimensions."""
    if isinstance(sizes, int):
        return (sizes,) * dimensions
    require(len(sizes) == dimensions, field, sizes, f"{dimensions}, one for each axis of positions")
    return sizes


def as_padding(given: Any) -> str | Any:
    """Names as they are; integers, or pairs of integers before and after, for each axis."""
    if isinstance(given, str):
        require(given in NAMES, "padding", given, f"{' or '.join(NAMES)}, or integers >= 0")
        return given
    pairs = isinstance(given, Sequence) and any(isinstance(one, Sequence) for one in given)
    if not pairs:
        return as_sizes("padding", given, 0)
    found = tuple(as_sizes(f"padding[{i}]", one, 0) for i, one in enumerate(given))
    allowed = "pairs of integers, one for each axis of positions"
    fits = all(isinstance(one, tuple) and len(one) == 2 for one in found)
    require(fits, "padding", given, allowed)
    return found


def pads(
    field: str, padding: Any, positions: tuple[int, ...], window: tuple[int, ...], stride: tuple
) -> Pads:
    """Positions added before and after, along each axis; `window`: with its dilation."""
    if padding == "VALID":
        return ((0, 0),) * len(positions)
    if padding == "SAME":
        found = []
        for size, width, step in zip(positions, window, stride, strict=True):
            more = max((-(-size // step) - 1) * step + width - size, 0)
            found.append((more // 2, more - more // 2))
        return tuple(found)
    given = each(field, padding, len(positions))
    return tuple(one if isinstance(one, tuple) else (one, one) for one in given)


def length(size: int, pad: tuple[int, int], window: int, step: int) -> int:
    """How many places a window has; 0 or fewer where it does not fit."""
    return (size + sum(pad) - window) // step + 1


def sums(
    array: Array,
    axes: Sequence[int],
    pad: tuple[int, int],
    size: int,
    step: int = 1,
    dilation: int = 1,
    mode: str = "ZEROS",
) -> Array:
    """Sums over a window that slides along all `axes` at once, by the same offset.

    At place p: ``sum_d array[step p + dilation d - pad]`` with d = 0..size - 1, along each axis.
    """
    if any(pad) and (mode == "CIRCULAR" or min(pad) < 0 or len(axes) > 1):
        widths = [pad if axis in axes else (0, 0) for axis in range(array.ndim)]
        if mode == "CIRCULAR":
            array = jnp.pad(array, widths, mode="wrap")
        else:  # negative ones, of transposed convolutions, take away
            zero = jnp.zeros((), array.dtype)
            array = jax.lax.pad(array, zero, [(*width, 0) for width in widths])
        pad = (0, 0)
    if len(axes) == 1:
        # one operation: compilers leave what comes before it as it is, where they would compute it
        # again for each of several slices, number by number
        sizes, steps, spaces = ([1] * array.ndim for _ in range(3))
        (axis,) = axes
        sizes[axis], steps[axis], spaces[axis] = size, step, dilation
        padding = [pad if place == axis else (0, 0) for place in range(array.ndim)]
        zero = np.zeros((), array.dtype)
        return jax.lax.reduce_window(
            array, zero, jax.lax.add, sizes, steps, padding, window_dilation=spaces
        )
    # else compilers compute what is summed anew for each offset
    array = jax.lax.optimization_barrier(array)
    first = axes[0]
    count = (array.shape[first] - dilation * (size - 1) - 1) // step + 1
    total = None
    for offset in range(size):
        start = offset * dilation
        inside = [slice(None)] * array.ndim
        for axis in axes:
            inside[axis] = slice(start, start + step * (count - 1) + 1, step)
        part = array[tuple(inside)]
        total = part if total is None else total + part
    assert total is not None
    return total


def spread(array: Array, axes: Sequence[int], step: int) -> Array:
    """Zeros between all entries along the axes, which are `step` apart afterwards."""
    if step == 1:
        return array
    shape = list(array.shape)
    inside = [slice(None)] * array.ndim
    for axis in axes:
        shape[axis] = (shape[axis] - 1) * step + 1
        inside[axis] = slice(None, None, step)
    return jnp.zeros(shape, array.dtype).at[tuple(inside)].set(array)


def window_ends(present: Array, pads: Pads, window: Sequence[int], stride: Sequence[int]) -> Array:
    """Of each place of a window: whether the last input in it is there, the padding left out.

    Of inputs whose first positions are there, these are the places they would have alone.
    """
    places = []
    for size, pad, width, step in zip(present.shape, pads, window, stride, strict=True):
        places.append(step * np.arange(length(size, pad, width, step)) + width - 1 - sum(pad))
    return taken(present, places)


def taken(array: Array, places: Sequence[np.ndarray]) -> Array:
    """Entries at these places along each axis; places beyond the ends are those at the ends."""
    for axis, place in enumerate(places):
        array = jnp.take(array, np.clip(place, 0, array.shape[axis] - 1), axis)
    return array


def product(sizes: Sequence[int]) -> int:
    """Of the sizes."""
    return int(np.prod(sizes, dtype=int))
