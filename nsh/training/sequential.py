"""Step after step: a `lax.scan` that fits every System."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import require
from nsh.training.problem import Keys, Method, Result, TrainingProblem
from nsh.training.step_loop import StepLoop, Stretch, scan_blocks

# so many indices are drawn at once: bulk draws cost a fifth of single ones, and these fit a cache
INDICES_AT_ONCE = 2048
# a program for fewer steps at once would cost more than a second one for what is left over
LEAST_AT_ONCE = 10


class Sequential(Method):
    """``state_{t+1} = system.step(state_t, batch_t, hyper, key_t)``, by `lax.scan`. Fits all.

    `checkpoint`: what reverse mode keeps. ``"step"`` (default): the state of every step, the rest
    of a step being computed again: memory O(T). ``"sqrt"``: about 2 sqrt(T) states, for one more
    forward computation. Forward mode keeps nothing.

    Example:
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> run = nsh.train(problem, jax.random.key(0), method=nsh.Sequential())
        >>> round(float(jnp.exp(run.state.log_amplification[0])), 3)
        16.0
    """

    checkpoint: Literal["step", "sqrt"] = eqx.field(static=True, default="step")

    def __check_init__(self):
        known = self.checkpoint in ("step", "sqrt")
        require(known, "checkpoint", self.checkpoint, "'step' or 'sqrt'")

    def run(self, problem: TrainingProblem, key: Key[Array, ""]) -> Result:
        """See `Method.run`."""
        whole = Stretch(problem.steps, problem.times)
        carry, saved = self.follow(problem, key, self.begin(problem, key), whole)
        return self.end(problem, carry, saved)

    def begin(self, problem: TrainingProblem, key: Key[Array, ""]) -> tuple[PyTree, PyTree]:
        """Return what is carried from step to step: the system's state and the sampler's."""
        return problem.start(Keys.of(key))

    def follow(
        self,
        problem: TrainingProblem,
        key: Key[Array, ""],
        carry: PyTree,
        stretch: Stretch,
        first: Int[Array, ""] | int = 0,
    ) -> tuple[PyTree, PyTree]:
        """Take some steps in a row, from step `first` on: what is carried then, and recorded."""
        root = max(math.isqrt(problem.steps), 1) if self.checkpoint == "sqrt" else None
        return _Steps(problem, Keys.of(key), stretch, first, root).follow(carry, stretch, first)

    def end(self, problem: TrainingProblem, carry: PyTree, saved: PyTree) -> Result:
        """Return the result of a run from what is carried after its last step."""
        state = problem.system.settled(carry[0])
        return Result(state, saved, problem.status(state))


@dataclass(frozen=True, eq=False)  # jax.checkpoint hashes it, so by identity
class _Steps(StepLoop):
    problem: TrainingProblem
    keys: Keys
    stretch: Stretch
    first: Int[Array, ""] | int
    most: int | None

    def state(self, carry: PyTree, step: Int[Array, ""] | int) -> PyTree:
        """See `StepLoop.state`."""
        del step
        return carry[0]

    @property
    def unit(self) -> int:
        """A divisor of all recorded times and of the steps between two calls of `settled`."""
        every = self.problem.system.settle_every
        if every is None or every > self.stretch.steps:
            return 1
        recorded = math.gcd(every, *self.stretch.times)
        with_end = math.gcd(recorded, self.stretch.steps)
        return with_end if with_end >= LEAST_AT_ONCE else recorded

    def advance(self, carry: PyTree, first: Int[Array, ""], count: int) -> PyTree:
        """See `StepLoop.advance`."""
        most = self.most or max(INDICES_AT_ONCE // max(self.problem.batch_size, 1), 1)
        rest = count % self.unit
        if whole := count - rest:
            carry, _ = scan_blocks(
                self.block, carry, first, whole, most,
                unit=self.unit, checkpoint=self.most is not None,
            )  # fmt: skip
        return self.block(carry, first + whole, rest)[0] if rest else carry

    def block(self, carry: PyTree, first: Int[Array, ""], size: int) -> tuple[PyTree, None]:
        """Draw the mini-batches of `size` steps at once, and take the steps."""
        state, sampler_state = carry
        indices, sampler_state = self.problem.indices(sampler_state, first, size, self.keys)
        steps = first + jnp.arange(size, dtype=jnp.int32), self.problem.wanted(indices)
        step = jax.checkpoint(self.step, prevent_cse=False)
        every, unit = self.problem.system.settle_every, min(self.unit, size)
        if every is None or every > self.stretch.steps:
            return (jax.lax.scan(step, state, steps)[0], sampler_state), None

        def some(state: PyTree, steps: tuple[Array, PyTree]) -> tuple[PyTree, None]:
            state, _ = jax.lax.scan(step, state, steps)
            return self.settled(state, steps[0][-1] + 1, unit), None

        groups = size // unit, unit
        steps = jax.tree.map(lambda leaf: leaf.reshape(*groups, *leaf.shape[1:]), steps)
        return (jax.lax.scan(some, state, steps)[0], sampler_state), None

    def settled(self, state: PyTree, steps: Int[Array, ""], unit: int) -> PyTree:
        """Call the system's `settled` where it is due."""
        system, every = self.problem.system, self.problem.system.settle_every
        if every is None or every == unit:
            return system.settled(state)
        due = (steps - self.first) % every == 0
        return jax.lax.cond(due, lambda state: system.settled(state), lambda state: state, state)

    def step(self, state: PyTree, now: tuple[Array, PyTree]) -> tuple[PyTree, None]:
        """Take one step, of a number and what is wanted of the examples."""
        number, wanted = now
        key = jax.random.fold_in(self.keys.steps, number)
        return self.problem.system.step(
            state, self.problem.batch(wanted), self.problem.hyper, key
        ), None
