"""Ensembles over seeds and over hyperparameter grids at once, in chunks of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import (
    MOST,
    is_concrete,
    require,
    require_integer,
    require_key,
    require_numeric,
)
from nsh.system import System
from nsh.training.batches import Sampler
from nsh.training.layout import Layout
from nsh.training.loop import Run, as_run, checked_method, make_plan
from nsh.training.members import Device, shares
from nsh.training.method import Method
from nsh.training.plan import Outcome, Plan, SaveAt, as_arrays

# within 1.7 times the best on 2 CPU cores (experiments/benchmarks/lanes.py), and few enough for
# small ensembles to be shared out among devices
TINY_STATE_BYTES, TINY_LANES, LANES = 1024, 64, 8


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
    method: Method | None = None,
    grid: int = 0,
    first_seed: int = 0,
    lanes: int | None = None,
    chunk: int | None = None,
    devices: Sequence[Device] | None = None,
    advance: Callable[[int], Any] | None = None,
) -> Run:
    """Train many seeds, for many hyperparameters: `train`, with leading axes [*grid, seeds].

    Seed i starts from ``fold_in(key, i)``: it is bitwise the same whatever `seeds`, `chunk` and
    `devices` are, and the same for every hyperparameter.

    `grid`: number of leading axes of the leaves of `hyper` that are a grid (see `hyper_grid`).
    `first_seed`: the seeds are first_seed .. first_seed + seeds - 1. `lanes`: how many members are
    vmapped together; such groups run one after the other (`lax.map`), so 1 means no vmap at all.
    Default: 64 for states below 1 KB, else 8, as measured; the number of members is rounded up
    to whole groups. `chunk`: how many members are trained by one call, results being moved to host
    memory in between; default: all, and then the result is differentiable and nothing leaves the
    device. `devices`: over which the members are shared out, default all of `jax.devices()`, those
    of other hosts too after `jax.distributed.initialize()`; then every host makes the same call
    and has the whole result. `advance`: called with the number of members done after each chunk,
    for progress bars.

    Raises `ValueError` on bad input, before compiling.
    """
    require_key(key)
    hyper = as_arrays(hyper)
    plan, shape = grid_plan(system, examples, hyper, steps, sampler, save, grid)
    method = checked_method(method, plan)
    check_seeds(seeds, first_seed, math.prod(shape))
    if lanes is None:
        lanes = default_lanes(plan)
    require_integer("lanes", lanes, 1)
    members = math.prod(shape) * seeds
    chunk = members if chunk is None else require_integer("chunk", chunk, 1)
    # whole groups of lanes, and the last chunk as long as the others: one program runs them all
    size, devices = shares(min(chunk, members), lanes, checked_devices(devices))
    layout = Layout(jnp.asarray(first_seed, jnp.int32), shape, seeds, lanes, devices)
    hypers, parts = layout.over_points(hyper), []
    for first in range(0, members, chunk):
        count = min(chunk, members - first)
        result = _members(plan, hypers, method, key, layout, layout.numbers(first, size))
        part = jax.tree.map(lambda leaf, count=count: leaf[:count], result)
        parts.append(part if chunk >= members else _on_host(part))
        if advance is not None:
            jax.block_until_ready(part)
            advance(count)
    joined = parts[0] if len(parts) == 1 else jax.tree.map(_joined, *parts)
    shaped = jax.tree.map(lambda leaf: leaf.reshape(*shape, seeds, *leaf.shape[1:]), joined)
    return as_run(shaped, plan)


def hyper_grid(make: Callable[..., PyTree], **axes: Any) -> PyTree:
    """Hyperparameters on the product grid of named axes: leaves [len(axis 1), len(axis 2), ...].

    ``hyper_grid(lambda a, b: Rules(Geometric(a), Geometric(b)), a=[1.05, 1.1], b=[0.9, 0.99])``
    has two grid axes; give ``grid=2`` to `ensemble`, which checks every point's values.
    """
    for name, axis in axes.items():
        require(np.ndim(axis) == 1 and np.size(axis) > 0, name, axis, "a non-empty list of numbers")
        if is_concrete(axis):
            require_numeric(name, axis)
    values = [jnp.asarray(axis, dtype=float) for axis in axes.values()]
    for place in reversed(range(len(values))):
        make = _over_axis(make, list(axes)[place])
    return make(**dict(zip(axes, values, strict=True)))


def default_lanes(plan: Plan) -> int:
    """Choose the members to vmap together: more for tiny states, bound by the cost of dispatch."""
    state = eqx.filter_eval_shape(plan.system.init, jax.random.key(0), plan.hyper)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return TINY_LANES if size < TINY_STATE_BYTES else LANES


def check_seeds(seeds: int, first_seed: int, points: int) -> None:
    """Raise `ValueError` unless members and numbers of seeds are 32-bit integers."""
    require_integer("seeds", seeds, 1, MOST // max(points, 1))
    require_integer("first_seed", first_seed, 0, MOST - seeds + 1)


def checked_devices(devices: Sequence[Device] | None) -> tuple[Device, ...]:
    """The devices to use, by default all."""
    chosen = tuple(jax.devices() if devices is None else devices)
    usable = all(isinstance(device, jax.Device) for device in chosen) and len(chosen) > 0
    require(usable, "devices", devices, "one or more of jax.devices()")
    return chosen


def grid_plan(
    system: System,
    examples: PyTree,
    hyper: PyTree,
    steps: int,
    sampler: Sampler | None,
    save: SaveAt | None,
    grid: int,
) -> tuple[Plan, tuple[int, ...]]:
    """The plan at the first point of a grid of hyperparameters, all of them checked; its shape."""
    shape = _grid_shape(hyper, grid)
    first, *others = np.ndindex(shape) if is_concrete(hyper) else [(0,) * grid]

    def at(index: tuple[int, ...]) -> Plan:
        point = jax.tree.map(lambda leaf: leaf[index], hyper)
        return make_plan(system, examples, point, steps, sampler, save)

    for index in others:
        at(index)
    return at(first), shape


def _on_host(tree: PyTree) -> PyTree:
    """Arrays in host memory; random keys, which an optimiser's state may hold, have no such."""
    keys, numbers = eqx.partition(tree, _is_keys)
    return eqx.combine(keys, jax.device_get(numbers))


def _joined(*parts: Any) -> Any:
    return jnp.concatenate(parts) if _is_keys(parts[0]) else np.concatenate(parts)


def _is_keys(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


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
    plan: Plan,
    hypers: PyTree,
    method: Method,
    key: Key[Array, ""],
    layout: Layout,
    numbers: Int[Array, " size"],
) -> Outcome:
    def one(plan: Plan, hyper: PyTree, key: Key[Array, ""]) -> Outcome:
        return method.run(replace(plan, hyper=hyper), key)

    return layout.of(one, plan, hypers, key, numbers)
