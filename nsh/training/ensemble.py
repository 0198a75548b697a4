"""Ensembles over seeds and over hyperparameter grids at once, in chunks of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from nsh._checks import is_concrete, require, require_integer
from nsh.system import System
from nsh.training.batches import Sampler, WithReplacement
from nsh.training.loop import Run, SaveAt, _scan, as_arrays, check_run

# within 1.3 times the best on 2 CPU cores, see experiments/benchmarks/lanes.py
TINY_STATE_BYTES, TINY_LANES, LANES = 1024, 64, 16


def ensemble(
    system: System,
    examples: PyTree,
    hyper: PyTree,
    key: Key[Array, ""],
    *,
    seeds: int,
    steps: int,
    sampler: Sampler | None = None,
    save: SaveAt | None = None,
    grid: int = 0,
    lanes: int | None = None,
    chunk: int | None = None,
    advance: Callable[[int], Any] | None = None,
) -> Run:
    """Train many seeds, for many hyperparameters: `train`, with leading axes [*grid, seeds].

    Seed i starts from ``fold_in(key, i)``: it is bitwise the same whatever `seeds` and `chunk`
    are, and the same for every hyperparameter.

    `grid`: number of leading axes of the leaves of `hyper` that are a grid (see `hyper_grid`).
    `lanes`: how many members are vmapped together; such groups run one after the other
    (`lax.map`), so 1 means no vmap at all. Default: 64 for states below 1 KB, else 16, as
    measured; the number of members is rounded up to whole groups. `chunk`: how many members are
    trained by one call, results being moved to host memory in between; default: all, and then the
    result is differentiable and nothing leaves the device. `advance`: called with the number of
    members done after each chunk, for progress bars.

    Raises `ValueError` on bad input, before compiling.
    """
    sampler = WithReplacement() if sampler is None else sampler
    save = SaveAt() if save is None else save
    hyper = as_arrays(hyper)
    require_integer("seeds", seeds, 1)
    shape = _grid_shape(hyper, grid)
    for index in np.ndindex(shape) if is_concrete(hyper) else [(0,) * grid]:
        member = jax.tree.map(lambda leaf, index=index: leaf[index], hyper)
        check_run(system, examples, member, steps, sampler)
    times = np.asarray(save.times(steps), np.int32)
    if lanes is None:
        lanes = default_lanes(system, hyper, grid)
    require_integer("lanes", lanes, 1)
    points = math.prod(shape)
    members = points * seeds
    chunk = members if chunk is None else require_integer("chunk", chunk, 1)
    flat = jax.tree.map(lambda leaf: jnp.reshape(leaf, (points, *leaf.shape[grid:])), hyper)
    # whole groups of lanes, and the last chunk as long as the others: one program runs them all
    padded = math.ceil(min(chunk, members) / lanes) * lanes
    parts = []
    for first in range(0, members, chunk):
        count = min(chunk, members - first)
        numbers = np.minimum(np.arange(first, first + padded, dtype=np.int32), members - 1)
        point, seed = (jnp.asarray(part) for part in np.divmod(numbers, np.int32(seeds)))
        result = _members(system, examples, flat, key, point, seed, steps, sampler, save, lanes)
        part = jax.tree.map(lambda leaf, count=count: leaf[:count], result)
        parts.append(part if chunk >= members else jax.device_get(part))
        if advance is not None:
            jax.block_until_ready(part)
            advance(count)
    joined = parts[0] if len(parts) == 1 else jax.tree.map(lambda *p: np.concatenate(p), *parts)
    final, saved, status = jax.tree.map(
        lambda leaf: leaf.reshape(*shape, seeds, *leaf.shape[1:]), joined
    )
    return Run(final, saved, times, status)


def hyper_grid(make: Callable[..., PyTree], **axes: Any) -> PyTree:
    """Hyperparameters on the product grid of named axes: leaves [len(axis 1), len(axis 2), ...].

    ``hyper_grid(lambda a, b: Rules(Geometric(a), Geometric(b)), a=[1.05, 1.1], b=[0.9, 0.99])``
    has two grid axes; give ``grid=2`` to `ensemble`, which checks every point's values.
    """
    for name, axis in axes.items():
        require(np.ndim(axis) == 1 and np.size(axis) > 0, name, axis, "a non-empty list of numbers")
    values = [jnp.asarray(axis, dtype=float) for axis in axes.values()]
    for place in reversed(range(len(values))):
        make = _over_axis(make, list(axes)[place])
    return make(**dict(zip(axes, values, strict=True)))


def default_lanes(system: System, hyper: PyTree, grid: int) -> int:
    """How many members to vmap together: more for tiny states, bound by the cost of dispatch."""
    point = jax.tree.map(lambda leaf: jnp.asarray(leaf)[(0,) * grid], hyper)
    state = eqx.filter_eval_shape(system.init, jax.random.key(0), point)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return TINY_LANES if size < TINY_STATE_BYTES else LANES


def _over_axis(make: Callable[..., PyTree], name: str) -> Callable[..., PyTree]:
    def along(**values: Any) -> PyTree:
        rest = {other: value for other, value in values.items() if other != name}
        return jax.vmap(lambda value: make(**{name: value}, **rest))(values[name])

    return along


def _grid_shape(hyper: PyTree, grid: int) -> tuple[int, ...]:
    require_integer("grid", grid, 0)
    shapes = {np.shape(leaf)[:grid] for leaf in jax.tree.leaves(hyper)}
    allowed = f"the same for all leaves, {grid} axes"
    require(len(shapes) <= 1, "grid axes of hyper", sorted(shapes), allowed)
    shape = shapes.pop() if shapes else ()
    require(len(shape) == grid, "grid axes of hyper", shape, allowed)
    return shape


@eqx.filter_jit
def _members(
    system: System,
    examples: PyTree,
    hypers: PyTree,
    key: Key[Array, ""],
    points: Array,
    seeds: Array,
    steps: int,
    sampler: Sampler,
    save: SaveAt,
    lanes: int,
) -> PyTree:
    def one(member: tuple[Array, Array]) -> PyTree:
        point, seed = member
        hyper = jax.tree.map(lambda leaf: leaf[point], hypers)
        member_key = jax.random.fold_in(key, seed)
        return _scan(system, examples, hyper, member_key, steps, sampler, save)

    return jax.lax.map(one, (points, seeds), batch_size=lanes if lanes > 1 else None)
