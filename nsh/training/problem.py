"""What to run: a training problem as a value, before anything says how to compute it.

The idea: what is computed and how are separate. A `TrainingProblem` says what: the system, its
examples and hyperparameters, the sampler of mini-batches, the number of steps, what to record and
when. A `Method` says how: step after step, in parallel, in closed form, or drawn from the final
law. All methods take the same problem, so they can be exchanged, and tests compare them.

Users make a problem once, and hand it to `train`, `ensemble`, `hypergradient`, `hessian`, `tune` or
a study. It is checked when it is made, before anything compiles: at all points of its grid of
hyperparameters, if it has one. It is a pytree, so `jit`, `vmap` and `grad` work on what it holds.

A problem has no key. `Keys.of(key)` splits the key of one run into four, by purpose: the start, the
sampler, the mini-batches and the steps. So a network and a model that train with one key see the
same mini-batches, and the batch of a step does not depend on how the run is computed.

A method does the following. It calls `problem.start`, then `problem.indices` and `problem.batch`
for the mini-batches, and the system's `step`. It calls `problem.record` at `problem.times`, and at
the end `problem.status`, which says whether the run is healthy. It returns a `Result`. Failures are
data: a run that diverges gets a status, because thousands of others run in the same program.

Read next: `nsh.training.sequential`, the simplest method. `nsh.training.train` and
`nsh.training.ensemble` are what users call. They hand the problem to the method.
"""

from __future__ import annotations

import abc
import copy
import enum
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import MOST, is_concrete, plain_integer, require, require_integer
from nsh._shown import Shown
from nsh.system import System
from nsh.training.batches import Sampler, WithReplacement, batch_size, places
from nsh.training.streamed import StreamedExamples, Wanted, around
from nsh.training.varying import (
    PerPoint,
    PerSeed,
    entries,
    grid_of,
    resolved,
    seeds_of,
    varies,
    varying_parts,
)


class RunStatus(enum.IntEnum):
    """How a run ended, in `Run.status`, `Hypergradient.status` and `Tuned.status`.

    Example:
        >>> from nsh.training import RunStatus
        >>> int(RunStatus.DIVERGED)
        1
    """

    HEALTHY = 0
    """The final state is finite, as `System.is_finite` says."""
    DIVERGED = 1
    """The final state, or the objective, is not finite."""
    STALLED = 2
    """The run's steps are lost to rounding, as `System.stalled` says."""
    GRADIENT_NOT_FINITE = 3
    """The run is healthy and its objective finite, but not the objective's derivatives."""


class Snapshot(eqx.Module):
    """The input of a recording function: the run as it stands after `step` steps.

    Example:
        A function of it says what to record:

        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> save = nsh.SaveAt(lambda now: now.step, every=2)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, save=save)
        >>> nsh.train(problem, jax.random.key(0)).saved.tolist()
        [0, 2, 4]
    """

    system: System
    state: PyTree
    hyper: PyTree
    step: Int[Array, ""]


def _whole_state(now: Snapshot) -> PyTree:
    return now.state


def _as_tuple(times: Any) -> tuple[int, ...] | None:
    if times is None:
        return None
    listed = np.ndim(times) == 1 and isinstance(times, Iterable)
    require(listed, "times", times, "a list of integers")
    numbers = np.asarray(times) if isinstance(times, jax.Array) else times
    return plain_integer(tuple(numbers))


class SaveAt(eqx.Module):
    """What to record along a run, and when: the analogue of Diffrax's value of that name.

    `fn`: ``Snapshot -> pytree of arrays`` (default: the whole state). Keep the same function
    for repeated calls: a new one is compiled anew. `every`: record after every so many steps, the
    start (step 0) included. `times`: record after exactly these numbers of steps, increasing; each
    change of spacing costs compile time. Give one of the two, or neither to record nothing.

    Example:
        >>> nsh.SaveAt(every=5).times_within(12)
        (0, 5, 10)
    """

    fn: Callable[[Snapshot], PyTree] = eqx.field(default=_whole_state)
    every: int | None = eqx.field(static=True, default=None, converter=plain_integer)
    times: tuple[int, ...] | None = eqx.field(static=True, default=None, converter=_as_tuple)

    def __check_init__(self):
        require(callable(self.fn), "fn", self.fn, "a function of a Snapshot")
        both = self.every is not None and self.times is not None
        require(not both, "times", self.times, "None where `every` is given")
        if self.every is not None:
            require_integer("every", self.every, 1)
        for before, time in zip((-1, *(self.times or ())), self.times or (), strict=False):
            require_integer("times", time, before + 1)

    def times_within(self, steps: int) -> tuple[int, ...]:
        """The numbers of steps after which a run of `steps` steps is recorded."""
        if self.every is not None:
            return tuple(range(0, steps + 1, self.every))
        for time in self.times or ():
            require_integer("save.times", time, 0, steps)
        return self.times or ()


class Keys(NamedTuple):
    """The randomness of one run, by what it is for.

    Example:
        >>> from nsh.training import Keys
        >>> Keys.of(jax.random.key(0))._fields
        ('init', 'sampler', 'batches', 'steps')
    """

    init: Key[Array, ""]
    sampler: Key[Array, ""]
    batches: Key[Array, ""]
    steps: Key[Array, ""]

    @classmethod
    def of(cls, key: Key[Array, ""]) -> Keys:
        """The four keys of the run with this `key`."""
        return cls(*jax.random.split(key, 4))


def as_arrays(hyper: PyTree) -> PyTree:
    """Hyperparameters as arrays of a definite type.

    For each Python number jit would compile anew, and so it would for a weakly typed array once an
    optimiser has moved it.
    """

    def definite(path: Any, leaf: Any) -> Any:
        kind = "f" if isinstance(leaf, jax.Array) else np.asarray(leaf).dtype.kind
        numeric = callable(leaf) or (eqx.is_array_like(leaf) and kind in "biufc")
        require(numeric, f"hyper{jax.tree_util.keystr(path)}", leaf, "a number or an array")
        if isinstance(leaf, np.generic):  # before Python's numbers: float64 is one of these, too
            return jnp.asarray(leaf)
        if isinstance(leaf, bool | int | float):
            return jnp.asarray(leaf, type(leaf))
        if isinstance(leaf, jax.Array) and leaf.weak_type:
            return jax.lax.convert_element_type(leaf, leaf.dtype)
        return leaf

    return jax.tree_util.tree_map_with_path(definite, hyper)


class TrainingProblem(eqx.Module):
    """What to train: a system, examples, hyperparameters, mini-batches, and what to record when.

    `examples`: from `system.prepare` or `stream`. `hyper`: the hyperparameters, a pytree of
    numbers; the first `grid_ndim` axes of its leaves are a grid, see `hyper_grid`. `steps`: how
    many. `sampler`: of the mini-batches (default: single examples with replacement). `save`: what
    to record and when (default: nothing). Immutable; ``dataclasses.replace`` makes another from
    one.

    System, examples, hyperparameters and sampler may differ from seed to seed (`PerSeed`); all but
    the hyperparameters, and pieces of them, from point to point of the grid (`PerPoint`). So may
    arrays that ``save.fn`` holds, such as test data.

    Raises `ValueError` for anything that cannot be trained on, at any point of the grid.

    Example:
        >>> from nsh.neurashed import figure4, figure4_rules
        >>> graph, inputs = figure4()
        >>> system = nsh.Neurashed(graph)
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, figure4_rules(graph), steps=100)
        >>> problem.num_examples
        8
    """

    system: System | Any  # or PerSeed or PerPoint of one, as is the sampler
    examples: PyTree
    hyper: PyTree = eqx.field(converter=as_arrays)
    steps: int = eqx.field(static=True, converter=plain_integer, kw_only=True)
    sampler: Sampler | Any = eqx.field(default=WithReplacement(), kw_only=True)
    save: SaveAt = eqx.field(default=SaveAt(), kw_only=True)
    grid_ndim: int = eqx.field(static=True, converter=plain_integer, default=0, kw_only=True)

    def __check_init__(self):
        require_integer("steps", self.steps, 0, MOST)
        require_integer("grid_ndim", self.grid_ndim, 0)
        self._check_axes()
        point = self.first_point
        given = type(point.system).__name__
        require(isinstance(point.system, System), "system", given, "an nsh.System")
        allowed = "an nsh.training.Sampler"
        require(isinstance(point.sampler, Sampler), "sampler", point.sampler, allowed)
        require(isinstance(self.save, SaveAt), "save", self.save, "an nsh.SaveAt")
        self._check_examples()
        if point.sampler.has_repeats:
            indices = jax.ShapeDtypeStruct((point.batch_size,), jnp.int32)
            eqx.filter_eval_shape(point.batch, indices)
        self.save.times_within(self.steps)
        self._check_hyper()

    def _check_examples(self) -> None:
        point = self.first_point
        leading = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(point.examples)}
        allowed = "arrays with one leading axis of samples in common: give system.prepare(x, y)"
        streamed = isinstance(point.examples, StreamedExamples)
        require(streamed or (len(leading) == 1 and () not in leading), "examples", leading, allowed)
        require(point.num_examples > 0, "len(examples)", point.num_examples, "at least 1")
        for sampler in entries(self.sampler, self.grid_shape):
            sampler.check(point.num_examples)
        if not streamed:
            for system, examples in entries((self.system, self.examples), self.grid_shape):
                system.check_examples(examples)
            return
        allowed = "one stream for all members; RandomSubset and Bootstrap give each seed its own"
        kinds = [type(part).__name__ for part in varying_parts(self.examples)]
        require(not kinds, "examples", f"{kinds} of a stream", allowed)
        allowed = "one that draws some examples, such as WithReplacement: they are streamed"
        require(point.batch_size > 0, "sampler", point.sampler, allowed)
        one = jax.ShapeDtypeStruct((1,), jnp.int32)
        eqx.filter_eval_shape(lambda at: point.system.check_examples(point.batch(at)), one)

    def _check_axes(self) -> None:
        shapes = {np.shape(leaf)[: self.grid_ndim] for leaf in jax.tree.leaves(self.hyper)}
        allowed = f"the same for all leaves, {self.grid_ndim} axes"
        require(len(shapes) <= 1, "grid axes of hyper", sorted(shapes), allowed)
        shape = self.grid_shape
        require(len(shape) == self.grid_ndim, "grid axes of hyper", shape, allowed)
        require(math.prod(shape) > 0, "grid axes of hyper", shape, "of one point at least")
        for part in varying_parts(self.hyper):
            allowed = "PerSeed(...): the axes of its grid are counted by grid_ndim"
            require(not isinstance(part, PerPoint), "hyper", "PerPoint", allowed)
        self.seeds_given()

    def _check_hyper(self) -> None:
        first, shape = self.first_point, self.grid_shape
        system = first.system
        system.check_fit(first.num_examples, first.hyper)
        if shape and is_concrete(self.hyper) and not varying_parts(self.hyper):
            system.check_grid(self.hyper, self.steps, shape)
            return
        for hyper in entries(self._hyper_by_point(), shape):
            system.check(hyper, self.steps)

    def _hyper_by_point(self) -> PyTree:
        return PerPoint(self.hyper) if self.grid_ndim else self.hyper

    def varying(self) -> dict[str, PyTree]:
        """The parts, by name, that differ from member to member, other than by the grid."""
        names = ("system", "examples", "hyper", "sampler", "save")
        parts = {name: getattr(self, name) for name in names}
        return {name: part for name, part in parts.items() if varying_parts(part)}

    def seeds_given(self) -> dict[str, int]:
        """For how many seeds there are entries, of each part that differs from seed to seed."""
        parts, shape = self.varying(), self.grid_shape
        if "hyper" in parts:
            parts["hyper"] = self._hyper_by_point()
        counts = {name: seeds_of(part, name, shape) for name, part in parts.items()}
        return {name: count for name, count in counts.items() if count is not None}

    def check_seeds(self, first_seed: int, seeds: int) -> None:
        """Raise `ValueError` unless there are entries of every `PerSeed` for these seeds."""
        for name, count in self.seeds_given().items():
            allowed = f"at least first_seed + seeds = {first_seed + seeds}"
            require(first_seed + seeds <= count, f"{name}: entries of PerSeed", count, allowed)

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Number of hyperparameters along each axis of the grid."""
        leaves = jax.tree.leaves(self.hyper)
        if leaves:
            return tuple(np.shape(leaves[0])[: self.grid_ndim])
        parts = (self.system, self.examples, self.sampler, self.save)
        return grid_of(parts, self.grid_ndim)

    @property
    def first_point(self) -> TrainingProblem:
        """The same problem at the first point of its grid, of seed 0 where seeds differ."""
        if not self.grid_ndim and not self.varying():
            return self
        first = (0,) * self.grid_ndim
        return resolved(self, first, 0).at(resolved(self._hyper_by_point(), first, 0))

    @property
    def num_examples(self) -> int:
        """Number of examples."""
        if isinstance(self.examples, StreamedExamples):
            return self.examples.num_examples
        examples, axes = self.examples, 0
        while varies(examples):  # one entry for each seed, or each point of the grid
            axes += 1 if isinstance(examples, PerSeed) else self.grid_ndim
            examples = examples.tree
        return jax.tree.leaves(examples)[0].shape[axes]

    @property
    def batch_size(self) -> int:
        """Number of indices that the sampler draws for a step; 0 stands for all examples."""
        return batch_size(self.sampler, self.num_examples)

    @property
    def times(self) -> tuple[int, ...]:
        """Numbers of steps after which something is recorded."""
        return self.save.times_within(self.steps)

    def at(self, hyper: PyTree) -> TrainingProblem:
        """The same problem with the hyperparameters of one point, which are not checked."""
        point = copy.copy(self)
        object.__setattr__(point, "hyper", hyper)
        object.__setattr__(point, "grid_ndim", 0)
        return point

    def start(self, keys: Keys) -> tuple[PyTree, PyTree]:
        """State before training, and the sampler's."""
        sampler_state = self.sampler.init(keys.sampler, self.num_examples)
        return self.system.init(keys.init, self.hyper), sampler_state

    def indices(
        self, sampler_state: PyTree, first: Int[Array, ""], count: int, keys: Keys
    ) -> tuple[Int[Array, "count batch"], PyTree]:
        """Mini-batches of `count` steps from step `first` on, and the sampler's next state."""
        return self.sampler.draw(sampler_state, first, count, keys.batches, self.num_examples)

    def wanted(self, indices: Int[Array, "steps batch"]) -> PyTree:
        """What to give to `batch` at each of these steps: for streams, what is read next too."""
        return around(indices) if isinstance(self.examples, StreamedExamples) else indices

    def batch(self, indices: Int[Array, " batch"] | Wanted) -> PyTree:
        """The mini-batch of these examples; all of them if the sampler draws none.

        Of a sampler that marks repeats, what `System.masked` makes of them.
        """
        drawn = indices.indices if isinstance(indices, Wanted) else indices
        if isinstance(self.examples, StreamedExamples):
            batch = self.examples.batch(self.system, jax.tree.map(places, indices))
        elif drawn.shape[0] == 0:
            return self.examples
        else:
            batch = jax.tree.map(lambda leaf: leaf[places(drawn)], self.examples)
        return self.system.masked(batch, drawn >= 0) if self.sampler.has_repeats else batch

    def record(self, state: PyTree, step: Int[Array, ""]) -> PyTree:
        """Compute the recording of a state after `step` steps."""
        state = self.system.settled(state)
        found = self.save.fn(Snapshot(self.system, state, self.hyper, step))
        for leaf in jax.tree.leaves(found):
            allowed = "a pytree of arrays or numbers"
            require(eqx.is_array_like(leaf), "fn(snapshot)", leaf, allowed)
        return found

    def status(self, state: PyTree) -> Int[Array, ""]:
        """The `RunStatus` of a final state; `STALLED` only if steps were taken."""
        finite = self.system.is_finite(state)
        status = jnp.where(finite, RunStatus.HEALTHY, RunStatus.DIVERGED).astype(jnp.int32)
        if self.steps == 0:
            return status
        stalled = finite & self.system.stalled(state, self.hyper)
        return jnp.where(stalled, RunStatus.STALLED, status)


class Result(NamedTuple):
    """The result of a method for one run."""

    state: PyTree
    saved: PyTree
    status: Int[Array, ""]


class Run(Shown):
    """A finished run. Under an ensemble every array has leading axes for grid and seeds.

    `state`: final state. `saved`: what was recorded, leading axis = recorded times. `times`:
    number of steps at each recording. `status`: a `RunStatus` for each seed: failures are data, so
    that one diverged seed harms no other.
    """

    state: PyTree
    saved: PyTree
    times: Int[Array | np.ndarray, " times"]
    status: Int[Array | np.ndarray, "*members"]


class Method(eqx.Module):
    """A way to compute a run, chosen like a Diffrax solver.

    Methods are exact: with the same key they train on the same mini-batches and agree up to
    rounding; one that only agrees in law says so.
    """

    alternative: ClassVar[str] = "Sequential()"
    """What to use where this one does not fit."""

    def check_supported(self, problem: TrainingProblem) -> None:
        """Raise `ValueError`, saying why, if this method cannot compute it; by default none.

        Called outside `jit`, before compiling.
        """

    @abc.abstractmethod
    def run(self, problem: TrainingProblem, key: Key[Array, ""]) -> Result:
        """Compute the run; called inside `jit`."""


def check_method(method: Method, problem: TrainingProblem) -> None:
    """Raise `ValueError`, naming a method that does fit, if this one does not fit the problem."""
    require(isinstance(method, Method), "method", method, "an nsh.training.Method")
    try:
        method.check_supported(problem)
    except ValueError as complaint:
        name = type(method).__name__
        raise ValueError(
            f"method: {name} does not fit, {complaint}; use {method.alternative}"
        ) from complaint


def as_run(result: Result, problem: TrainingProblem) -> Run:
    """A result with the times of its recordings."""
    state, saved, status = result
    return Run(state, saved, np.asarray(problem.times, np.int32), status)
