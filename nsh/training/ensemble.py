"""Ensembles over seeds and over hyperparameter grids at once, in chunks of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import (
    MOST,
    is_concrete,
    plain_integer,
    require,
    require_integer,
    require_key,
    require_numeric,
)
from nsh.training.checkpoints import (
    Checkpoints,
    Programs,
    begun,
    describe,
    follow,
    followed,
    stepping,
)
from nsh.training.problem import Method, Result, Run, TrainingProblem, as_run, check_method
from nsh.training.sequential import Sequential
from nsh.training.step_loop import Stretch
from nsh.training.varying import PerSeed, resolved

# a Device, which type checkers know as a variable
Device = Any
MemberFunction = Callable[..., PyTree]
AXIS = "members"

# within 1.7 times the best on 2 CPU cores (experiments/benchmarks/vmap_size.py), and few enough for
# small ensembles to be shared out among devices
TINY_STATE_BYTES, VMAP_SIZE_OF_TINY, VMAP_SIZE = 1024, 64, 8


def ensemble(
    problem: TrainingProblem,
    key: Key[Array, ""],
    *,
    seeds: int,
    first_seed: int = 0,
    method: Method = Sequential(),  # noqa: B008, an immutable value
    vmap_size: int | None = None,
    chunk: int | None = None,
    devices: Sequence[Device] | None = None,
    callback: Callable[[int | float], object] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Run:
    """Train many seeds, for many hyperparameters: `train`, with leading axes [*grid, seeds].

    Seed i starts from ``fold_in(key, i)``: it is bitwise the same whatever `seeds`, `chunk` and
    `devices` are, and the same for every hyperparameter. Systems, data and samplers may differ from
    seed to seed and from point to point: `PerSeed`, `PerPoint`.

    `first_seed`: the seeds are first_seed .. first_seed + seeds - 1. `vmap_size`: how many members
    are vmapped together; such groups run one after the other (`lax.map`), so 1 means no vmap at
    all. Default: 64 for states below 1 KB, else 8, as measured; the number of members is rounded
    up to whole groups. `chunk`: how many members are trained by one call, results being moved to
    host memory in between; default: all, and then the result is differentiable and nothing leaves
    the device. `devices`: over which the members are shared out, default all of `jax.devices()`,
    those of other hosts too after `jax.distributed.initialize()`; then every host makes the same
    call and has the whole result. `callback`: called with the number of members done after each
    chunk, for progress bars. `checkpoints`: where to save long runs as they go, see `Checkpoints`;
    then it is called after each stretch, with its share of the steps times the members. Seeds are
    then bitwise the same for the same `seeds`, `chunk` and number of devices, others up to
    rounding.

    Raises `ValueError` on bad input, before compiling.

    Example:
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> run = nsh.ensemble(problem, jax.random.key(0), seeds=3)
        >>> jnp.exp(run.state.log_amplification[:, 0]).round(2).tolist()
        [16.0, 16.0, 16.0]
    """
    require_key(key)
    check_method(method, problem.first_point)
    members = members_of(problem, seeds, first_seed, vmap_size, devices)
    total = members.count
    chunk = total if chunk is None else require_integer("chunk", chunk, 1)
    # whole groups, and the last chunk as long as the others: one program runs them all
    size, used = padded(min(chunk, total), members.vmap_size, members.devices)
    members = replace(members, devices=used)
    hypers, parts = members.flatten_grid(problem.hyper), []
    if checkpoints is not None:
        stepping(method, problem, key)
        describe(checkpoints, problem, {
            "function": "ensemble", "key": key, "method": method, "seeds": seeds,
            "first_seed": first_seed, "chunk": chunk, "vmap_size": members.vmap_size, "size": size,
            "devices": len(members.devices),
        })  # fmt: skip
    for first in range(0, total, chunk):
        count = min(chunk, total - first)
        some = _Some(problem, hypers, method, key, members, members.indices(first, size))
        if checkpoints is None:
            result = _train_some(some)
        else:
            programs, folder = some.programs(stepping(method)), f"members-{first}"
            told = _share(callback, count, problem.steps)
            result = follow(checkpoints, folder, programs, problem, told, axis=1)
        part = jax.tree.map(lambda leaf, count=count: leaf[:count], result)
        parts.append(part if chunk >= total else _on_host(part))
        if callback is not None and (checkpoints is None or problem.steps == 0):
            jax.block_until_ready(part)
            callback(count)
    joined = parts[0] if len(parts) == 1 else jax.tree.map(_joined, *parts)
    shape = *members.grid_shape, seeds
    result = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), joined)
    return as_run(result, problem)


def hyper_grid(make: Callable[..., PyTree], **axes: Any) -> PyTree:
    """Hyperparameters on the product grid of named axes: leaves [len(axis 1), len(axis 2), ...].

    ``hyper_grid(lambda a, b: Rules(Geometric(a), Geometric(b)), a=[1.05, 1.1], b=[0.9, 0.99])``
    has two grid axes; give ``grid_ndim=2`` to `TrainingProblem`, which checks every point.

    Example:
        >>> def make(a, b):
        ...     return nsh.Rules(nsh.Geometric(a), nsh.Geometric(b))
        >>> nsh.hyper_grid(make, a=[1.05, 1.1], b=[0.9, 0.95, 0.99]).growth.factor.shape
        (2, 3)
    """
    for name, axis in axes.items():
        require(np.ndim(axis) == 1 and np.size(axis) > 0, name, axis, "a non-empty list of numbers")
        if is_concrete(axis):
            require_numeric(name, axis)
    values = [jnp.asarray(axis, dtype=float) for axis in axes.values()]
    for name in reversed(list(axes)):
        make = _over_axis(make, name)
    return make(**dict(zip(axes, values, strict=True)))


def default_vmap_size(problem: TrainingProblem) -> int:
    """Choose the members to vmap together: more for tiny states, bound by the cost of dispatch."""
    point = problem.first_point
    state = eqx.filter_eval_shape(point.system.init, jax.random.key(0), point.hyper)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return VMAP_SIZE_OF_TINY if size < TINY_STATE_BYTES else VMAP_SIZE


def checked_devices(devices: Sequence[Device] | None) -> tuple[Device, ...]:
    """The devices to use, by default all."""
    chosen = tuple(jax.devices() if devices is None else devices)
    known = all(isinstance(device, jax.Device) for device in chosen) and len(chosen) > 0
    require(known, "devices", devices, "one or more of jax.devices()")
    return chosen


def members_of(
    problem: TrainingProblem,
    seeds: int,
    first_seed: int,
    vmap_size: int | None,
    devices: Sequence[Device] | None,
) -> Members:
    """The members of an ensemble; raises `ValueError` unless all numbers of seeds fit 32 bits."""
    points = math.prod(problem.grid_shape)
    require_integer("seeds", seeds, 1, MOST // points)
    require_integer("first_seed", first_seed, 0, MOST - seeds + 1)
    problem.check_seeds(first_seed, seeds)
    if vmap_size is None:
        vmap_size = default_vmap_size(problem)
    require_integer("vmap_size", vmap_size, 1)
    first = jnp.asarray(first_seed, jnp.int32)
    return Members(first, problem.grid_shape, seeds, vmap_size, checked_devices(devices))


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


class Members(eqx.Module):
    """The members of an ensemble: seeds first_seed .. first_seed + seeds - 1 at all grid points."""

    first_seed: Int[Array, ""]
    grid_shape: tuple[int, ...] = eqx.field(static=True)
    seeds: int = eqx.field(static=True, converter=plain_integer)
    vmap_size: int = eqx.field(static=True, converter=plain_integer)
    devices: tuple[Device, ...] = eqx.field(static=True)

    @property
    def grid_size(self) -> int:
        """Number of grid points."""
        return math.prod(self.grid_shape)

    @property
    def count(self) -> int:
        """Number of members: seeds at every point."""
        return self.grid_size * self.seeds

    def indices(self, first: int, size: int) -> Int[Array, " size"]:
        """Indices of members from the `first` on, the last being repeated to make up the size."""
        return jnp.asarray(np.minimum(np.arange(first, first + size), self.count - 1), jnp.int32)

    def map(
        self, function: MemberFunction, shared: PyTree, hypers: PyTree, key: Key[Array, ""]
    ) -> PyTree:
        """``function(shared, hyper, key)`` of all members, leaves [grid_size, seeds, ...]."""
        size, devices = padded(self.count, self.vmap_size, self.devices)
        used = replace(self, devices=devices)
        result = used.map_some(function, shared, hypers, key, self.indices(0, size))
        parts = (self.grid_size, self.seeds)
        return jax.tree.map(
            lambda leaf: leaf[: self.count].reshape(*parts, *leaf.shape[1:]), result
        )

    def map_some(
        self,
        function: MemberFunction,
        shared: PyTree,
        hypers: PyTree,
        key: Key[Array, ""],
        indices: Int[Array, " size"],
        own: PyTree = None,
    ) -> PyTree:
        """``function(shared, hyper, key)`` of some members, leaves [size, ...]; inside `jit`.

        `own`: what each member has besides, leaves [size, ...]; if it is given the function is
        called as ``function(shared, hyper, key, own)``.

        `shared`: of it each member sees its own entry of every `PerSeed` and `PerPoint`.
        `hypers`: leaves [grid_size, seeds, ...], with `seeds` 1 for all alike. `vmap_size` members
        are vmapped together, such groups run one after the other (`lax.map`), and each device has
        an equal share of the groups: numbers of members and devices are those of `padded`. What a
        device computes of a group does not depend on the others, so members are bitwise the same
        on any number of devices; those of modules with a state to rounding, as XLA orders their
        sums otherwise on one device than on more.
        """
        arrays, rest = eqx.partition((shared, hypers, key, self.first_seed), eqx.is_array)

        def of_one(arrays: PyTree, each: tuple[Int[Array, ""], PyTree]) -> PyTree:
            shared, hypers, key, first_seed = eqx.combine(arrays, rest)
            index, own = each
            more = () if own is None else (own,)
            point, seed = jnp.divmod(index, jnp.int32(self.seeds))
            hyper = jax.tree.map(lambda leaf: leaf[point, seed % leaf.shape[1]], hypers)
            number, place = first_seed + seed, jnp.unravel_index(point, self.grid_shape)
            seen = resolved(shared, place, number)
            return function(seen, hyper, jax.random.fold_in(key, number), *more)

        def on_device(
            of_one: MemberFunction, given: PyTree, each: tuple[Int[Array, " share"], PyTree]
        ) -> PyTree:
            def member(each: tuple[Int[Array, ""], PyTree]) -> PyTree:
                arrays, closed_over = given
                return of_one(arrays, each, *closed_over)

            if self.vmap_size == 1:
                return jax.lax.map(member, each)
            # not by `batch_size` of `lax.map`, which cannot shape results without numbers
            size = self.vmap_size
            # and all lengths by number: -1 cannot be told of arrays without numbers
            count = len(each[0]) // size
            groups = jax.tree.map(lambda leaf: leaf.reshape(count, size, *leaf.shape[1:]), each)
            result = jax.lax.map(jax.vmap(member), groups)
            return jax.tree.map(lambda leaf: jax.lax.collapse(leaf, 0, 2), result)

        if len(self.devices) == 1:
            return on_device(of_one, (arrays, ()), (indices, own))
        # traced before it goes on the mesh: there constants have other types than what is computed
        # from them, and Equinox's State refuses a leaf whose type changes
        first = jax.tree.map(lambda leaf: leaf[0], (indices, own))
        of_one, closed_over = jax.closure_convert(of_one, arrays, first)
        mesh = Mesh(np.asarray(self.devices), (AXIS,))
        everywhere, split = PartitionSpec(), PartitionSpec(AXIS)
        result = jax.shard_map(
            partial(on_device, of_one),
            mesh=mesh,
            in_specs=(everywhere, split),
            out_specs=split,
            check_vma=False,
        )((arrays, closed_over), (indices, own))
        if jax.process_count() > 1:  # so that every host has all of it
            result = jax.lax.with_sharding_constraint(result, NamedSharding(mesh, everywhere))
        return result

    def flatten_grid(self, hyper: PyTree) -> PyTree:
        """Hyperparameters [*grid, *leaf] as [grid_size, 1, *leaf], alike for all seeds.

        Those of `PerSeed` [*grid, entries, *leaf] as [grid_size, seeds, *leaf].
        """
        axes = len(self.grid_shape)
        if isinstance(hyper, PerSeed):
            entries = jax.tree.map(
                lambda x: jnp.reshape(x, (self.grid_size, *x.shape[axes:])), hyper.tree
            )
            return jax.tree.map(
                lambda x: jax.lax.dynamic_slice_in_dim(x, self.first_seed, self.seeds, 1), entries
            )
        return jax.tree.map(lambda x: jnp.reshape(x, (self.grid_size, 1, *x.shape[axes:])), hyper)

    def unflatten_grid(self, tree: PyTree) -> PyTree:
        """Leaves [grid_size, ...] as [*grid, ...]."""
        return jax.tree.map(lambda leaf: leaf.reshape(*self.grid_shape, *leaf.shape[1:]), tree)


def padded(count: int, vmap_size: int, devices: Sequence[Device]) -> tuple[int, tuple[Device, ...]]:
    """`count` members rounded up to whole groups to vmap on every device, and these devices.

    No more devices than groups, except that every host must take part.
    """
    groups = math.ceil(count / vmap_size)
    used = tuple(devices if jax.process_count() > 1 else devices[:groups])
    return math.ceil(groups / len(used)) * len(used) * vmap_size, used


class _Some(eqx.Module):
    """Some members to train, by one call or by several."""

    problem: TrainingProblem
    hypers: PyTree
    method: Method
    key: Key[Array, ""]
    members: Members
    indices: Int[Array, " size"]

    def map(self, function: MemberFunction, own: PyTree = None) -> PyTree:
        """``function(problem, key)`` or, of what each has, ``function(problem, key, own)``."""

        def one(problem: TrainingProblem, hyper: PyTree, key: Array, *own: PyTree) -> PyTree:
            return function(problem.at(hyper), key, *own)

        return self.members.map_some(one, self.problem, self.hypers, self.key, self.indices, own)

    def programs(self, method: Sequential) -> Programs:
        """To train them in stretches."""
        return Programs(
            lambda: _begin_some(self, method),
            lambda carry, part, first: _follow_some(self, method, carry, part, first),
            lambda carry, saved: _end_some(self, method, carry)._replace(saved=saved),
        )


@eqx.filter_jit
def _train_some(some: _Some) -> Result:
    return some.map(some.method.run)


@eqx.filter_jit
def _begin_some(some: _Some, method: Sequential) -> tuple[PyTree, PyTree]:
    return some.map(lambda problem, key: begun(problem, method, key))


@eqx.filter_jit
def _follow_some(
    some: _Some, method: Sequential, carry: PyTree, part: Stretch, first: Int[Array, ""]
) -> tuple[PyTree, PyTree]:
    def one(problem: TrainingProblem, key: Key[Array, ""], carry: PyTree) -> PyTree:
        return followed(problem, method, key, carry, part, first)

    return some.map(one, carry)


@eqx.filter_jit
def _end_some(some: _Some, method: Sequential, carry: PyTree) -> Result:
    return some.map(lambda problem, _, carry: method.end(problem, carry, None), carry)


def _share(
    callback: Callable[[int | float], object] | None, members: int, steps: int
) -> Callable[[int], object]:
    return lambda done: None if callback is None else callback(members * done / steps)
