"""What to run: one training run as a value, before anything says how to compute it.

The idea: what is computed and how are separate. A `Plan` says what: the system, its examples
and hyperparameters, the sampler of mini-batches, the number of steps, what to record and when.
A `Method` says how: step after step, in parallel, in closed form, or drawn from the final law.
All methods take the same plan, so they can be exchanged, and tests compare them.

A plan has no key. `Keys.of(key)` splits the key of one run into four, by purpose: the start, the
sampler, the mini-batches and the steps. So a network and a model that train with one key see the
same mini-batches, and the batch of a step does not depend on how the run is computed.

A method does the following. It calls `plan.start`, then `plan.indices` and `plan.batch` for the
mini-batches, and the system's `step`. It calls `plan.record` at `plan.times`, and at the end
`plan.status`, which says whether the run is healthy. It returns an `Outcome`. Failures are data:
a run that diverges gets a status, because thousands of others run in the same program.

Bad input is found by `Plan.check` before anything compiles.

Read next: `nsh.training.sequential`, the simplest method. `nsh.training.loop` and
`nsh.training.ensemble` are what users call. They make the plan and hand it to the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import MOST, plain_integer, require, require_integer
from nsh.system import System
from nsh.training.batches import Sampler

HEALTHY = 0
"""0: the `Run.status` of a run whose final state is healthy."""
DIVERGED = 1
"""1: the `Run.status` of a run that has diverged, as `System.healthy` says."""
STALLED = 2
"""2: the `Run.status` of a run whose steps are lost to rounding, as `System.stalled` says."""
GRADIENT_NOT_FINITE = 3
"""3: the run is healthy and its objective finite, but not the objective's derivatives.

Of `nsh.training.Hypergradient` and `nsh.training.Tuned`.
"""


class Snapshot(eqx.Module):
    """The input of a recording function: the run as it stands after `step` steps."""

    system: System
    state: PyTree
    hyper: PyTree
    step: Int[Array, ""]


def _whole_state(now: Snapshot) -> PyTree:
    return now.state


def _as_tuple(steps: Any) -> tuple[int, ...] | None:
    if steps is None:
        return None
    listed = np.ndim(steps) == 1 and isinstance(steps, Iterable)
    require(listed, "steps", steps, "a list of integers")
    numbers = np.asarray(steps) if isinstance(steps, jax.Array) else steps
    return plain_integer(tuple(numbers))


class SaveAt(eqx.Module):
    """What to record along a run, and when: the analogue of Diffrax's value of that name.

    `what`: ``Snapshot -> pytree of arrays`` (default: the whole state). Keep the same function
    for repeated calls: a new one is compiled anew. `every`: record after every so many steps, the
    start (step 0) included. `steps`: record after exactly these numbers of steps, increasing; each
    change of spacing costs compile time. Give one of the two, or neither to record nothing.
    """

    what: Callable[[Snapshot], PyTree] = eqx.field(default=_whole_state)
    every: int | None = eqx.field(static=True, default=None, converter=plain_integer)
    steps: tuple[int, ...] | None = eqx.field(static=True, default=None, converter=_as_tuple)

    def __check_init__(self):
        require(callable(self.what), "what", self.what, "a function of a Snapshot")
        both = self.every is not None and self.steps is not None
        require(not both, "steps", self.steps, "None where `every` is given")
        if self.every is not None:
            require_integer("every", self.every, 1)
        for before, step in zip((-1, *(self.steps or ())), self.steps or (), strict=False):
            require_integer("steps", step, before + 1)

    def times(self, steps: int) -> tuple[int, ...]:
        """The numbers of steps after which a run of `steps` steps is recorded."""
        if self.every is not None:
            return tuple(range(0, steps + 1, self.every))
        for step in self.steps or ():
            require_integer("save.steps", step, 0, steps)
        return self.steps or ()


class Keys(NamedTuple):
    """The randomness of one run, by what it is for."""

    init: Key[Array, ""]
    sampler: Key[Array, ""]
    batches: Key[Array, ""]
    steps: Key[Array, ""]

    @classmethod
    def of(cls, key: Key[Array, ""]) -> Keys:
        """The four keys of the run with this `key`."""
        return cls(*jax.random.split(key, 4))


class Plan(eqx.Module):
    """One run, but for its key: what is trained, on which mini-batches, what is recorded when."""

    system: System
    examples: PyTree
    hyper: PyTree
    sampler: Sampler
    save: SaveAt
    steps: int = eqx.field(static=True, converter=plain_integer)

    @property
    def samples(self) -> int:
        """Number of examples."""
        return jax.tree.leaves(self.examples)[0].shape[0]

    @property
    def batch_size(self) -> int:
        """Number of indices that the sampler draws for a step; 0 stands for all samples."""

        def drawn(key: Key[Array, ""]) -> Array:
            carried = self.sampler.init(key, self.samples)
            return self.sampler.draw(carried, jnp.int32(0), 1, key, self.samples)[0]

        return eqx.filter_eval_shape(drawn, jax.random.key(0)).shape[1]

    @property
    def times(self) -> tuple[int, ...]:
        """Numbers of steps after which something is recorded."""
        return self.save.times(self.steps)

    def start(self, keys: Keys) -> tuple[PyTree, PyTree]:
        """State before training, and what the sampler carries."""
        carried = self.sampler.init(keys.sampler, self.samples)
        return self.system.init(keys.init, self.hyper), carried

    def indices(
        self, carried: PyTree, first: Int[Array, ""], count: int, keys: Keys
    ) -> tuple[Int[Array, "count batch"], PyTree]:
        """Mini-batches of `count` steps from step `first` on, and what the sampler carries on."""
        return self.sampler.draw(carried, first, count, keys.batches, self.samples)

    def batch(self, indices: Int[Array, " batch"]) -> PyTree:
        """The mini-batch of these samples; all of them if the sampler draws none."""
        if indices.shape[0] == 0:
            return self.examples
        return jax.tree.map(lambda leaf: leaf[indices], self.examples)

    def record(self, state: PyTree, step: Int[Array, ""]) -> PyTree:
        """Compute the recording of a state after `step` steps."""
        state = self.system.settled(state)
        found = self.save.what(Snapshot(self.system, state, self.hyper, step))
        for leaf in jax.tree.leaves(found):
            allowed = "a pytree of arrays or numbers"
            require(eqx.is_array_like(leaf), "what(snapshot)", leaf, allowed)
        return found

    def status(self, state: PyTree) -> Int[Array, ""]:
        """Of a final state: `HEALTHY`, `DIVERGED` or, if steps were taken, `STALLED`."""
        status = jnp.where(self.system.healthy(state), HEALTHY, DIVERGED).astype(jnp.int32)
        if self.steps == 0:
            return status
        stalled = (status == HEALTHY) & self.system.stalled(state, self.hyper)
        return jnp.where(stalled, STALLED, status)

    def check(self) -> None:
        """Raise `ValueError` for anything that cannot be trained on."""
        require_integer("steps", self.steps, 0, MOST)
        given = type(self.system).__name__
        require(isinstance(self.system, System), "system", given, "an nsh.System")
        allowed = "an nsh.training.Sampler"
        require(isinstance(self.sampler, Sampler), "sampler", self.sampler, allowed)
        require(isinstance(self.save, SaveAt), "save", self.save, "an nsh.SaveAt")
        leading = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(self.examples)}
        allowed = "arrays with one leading axis of samples in common: give system.prepare(x, y)"
        require(len(leading) == 1 and () not in leading, "examples", leading, allowed)
        require(self.samples > 0, "samples", self.samples, "at least 1")
        self.system.check_examples(self.examples)
        self.sampler.check(self.samples)
        self.system.check(self.hyper, self.steps)
        self.save.times(self.steps)


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


class Outcome(NamedTuple):
    """The result of a method for one run."""

    state: PyTree
    saved: Any
    status: Int[Array, ""]
