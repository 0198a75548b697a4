"""Training one seed: a `lax.scan` over steps that records what is asked for, when it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import require, require_integer
from nsh.system import System
from nsh.training.batches import Sampler, WithReplacement

HEALTHY, DIVERGED = 0, 1


class Snapshot(eqx.Module):
    """What a recording function may look at: the run as it stands after `step` steps."""

    system: System
    state: PyTree
    hyper: PyTree
    step: Int[Array, ""]


def _whole_state(now: Snapshot) -> PyTree:
    return now.state


class SaveAt(eqx.Module):
    """What to record along a run, and when: the analogue of Diffrax's value of that name.

    `what`: ``Snapshot -> pytree of arrays`` (default: the whole state). Keep the same function
    for repeated calls: a new one is compiled anew. `every`: record after every so many steps, the
    start (step 0) included. `steps`: record after exactly these numbers of steps, increasing; each
    change of spacing costs compile time. Give one of the two, or neither to record nothing.
    """

    what: Callable[[Snapshot], PyTree] = eqx.field(default=_whole_state)
    every: int | None = eqx.field(static=True, default=None)
    steps: tuple[int, ...] | None = eqx.field(
        static=True, default=None, converter=lambda s: None if s is None else tuple(s)
    )

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


class Run(eqx.Module):
    """A finished run. Under an ensemble every array has leading axes for grid and seeds.

    `state`: final state. `saved`: what was recorded, leading axis = recorded times. `steps`:
    number of steps at each recording. `status`: 0 healthy, 1 diverged (`System.healthy` is false
    of the final state): failures are data, so that one diverged seed harms no other.
    """

    state: PyTree
    saved: PyTree
    steps: Int[Array | np.ndarray, " times"]
    status: Int[Array | np.ndarray, "*members"]


def train(
    system: System,
    examples: PyTree,
    hyper: PyTree,
    key: Key[Array, ""],
    *,
    steps: int,
    sampler: Sampler | None = None,
    save: SaveAt | None = None,
) -> Run:
    """Train one seed: ``state_{t+1} = system.step(state_t, batch_t, hyper, key_t)``.

    `examples`: from `system.prepare`; `sampler`: mini-batches (default: single samples with
    replacement). The randomness of step t depends on `key` and t alone, never on what is
    recorded. Compiled once for each system shape, number of steps, sampler and `save`: other
    values of `hyper` compile nothing. `jit`, `vmap` and `grad` work on it; reverse mode keeps
    every step's state.

    Raises `ValueError` on bad input, before compiling.
    """
    sampler = WithReplacement() if sampler is None else sampler
    save = SaveAt() if save is None else save
    hyper = as_arrays(hyper)
    check_run(system, examples, hyper, steps, sampler)
    times = save.times(steps)
    state, saved, status = _scan(system, examples, hyper, key, steps, sampler, save)
    return Run(state, saved, np.asarray(times, np.int32), status)


def as_arrays(hyper: PyTree) -> PyTree:
    """Hyperparameters with Python numbers as arrays: jit would compile anew for each of them."""
    numbers = (bool, int, float)
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, type(leaf)) if isinstance(leaf, numbers) else leaf, hyper
    )


def check_run(system: System, examples: PyTree, hyper: PyTree, steps: int, sampler: Sampler) -> int:
    """Number of samples, after raising `ValueError` for anything that cannot be trained on."""
    require_integer("steps", steps, 0)
    require(isinstance(system, System), "system", type(system).__name__, "an nsh.System")
    require(isinstance(sampler, Sampler), "sampler", sampler, "an nsh.training.Sampler")
    leading = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(examples)}
    allowed = "arrays with one leading axis of samples in common (from system.prepare)"
    require(len(leading) == 1 and () not in leading, "examples", leading, allowed)
    (samples,) = leading.pop()
    require(samples > 0, "samples", samples, "at least 1")
    sampler.check(samples)
    system.check(hyper, steps)
    return samples


@eqx.filter_jit
def _scan(
    system: System,
    examples: PyTree,
    hyper: PyTree,
    key: Key[Array, ""],
    steps: int,
    sampler: Sampler,
    save: SaveAt,
) -> tuple[PyTree, PyTree, Int[Array, ""]]:
    samples = jax.tree.leaves(examples)[0].shape[0]
    init_key, sampler_key, batches_key, steps_key = jax.random.split(key, 4)
    start = system.init(init_key, hyper), sampler.init(sampler_key, samples)

    def one(carry: Any, step: Int[Array, ""]) -> tuple[Any, None]:
        state, carried = carry
        batch_key = jax.random.fold_in(batches_key, step)
        step_key = jax.random.fold_in(steps_key, step)
        indices, carried = sampler.draw(carried, step, batch_key, samples)
        batch = jax.tree.map(lambda leaf: leaf[indices], examples)
        return (system.step(state, batch, hyper, step_key), carried), None

    def advance(carry: Any, first: Int[Array, ""], count: int) -> Any:
        if count == 0:  # compiling an empty scan costs as much as any
            return carry
        return jax.lax.scan(one, carry, first + jnp.arange(count, dtype=jnp.int32))[0]

    def record(carry: Any, step: Int[Array, ""]) -> PyTree:
        return save.what(Snapshot(system, carry[0], hyper, step))

    carry, saved, done = start, [], 0
    for gap, count, from_start in _stretches(save.times(steps)):

        def stretch(
            carry: Any, number: Int[Array, ""], gap: int = gap, done: int = done
        ) -> tuple[Any, PyTree]:
            first = done + gap * number
            carry = jax.lax.cond(
                number < 0, lambda carry, _: carry, partial(advance, count=gap), carry, first
            )
            return carry, record(carry, first + gap)

        # number -1 stands for step 0: recorded without a step, by the same program as the others
        numbers = jnp.arange(-1 if from_start else 0, count, dtype=jnp.int32)
        carry, recorded = jax.lax.scan(stretch, carry, numbers)
        saved.append(recorded)
        done += gap * count
    carry = advance(carry, jnp.asarray(done, jnp.int32), steps - done)
    together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *saved) if saved else None
    status = jnp.where(system.healthy(carry[0]), HEALTHY, DIVERGED).astype(jnp.int32)
    return carry[0], together, status


def _stretches(times: Sequence[int]) -> list[tuple[int, int, bool]]:
    """Recorded times as runs of equal gaps: (gap, how many, whether step 0 comes before them).

    Each is one scan, and compiles the recording once.
    """
    at_start = len(times) > 0 and times[0] == 0
    gaps = np.diff(np.asarray(times, int), prepend=0)[int(at_start) :].tolist()
    found = [(gap, len(list(same)), False) for gap, same in groupby(gaps)]
    if at_start:
        gap, count, _ = found[0] if found else (0, 0, False)
        found[:1] = [(gap, count, True)]
    return found
