"""Parts of a problem that differ from seed to seed, or from point to point of a grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from nsh._checks import is_concrete, require

Index = Int[Array, ""] | int


class PerSeed(eqx.Module):
    """A part of a `TrainingProblem` of which each seed has its own: entry i belongs to seed i.

    `tree`: the part (system, examples, hyperparameters or sampler), with leaves [seeds, ...]. Seeds
    are counted from 0 whatever `first_seed` is, so that a seed's entry does not depend on the
    company. Leaves that are no arrays are shared. So each seed can train on data of its own, or be
    a system of its own: stack several of one structure by
    ``jax.tree.map(lambda *leaves: jnp.stack(leaves), *systems)``.

    For subsets and bootstraps of one data set use the samplers `RandomSubset` and `Bootstrap`,
    which copy no data.

    Example:
        Two seeds train on the two halves of the data:

        >>> graph, inputs = nsh.neurashed.figure4()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> halves = jax.tree.map(lambda leaf: leaf.reshape(2, -1, *leaf.shape[1:]), examples)
        >>> problem = nsh.TrainingProblem(system, nsh.PerSeed(halves), rules, steps=1)
        >>> problem.num_examples == len(inputs.y) // 2
        True
    """

    tree: PyTree


class PerPoint(eqx.Module):
    """A part of a `TrainingProblem` of which each point of the grid has its own.

    `tree`: the part, or a piece of it, with leaves [*grid, ...]. So a number of the sampler, such
    as the size of `VariableSize`, is an axis of the grid. ``PerPoint(PerSeed(tree))`` has leaves
    [*grid, seeds, ...]. Hyperparameters have their grid axes without it.

    Example:
        Batches of one and of two examples, in one program:

        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> def point(size):
        ...     rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        ...     return rules, nsh.VariableSize(nsh.WithReplacement(2), size.astype(int))
        >>> rules, sampler = nsh.hyper_grid(point, size=[1, 2])
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(
        ...     system, examples, rules, steps=4, sampler=nsh.PerPoint(sampler), grid_ndim=1)
        >>> nsh.ensemble(problem, jax.random.key(0), seeds=3).status.shape
        (2, 3)
    """

    tree: PyTree


def varies(node: Any) -> bool:
    """Whether this differs from member to member."""
    return isinstance(node, PerSeed | PerPoint)


def varying_parts(tree: PyTree) -> list[PerSeed | PerPoint]:
    """What in a tree differs from member to member; not what is inside that again."""
    return [node for node in jax.tree.leaves(tree, is_leaf=varies) if varies(node)]


def resolved(tree: PyTree, point: tuple[Index, ...], seed: Index) -> PyTree:
    """The same tree for one member: entries in place of every `PerSeed` and `PerPoint`."""

    def entry(node: Any) -> Any:
        if not varies(node):
            return node
        index = point if isinstance(node, PerPoint) else (seed,)
        chosen = jax.tree.map(lambda leaf: _entry(leaf, index), node.tree)
        return resolved(chosen, point, seed)

    return jax.tree.map(entry, tree, is_leaf=varies)


def _entry(leaf: Any, index: tuple[Index, ...]) -> Any:
    if isinstance(leaf, np.ndarray) and not any(isinstance(i, jax.Array) for i in index):
        return np.asarray(leaf[index])
    return jnp.asarray(leaf)[index] if eqx.is_array_like(leaf) else leaf


def grid_of(tree: PyTree, axes: int) -> tuple[int, ...]:
    """The lengths of the grid's axes, by the first `PerPoint` that there is; () without one."""
    for part in varying_parts(tree):
        for leaf in jax.tree.leaves(part.tree) if isinstance(part, PerPoint) else ():
            if eqx.is_array_like(leaf):
                return tuple(np.shape(leaf)[:axes])
        if found := grid_of(jax.tree.map(_without(1), part.tree), axes):
            return found
    return ()


def seeds_of(tree: PyTree, field: str, grid: tuple[int, ...]) -> int | None:
    """For how many seeds there are entries; None for any number.

    Raises `ValueError` unless entries of all leaves are as many, and as many as points.
    """
    counts = []
    for part in varying_parts(tree):
        name, point = f"{field}: leaves of {type(part).__name__}", isinstance(part, PerPoint)
        shapes = [np.shape(a) for a in jax.tree.leaves(part.tree) if eqx.is_array_like(a)]
        axes = len(grid) if point else 1
        leading = sorted({shape[:axes] for shape in shapes})
        if point:
            require(grid, name, leading, "in a problem with a grid: give grid_ndim")
            allowed = f"arrays with the grid's axes {grid} first"
            require(all(found == grid for found in leading), name, leading, allowed)
        else:
            allowed = "arrays with one leading axis of seeds in common"
            require(len(leading) == 1 and leading[0] not in ((), (0,)), name, leading, allowed)
            counts.append(leading[0][0])
        inner = seeds_of(jax.tree.map(_without(axes), part.tree), field, grid)
        counts += [] if inner is None else [inner]
    return min(counts, default=None)


def _without(axes: int) -> Any:
    """For leaves: only their shape, without so many leading axes."""

    def strip(leaf: Any) -> Any:
        if not eqx.is_array_like(leaf):
            return leaf
        return np.broadcast_to(np.zeros((), bool), np.shape(leaf)[axes:])

    return strip


def entries(tree: PyTree, grid: tuple[int, ...]) -> Iterator[PyTree]:
    """The tree of each member that may have its own; of the first alone if it is traced."""
    first, parts = (0,) * len(grid), _all_parts(tree)
    points, seeds = [first], 1
    if parts and is_concrete(tree):
        tree = jax.tree.map(_on_host, tree)
        if any(isinstance(part, PerPoint) for part in parts):
            points = list(np.ndindex(*grid))
        seeds = seeds_of(tree, "entries", grid) or 1
    for point in points:
        for seed in range(seeds):
            yield resolved(tree, point, seed) if parts else tree


def in_words(parts: dict[str, PyTree]) -> str:
    """What differs from member to member, as ``examples by seed``."""
    found = []
    for name, tree in parts.items():
        kinds = {type(part) for part in _all_parts(tree)}
        by = [word for kind, word in ((PerPoint, "point"), (PerSeed, "seed")) if kind in kinds]
        found.append(f"{name} by {' and '.join(by)}")
    return ", ".join(found)


def _all_parts(tree: PyTree) -> list[PerSeed | PerPoint]:
    parts = varying_parts(tree)
    return parts + [inner for part in parts for inner in _all_parts(part.tree)]


def _on_host(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array) or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    return np.asarray(leaf)
