"""States from how often things happened, without a step: counting replaces training."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree, UInt32

from nsh.training.counters import WORD, count_bits
from nsh.training.problem import Keys, Method, Result, TrainingProblem
from nsh.training.step_loop import StepLoop, Stretch, scan_blocks

# rows counted by one tree of adders, and indices in one histogram: what fits a cache
ROWS, INDICES = 128, 2048
# up to so many examples a comparison with each is quicker than a scattered sum
FEW_EXAMPLES = 32


class ClosedForm(Method):
    """``state_t = state_from_counts(state_0, counts up to t, t, hyper)``: counting, not training.

    For a System whose state depends on the batches only through how often each event happened
    (`System.events`), such as neurashed with geometric rules. Same mini-batches as `Sequential`;
    the counts are exact integers, so it is the method that drifts least. It counts examples where
    batches hold one (and there are no more examples than steps), else the bits of each batch's
    events, by bit-sliced counters. Differentiable both ways at no cost that grows with the number
    of steps, as no hyperparameter changes a count.

    Example:
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> run = nsh.train(problem, jax.random.key(0), method=nsh.ClosedForm())
        >>> round(float(jnp.exp(run.state.log_amplification[0])), 3)
        16.0
    """

    alternative: ClassVar[str] = "ParallelInTime() (affine rules) or Sequential()"

    def check_supported(self, problem: TrainingProblem) -> None:
        """Raise `ValueError` if the order of the steps matters."""
        require_countable(problem)

    def run(self, problem: TrainingProblem, key: Key[Array, ""]) -> Result:
        """See `Method.run`."""
        keys = Keys.of(key)
        start, sampler_state = problem.start(keys)
        by_example = problem.batch_size == 1 and problem.num_examples <= problem.steps
        trajectory = (_Always if problem.batch_size == 0 else _Examples if by_example else _Events)(
            problem, keys, start
        )
        whole = Stretch(problem.steps, problem.times)
        carry, saved = trajectory.follow((trajectory.none(), sampler_state), whole)
        state = trajectory.state(carry, problem.steps)
        return Result(state, saved, problem.status(state))


def require_countable(problem: TrainingProblem) -> None:
    """Raise `ValueError` unless the problem's states follow from counts of events."""

    def final(key: Key[Array, ""]) -> PyTree:
        keys = Keys.of(key)
        state, sampler_state = problem.start(keys)
        indices, _ = problem.indices(sampler_state, jnp.zeros((), jnp.int32), 1, keys)
        words = problem.system.events(problem.batch(indices[0]))
        counts = jnp.zeros(WORD * words.shape[0], jnp.int32)
        return problem.system.state_from_counts(state, counts, problem.steps, problem.hyper)

    eqx.filter_eval_shape(final, jax.random.key(0))


def events_of(
    problem: TrainingProblem, indices: Int[Array, "batches batch"]
) -> Int[Array, "batches events"]:
    """The events of each mini-batch of examples, as numbers 0 and 1."""
    return jax.vmap(lambda batch: count_bits(problem.system.events(problem.batch(batch))[None]))(
        indices
    )


@dataclass(frozen=True, eq=False)
class _Counts(StepLoop):
    """What is carried: how often each thing was seen, and the sampler's state."""

    problem: TrainingProblem
    keys: Keys
    start: PyTree
    # how many steps are counted by one call
    at_once: ClassVar[int] = ROWS

    @abc.abstractmethod
    def none(self) -> Int[Array, " things"]:
        """Counts before the first step."""

    @abc.abstractmethod
    def count(self, indices: Int[Array, "steps batch"]) -> Int[Array, " things"]:
        """Count how often each thing is seen in some steps."""

    @abc.abstractmethod
    def events(self, counts: Int[Array, " things"]) -> Int[Array, " events"]:
        """Count how often each event happened."""

    def advance(self, carry: PyTree, first: Int[Array, ""], count: int) -> PyTree:
        """See `StepLoop.advance`."""

        def block(carry: PyTree, first: Int[Array, ""], size: int) -> tuple[PyTree, None]:
            counts, sampler_state = carry
            indices, sampler_state = self.problem.indices(sampler_state, first, size, self.keys)
            return (counts + self.count(indices), sampler_state), None

        return scan_blocks(block, carry, first, count, self.at_once, checkpoint=False)[0]

    def state(self, carry: PyTree, step: Int[Array, ""] | int) -> PyTree:
        """See `StepLoop.state`."""
        events = self.events(carry[0])
        return self.problem.system.state_from_counts(self.start, events, step, self.problem.hyper)


class _Examples(_Counts):
    """Mini-batches of one: how often each example was drawn."""

    at_once: ClassVar[int] = INDICES

    def none(self) -> Int[Array, " examples"]:
        return jnp.zeros(self.problem.num_examples, jnp.int32)

    def count(self, indices: Int[Array, "steps batch"]) -> Int[Array, " examples"]:
        drawn = indices[:, 0]
        if self.problem.num_examples > FEW_EXAMPLES:
            return self.none().at[drawn].add(1)
        each = jnp.arange(self.problem.num_examples, dtype=jnp.int32)[:, None]
        return jnp.sum(drawn[None] == each, axis=1, dtype=jnp.int32)

    def events(self, counts: Int[Array, " examples"]) -> Int[Array, " events"]:
        each = jnp.arange(self.problem.num_examples, dtype=jnp.int32)
        return counts @ events_of(self.problem, each[:, None])


class _Events(_Counts):
    """Mini-batches of any size: how often each event happened."""

    def words(self, indices: Int[Array, " batch"]) -> UInt32[Array, " words"]:
        return self.problem.system.events(self.problem.batch(indices))

    def none(self) -> Int[Array, " events"]:
        one = jnp.zeros(self.problem.batch_size, jnp.int32)
        return jnp.zeros(WORD * eqx.filter_eval_shape(self.words, one).shape[0], jnp.int32)

    def count(self, indices: Int[Array, "steps batch"]) -> Int[Array, " events"]:
        return count_bits(jax.vmap(self.words)(indices))

    def events(self, counts: Int[Array, " events"]) -> Int[Array, " events"]:
        return counts


class _Always(_Counts):
    """Every step has all examples: how many steps."""

    at_once: ClassVar[int] = INDICES

    def none(self) -> Int[Array, " 1"]:
        return jnp.zeros(1, jnp.int32)

    def count(self, indices: Int[Array, "steps 0"]) -> Int[Array, " 1"]:
        return jnp.full(1, indices.shape[0], jnp.int32)

    def events(self, counts: Int[Array, " 1"]) -> Int[Array, " events"]:
        words = self.problem.system.events(self.problem.examples)
        return counts[0] * count_bits(words[None])
