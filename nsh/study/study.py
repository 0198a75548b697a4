"""A study as a value: what is trained, for which hyperparameters and seeds, what is recorded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from nsh._checks import MOST, MOST_KEY, nearest, require, require_all, require_integer
from nsh.bounds import REALS, intervals, to_reals
from nsh.study.blocks import Blocks
from nsh.system import System
from nsh.training import Method, Sampler, SaveAt, Sequential, Snapshot, WithReplacement
from nsh.training.loop import checked_method, make_plan
from nsh.training.plan import as_arrays

LEAST_BLOCK, BLOCKS, MOST_BYTES = 64, 32, 2**26


@dataclasses.dataclass(frozen=True)
class Tune:
    """Tuning of hyperparameters by their gradients: `nsh.training.tune`.

    `objective`: name of a recorded scalar, whose value after the last step is made small, or
    large if `maximise`. `parameters`: names of the hyperparameters to tune; the others stay.
    `optimiser`: of Optax; `iterations`: its steps. `per_seed`: each seed is tuned for itself,
    instead of the mean over seeds. `bounds`: open intervals (low, high) to keep parameters in, by
    name, where they are to be others than the system's own; ``(0, inf)`` is tuned as a logarithm.
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
    """Many seeds of one system, for all points of a grid of hyperparameters.

    `examples`: from `system.prepare`. `hyper`: the hyperparameters, of which `grid` varies some:
    their names (as `hyper_names` gives them, such as ``"growth.factor"``) with lists of values.
    `save`: what to record and when; its `what` gives a dict of arrays by name, such as
    `measurements`. `key`: the seeds are those of ``jax.random.key(key)``. `chunk`: about how many
    members (grid points x seeds) are trained and written together; by default a 32nd of all, but
    at least 64 (unless tuned) and at most 64 MB of results. It changes no number, only the
    store's layout.

    Raises `ValueError` on anything that cannot be run, for every point of the grid.
    """

    system: System
    examples: PyTree
    hyper: PyTree
    save: SaveAt
    seeds: int
    steps: int
    grid: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sampler: Sampler = dataclasses.field(default_factory=WithReplacement)
    method: Method = dataclasses.field(default_factory=Sequential)
    tune: Tune | None = None
    key: int = 0
    chunk: int | None = None

    def __post_init__(self):
        require_integer("seeds", self.seeds, 1, MOST)
        require_integer("steps", self.steps, 0, MOST)
        require_integer("key", self.key, 0, MOST_KEY)
        object.__setattr__(self, "hyper", jax.tree.map(_as_jax, as_arrays(self.hyper)))
        object.__setattr__(self, "grid", _checked_grid(self.grid, self.hyper))
        for index in np.ndindex(self.grid_shape):
            plan = self._plan(self.point(index))
        checked_method(self.method, plan)
        recorded = self.recorded()
        if self.tune is not None:
            _check_tune(self.tune, self, recorded)
            for index in np.ndindex(self.grid_shape):
                to_reals(self.point(index), self.bounds())
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

    def point(self, index: tuple[int, ...]) -> PyTree:
        """The hyperparameters at one point of the grid."""
        values = [axis[i] for axis, i in zip(self.grid.values(), index, strict=True)]
        return with_values(self.hyper, dict(zip(self.grid, map(np.asarray, values), strict=True)))

    def points(self, axes: Sequence[Sequence[int]]) -> PyTree:
        """The hyperparameters at the product of some indices along each axis, as leading axes."""
        shape = tuple(map(len, axes))
        chosen = [np.asarray(v)[list(i)] for v, i in zip(self.grid.values(), axes, strict=True)]
        spread = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (*shape, *jnp.shape(leaf))), self.hyper
        )
        values = np.meshgrid(*chosen, indexing="ij")
        return with_values(spread, dict(zip(self.grid, values, strict=True)))

    def leaf(self, name: str) -> jax.Array:
        """The hyperparameter with this name, at one point of the grid."""
        point = self.point((0,) * len(self.grid))
        return jax.tree.leaves(point)[hyper_names(point).index(name)]

    def bounds(self) -> PyTree:
        """The open intervals in which hyperparameters are tuned: those given, or the system's own.

        None for what is not tuned: it may lie on an end.
        """
        tune = self.tune
        assert tune is not None
        names, structure = hyper_names(self.hyper), jax.tree.structure(self.hyper)
        known = dict(zip(names, intervals(self.hyper, self.system.bounds(self.hyper)), strict=True))
        known |= {name: (float(low), float(high)) for name, (low, high) in tune.bounds.items()}
        chosen = [known[name] if name in tune.parameters else REALS for name in names]
        return jax.tree.unflatten(structure, chosen)

    def recorded(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of what is recorded at one step of one member, by name."""
        if not self.save.times(self.steps):
            return {}

        def first(key: Any, hyper: PyTree) -> Any:
            state = self.system.init(key, hyper)
            return self.save.what(Snapshot(self.system, state, hyper, jnp.zeros((), jnp.int32)))

        hyper = self.point((0,) * len(self.grid))
        found = eqx.filter_eval_shape(first, jax.random.key(0), hyper)
        allowed = "a function of a Snapshot that gives a dict of arrays by name"
        named = isinstance(found, dict) and all(isinstance(name, str) for name in found)
        require(named, "save.what", self.save.what, allowed)
        for name, leaf in found.items():
            plain = isinstance(leaf, jax.ShapeDtypeStruct) and np.dtype(leaf.dtype).kind in "biufc"
            require(plain, f"save.what(...)[{name!r}]", leaf, "an array of plain numbers")
        return found

    def _plan(self, hyper: PyTree) -> Any:
        return make_plan(self.system, self.examples, hyper, self.steps, self.sampler, self.save)

    def _default_chunk(self) -> int:
        members = math.prod(self.grid_shape) * self.seeds
        arrays = self.recorded().values()
        size = sum(math.prod(a.shape) * np.dtype(a.dtype).itemsize for a in arrays)
        fitting = MOST_BYTES // max(size * len(self.save.times(self.steps)), 1)
        least = LEAST_BLOCK if self.tune is None else 1  # tuning takes its time with each
        return max(1, min(max(least, math.ceil(members / BLOCKS)), fitting))


def hyper_names(hyper: PyTree) -> list[str]:
    """The names of hyperparameters: ``growth.factor``, ``learning_rate``, ..."""
    leaves = jax.tree_util.tree_flatten_with_path(hyper)[0]
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]


def with_values(hyper: PyTree, values: Mapping[str, Any]) -> PyTree:
    """`hyper` with some of its leaves, by name, replaced by numbers of their types."""
    leaves, structure = jax.tree.flatten(hyper)
    for place, name in enumerate(hyper_names(hyper)):
        if name in values:
            leaves[place] = jnp.asarray(values[name], leaves[place].dtype)
    return jax.tree.unflatten(structure, leaves)


def _as_jax(leaf: Any) -> Any:
    return jnp.asarray(leaf) if isinstance(leaf, np.ndarray | np.generic) else leaf


def _checked_grid(grid: Any, hyper: PyTree) -> dict[str, tuple[float, ...]]:
    leaves = dict(zip(hyper_names(hyper), jax.tree.leaves(hyper), strict=True))
    for name, values in grid.items():
        allowed = f"names of hyperparameters: {', '.join(leaves)}{nearest(name, leaves)}"
        require(name in leaves, "grid", name, allowed)
        leaf, field = leaves[name], f"grid.{name}"
        real = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
        require(real, field, leaf, "in place of a real number")
        numbers = np.asarray(values)
        plain = numbers.ndim == 1 and numbers.size > 0 and numbers.dtype.kind in "iuf"
        allowed = "a list of different finite numbers, at least one"
        require(plain and len(set(numbers.tolist())) == numbers.size, field, values, allowed)
        require_all(np.isfinite(numbers), field, numbers, "finite")
    return {name: tuple(map(float, values)) for name, values in grid.items()}


def _check_tune(tune: Tune, study: Study, recorded: Mapping[str, Any]) -> None:
    names = hyper_names(study.hyper)
    for name in tune.parameters:
        allowed = f"names of hyperparameters: {', '.join(names)}{nearest(name, names)}"
        require(name in names, "tune.parameters", name, allowed)
    scalars = [name for name, array in recorded.items() if array.shape == ()]
    allowed = f"the name of a recorded scalar: {', '.join(scalars) or 'there is none'}"
    allowed += nearest(tune.objective, scalars)
    require(tune.objective in scalars, "tune.objective", tune.objective, allowed)
    known = getattr(study.save.what, "variables", dict)()
    smooth = [n for n in scalars if n not in known or known[n].differentiable]
    allowed = f"of a slope that is not 0: {', '.join(smooth) or 'nothing recorded is'}"
    require(tune.objective in smooth, "tune.objective", tune.objective, allowed)
