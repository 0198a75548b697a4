"""A study as a value: what is trained, for which hyperparameters and seeds, what is recorded."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key, PyTree

from nsh._checks import MOST, MOST_KEY, nearest, require, require_all, require_integer
from nsh.bounds import REALS, intervals, unconstrain
from nsh.training import Method, PerPoint, Sequential, Snapshot, TrainingProblem
from nsh.training.checkpoints import stepping
from nsh.training.problem import check_method

BATCHES = "batches"
LEAST_BLOCK, BLOCKS, MOST_BYTES = 64, 32, 2**26


@dataclasses.dataclass(frozen=True)
class Tune:
    """Tuning of hyperparameters by their gradients: `nsh.training.tune`.

    `objective`: name of a recorded scalar, whose value after the last step is made small, or
    large if `maximise`. `parameters`: names of the hyperparameters to tune; the others stay.
    `optimiser`: of Optax; `iterations`: its steps. `per_seed`: each seed is tuned for itself,
    instead of the mean over seeds. `bounds`: open intervals (low, high) to keep parameters in, by
    name, where they are to be others than the system's own; ``(0, inf)`` is tuned as a logarithm.

    Example:
        >>> from nsh.study import Tune
        >>> Tune("cross_entropy", ("growth.factor",), optax.sgd(0.1), iterations=10).parameters
        ('growth.factor',)
    """

    objective: str
    parameters: tuple[str, ...]
    optimiser: optax.GradientTransformation
    iterations: int
    maximise: bool = False
    per_seed: bool = False
    bounds: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        require_integer("iterations", self.iterations, 1)
        require(len(self.parameters) > 0, "parameters", self.parameters, "at least one name")
        for name, ends in self.bounds.items():
            require(name in self.parameters, f"bounds.{name}", ends, "of one of the parameters")
            numbers = np.asarray(ends)
            pair = numbers.dtype.kind in "iuf" and numbers.shape == (2,)
            require(pair and numbers[0] < numbers[1], f"bounds.{name}", ends, "[low, high]")


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """Many seeds of one training problem, for all points of a grid of hyperparameters.

    `problem`: what is trained, at one point. `grid`: some of its hyperparameters by name (as
    `hyper_names` gives them, such as ``"growth.factor"``), or numbers of its sampler
    (``"batches.size"`` of `VariableSize`), with lists of values. The problem's
    `save` records a dict of arrays by name, such as `measurements`. `key`: the seeds are those of
    ``jax.random.key(key)``. `chunk`: about how many members (grid points x seeds) are trained and
    written together; by default a 32nd of all, but at least 64 (unless tuned) and at most 64 MB of
    results. It changes no number, only the store's layout. `checkpoint_every`: save the runs that
    are under way after every so many steps, so that a study that is killed goes on inside a run:
    `nsh.training.Checkpoints`. For runs of minutes or more, by `Sequential`, without `tune`.

    Raises `ValueError` on anything that cannot be run, for every point of the grid.

    Example:
        >>> from nsh.study import Study, measurements
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system, rules = nsh.Neurashed(graph), nsh.Rules(nsh.Geometric(1.1), nsh.Geometric(0.9))
        >>> save = nsh.SaveAt(measurements(["accuracy"], system, inputs.x, inputs.y), every=2)
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, save=save)
        >>> Study(problem, seeds=2, grid={"growth.factor": [1.05, 1.1]}).grid
        {'growth.factor': (1.05, 1.1)}
    """

    problem: TrainingProblem
    seeds: int
    grid: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    method: Method = dataclasses.field(default_factory=Sequential)
    tune: Tune | None = None
    key: int = 0
    chunk: int | None = None
    checkpoint_every: int | None = None

    def __post_init__(self):
        require(
            isinstance(self.problem, TrainingProblem) and self.problem.grid_ndim == 0,
            "problem", self.problem, "an nsh.TrainingProblem at one point: `grid` varies it",
        )  # fmt: skip
        require_integer("seeds", self.seeds, 1, MOST)
        self.problem.check_seeds(0, self.seeds)
        require_integer("key", self.key, 0, MOST_KEY)
        hyper = jax.tree.map(_as_jax, self.problem.hyper)
        object.__setattr__(self, "problem", self.problem.at(hyper))
        leaves = grid_leaves(hyper, self.problem.sampler)
        object.__setattr__(self, "grid", _checked_grid(self.grid, leaves))
        whole = self.on_grid([range(n) for n in self.grid_shape])
        check_method(self.method, whole.first_point)
        recorded = self.recorded()
        if self.tune is not None:
            _check_tune(self.tune, self, recorded)
            unconstrain(whole.hyper, self.bounds())
        if self.checkpoint_every is not None:
            require_integer("checkpoint_every", self.checkpoint_every, 1)
            allowed = "None where hyperparameters are tuned; a smaller chunk loses less"
            require(self.tune is None, "checkpoint_every", self.checkpoint_every, allowed)
            stepping(self.method)
        names = [*self.grid, *recorded]
        reserved = {
            "seed", "step", "status", "objective", "tuning_status", "iteration", "checksum",
        }  # fmt: skip
        taken = sorted({n for n in names if names.count(n) > 1 or n in reserved or "/" in n})
        allowed = f"different names, without '/', and none of {', '.join(sorted(reserved))}"
        require(not taken, "names of grid axes and recorded arrays", taken, allowed)
        chunk = self._default_chunk() if self.chunk is None else self.chunk
        object.__setattr__(self, "chunk", require_integer("chunk", chunk, 1))

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Number of values along each axis of the grid."""
        return tuple(len(values) for values in self.grid.values())

    @property
    def blocks(self) -> Blocks:
        """The members that are trained and written together; tuning their mean needs all seeds."""
        assert self.chunk is not None
        shape = (*self.grid_shape, self.seeds)
        together = self.tune is not None and not self.tune.per_seed
        return Blocks.of(shape, self.chunk, whole=int(together))

    def on_grid(self, axes: Sequence[Sequence[int]]) -> TrainingProblem:
        """The problem on the product of some indices along each axis of the grid, checked."""
        shape = tuple(map(len, axes))
        chosen = [np.asarray(v)[list(i)] for v, i in zip(self.grid.values(), axes, strict=True)]
        spread = jax.tree.map(
            # by NumPy, for which nothing is compiled
            lambda leaf: jnp.asarray(np.broadcast_to(leaf, (*shape, *np.shape(leaf)))),
            self.problem.hyper,
        )
        values = dict(zip(self.grid, np.meshgrid(*chosen, indexing="ij"), strict=True))
        sampler = with_values({BATCHES: self.problem.sampler}, values, PerPoint)[BATCHES]
        return dataclasses.replace(
            self.problem, hyper=with_values(spread, values), sampler=sampler, grid_ndim=len(shape)
        )

    def leaf(self, name: str) -> jax.Array:
        """The hyperparameter with this name, at one point of the grid."""
        hyper = self.problem.hyper
        return jax.tree.leaves(hyper)[hyper_names(hyper).index(name)]

    def bounds(self) -> PyTree:
        """The open intervals in which hyperparameters are tuned: those given, or the system's own.

        None for what is not tuned: it may lie on an end.
        """
        tune = self.tune
        assert tune is not None
        hyper, system = self.problem.hyper, self.problem.first_point.system
        names, structure = hyper_names(hyper), jax.tree.structure(hyper)
        known = dict(zip(names, intervals(hyper, system.bounds(hyper)), strict=True))
        known |= {name: (float(low), float(high)) for name, (low, high) in tune.bounds.items()}
        chosen = [known[name] if name in tune.parameters else REALS for name in names]
        return jax.tree.unflatten(structure, chosen)

    def recorded(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of what is recorded at one step of one member, by name."""
        problem = self.problem.first_point
        if not problem.times:
            return {}

        def first(key: Key[Array, ""]) -> Any:
            state = problem.system.init(key, problem.hyper)
            step = jnp.zeros((), jnp.int32)
            return problem.save.fn(Snapshot(problem.system, state, problem.hyper, step))

        found = eqx.filter_eval_shape(first, jax.random.key(0))
        allowed = "a function of a Snapshot that gives a dict of arrays by name"
        named = isinstance(found, dict) and all(isinstance(name, str) for name in found)
        require(named, "save.fn", problem.save.fn, allowed)
        for name, leaf in found.items():
            plain = isinstance(leaf, jax.ShapeDtypeStruct) and np.dtype(leaf.dtype).kind in "biufc"
            require(plain, f"save.fn(...)[{name!r}]", leaf, "an array of plain numbers")
        return found

    def _default_chunk(self) -> int:
        members = math.prod(self.grid_shape) * self.seeds
        arrays = self.recorded().values()
        size = sum(math.prod(a.shape) * np.dtype(a.dtype).itemsize for a in arrays)
        fitting = MOST_BYTES // max(size * len(self.problem.times), 1)
        least = LEAST_BLOCK if self.tune is None else 1  # tuning takes its time with each
        return max(1, min(max(least, math.ceil(members / BLOCKS)), fitting))


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Members [*grid, seeds] cut into blocks of one `size`, those at the ends being cut short.

    Each block is one chunk of every array in the store, so that writing one touches no other.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], members: int, whole: int = 0) -> Blocks:
        """Blocks of about `members`: all along the last axes, then some, then one at a time.

        The last `whole` axes are never cut.
        """
        size, left = [], max(members, 1)
        for axis, length in enumerate(reversed(shape)):
            size.append(length if axis < whole else min(length, left))
            left = max(left // length, 1) if size[-1] == length else 1
        return cls(shape, tuple(reversed(size)))

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(math.ceil(n / s) for n, s in zip(self.shape, self.size, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return itertools.product(*map(range, self.counts))

    def region(self, block: tuple[int, ...]) -> tuple[slice, ...]:
        """The members of a block."""
        return tuple(
            slice(i * s, min((i + 1) * s, n))
            for i, s, n in zip(block, self.size, self.shape, strict=True)
        )

    def members(self, block: tuple[int, ...]) -> int:
        """Number of members of a block."""
        return math.prod(part.stop - part.start for part in self.region(block))


def hyper_names(hyper: PyTree) -> list[str]:
    """The names of hyperparameters: ``growth.factor``, ``learning_rate``, ...

    Example:
        >>> from nsh.study import hyper_names
        >>> hyper_names(nsh.Rules(nsh.Geometric(1.1), nsh.Geometric(0.9)))
        ['growth.factor', 'decay.factor']
    """
    leaves = jax.tree_util.tree_flatten_with_path(hyper)[0]
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]


def grid_leaves(hyper: PyTree, sampler: PyTree) -> dict[str, Any]:
    """What a grid may vary, by name: hyperparameters, and the numbers of the sampler."""
    of_sampler = {BATCHES: sampler}
    names = [*hyper_names(hyper), *hyper_names(of_sampler)]
    return dict(zip(names, jax.tree.leaves((hyper, of_sampler)), strict=True))


def with_values(
    tree: PyTree, values: Mapping[str, Any], around: Callable[[Array], PyTree] = lambda leaf: leaf
) -> PyTree:
    """`tree` with some of its leaves, by name, replaced by numbers of their types."""
    leaves, structure = jax.tree.flatten(tree)
    for i, name in enumerate(hyper_names(tree)):
        if name in values:
            leaves[i] = around(jnp.asarray(values[name], leaves[i].dtype))
    return jax.tree.unflatten(structure, leaves)


def _as_jax(leaf: Any) -> Any:
    return jnp.asarray(leaf) if isinstance(leaf, np.ndarray | np.generic) else leaf


def _checked_grid(grid: Any, leaves: dict[str, Any]) -> dict[str, tuple[float | int, ...]]:
    found = {}
    for name, values in grid.items():
        allowed = f"names of hyperparameters: {', '.join(leaves)}{nearest(name, leaves)}"
        require(name in leaves, "grid", name, allowed)
        leaf, field = leaves[name], f"grid.{name}"
        counted = name.startswith(f"{BATCHES}.")
        kind, plain, called = (jnp.integer, "iu", "whole") if counted else (
            jnp.floating, "iuf", "finite"
        )  # fmt: skip
        right = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, kind)
        require(right, field, leaf, f"in place of a {'whole' if counted else 'real'} number")
        numbers = np.asarray(values)
        plain = numbers.ndim == 1 and numbers.size > 0 and numbers.dtype.kind in plain
        allowed = f"a list of different {called} numbers, at least one"
        require(plain and len(set(numbers.tolist())) == numbers.size, field, values, allowed)
        require_all(np.isfinite(numbers), field, numbers, "finite")
        found[name] = tuple(map(int if counted else float, values))
    return found


def _check_tune(tune: Tune, study: Study, recorded: Mapping[str, Any]) -> None:
    names = hyper_names(study.problem.hyper)
    for name in tune.parameters:
        allowed = f"names of hyperparameters: {', '.join(names)}{nearest(name, names)}"
        require(name in names, "tune.parameters", name, allowed)
    scalars = [name for name, array in recorded.items() if array.shape == ()]
    allowed = f"the name of a recorded scalar: {', '.join(scalars) or 'there is none'}"
    allowed += nearest(tune.objective, scalars)
    require(tune.objective in scalars, "tune.objective", tune.objective, allowed)
    known = getattr(study.problem.save.fn, "variables", dict)()
    smooth = [n for n in scalars if n not in known or known[n].differentiable]
    allowed = f"of a slope that is not 0: {', '.join(smooth) or 'nothing recorded is'}"
    require(tune.objective in smooth, "tune.objective", tune.objective, allowed)
