"""States from how often things happened, without a step: counting replaces training."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree, UInt32

from nsh.training.blocks import scan_blocks
from nsh.training.counters import WORD, count_bits
from nsh.training.method import Method
from nsh.training.plan import Keys, Outcome, Plan
from nsh.training.recording import Course

# rows counted by one tree of adders, and indices in one histogram: what fits a cache
ROWS, INDICES = 128, 2048
# up to so many samples a comparison with each is quicker than a scattered sum
FEW_SAMPLES = 32


class ClosedForm(Method):
    """States from counts of events: ``state_t = from_events(state_0, counts up to t, t, hyper)``.

    For a System whose state depends on the batches only through how often each event happened
    (`System.events`), such as neurashed with geometric rules. Same mini-batches as `Sequential`;
    the counts are exact integers, so it is the method that drifts least. It counts samples where
    batches hold one (and there are no more samples than steps), else the bits of each batch's
    events, by bit-sliced counters. Differentiable both ways at no cost that grows with the number
    of steps, as no hyperparameter changes a count.
    """

    instead: ClassVar[str] = "ParallelInTime() (affine rules) or Sequential()"

    def require_fit(self, plan: Plan) -> None:
        """Raise `ValueError` if the order of the steps matters."""
        require_countable(plan)

    def run(self, plan: Plan, key: Key[Array, ""]) -> Outcome:
        """See `Method.run`."""
        keys = Keys.of(key)
        start, carried = plan.start(keys)
        by_sample = plan.batch_size == 1 and plan.samples <= plan.steps
        course = (_Always if plan.batch_size == 0 else _Samples if by_sample else _Events)(
            plan, keys, start
        )
        state, saved = course.follow((course.none(), carried))
        return Outcome(state, saved, plan.status(state))


def require_countable(plan: Plan) -> None:
    """Raise `ValueError` unless the plan's states follow from counts of events."""

    def final(key: Key[Array, ""]) -> Any:
        keys = Keys.of(key)
        state, carried = plan.start(keys)
        indices, _ = plan.indices(carried, jnp.zeros((), jnp.int32), 1, keys)
        words = plan.system.events(plan.batch(indices[0]))
        counts = jnp.zeros(WORD * words.shape[0], jnp.int32)
        return plan.system.from_events(state, counts, plan.steps, plan.hyper)

    eqx.filter_eval_shape(final, jax.random.key(0))


def events_of(plan: Plan, indices: Int[Array, "batches batch"]) -> Int[Array, "batches events"]:
    """The events of each mini-batch of samples, as numbers 0 and 1."""
    return jax.vmap(lambda batch: count_bits(plan.system.events(plan.batch(batch))[None]))(indices)


@dataclass(frozen=True, eq=False)
class _Counts(Course):
    """What is carried: how often each thing was seen, and what the sampler carries."""

    plan: Plan
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

    def advance(self, carry: Any, first: Int[Array, ""], count: int) -> Any:
        """See `Course.advance`."""

        def block(carry: Any, first: Int[Array, ""], size: int) -> tuple[Any, None]:
            counts, carried = carry
            indices, carried = self.plan.indices(carried, first, size, self.keys)
            return (counts + self.count(indices), carried), None

        return scan_blocks(block, carry, first, count, self.at_once, checkpoint=False)[0]

    def state(self, carry: Any, step: Int[Array, ""] | int) -> PyTree:
        """See `Course.state`."""
        events = self.events(carry[0])
        return self.plan.system.from_events(self.start, events, step, self.plan.hyper)


class _Samples(_Counts):
    """Mini-batches of one: how often each sample was drawn."""

    at_once: ClassVar[int] = INDICES

    def none(self) -> Int[Array, " samples"]:
        return jnp.zeros(self.plan.samples, jnp.int32)

    def count(self, indices: Int[Array, "steps batch"]) -> Int[Array, " samples"]:
        drawn = indices[:, 0]
        if self.plan.samples > FEW_SAMPLES:
            return self.none().at[drawn].add(1)
        each = jnp.arange(self.plan.samples, dtype=jnp.int32)[:, None]
        return jnp.sum(drawn[None] == each, axis=1, dtype=jnp.int32)

    def events(self, counts: Int[Array, " samples"]) -> Int[Array, " events"]:
        each = jnp.arange(self.plan.samples, dtype=jnp.int32)
        return counts @ events_of(self.plan, each[:, None])


class _Events(_Counts):
    """Mini-batches of any size: how often each event happened."""

    def words(self, indices: Int[Array, " batch"]) -> UInt32[Array, " words"]:
        return self.plan.system.events(self.plan.batch(indices))

    def none(self) -> Int[Array, " events"]:
        one = jnp.zeros(self.plan.batch_size, jnp.int32)
        return jnp.zeros(WORD * eqx.filter_eval_shape(self.words, one).shape[0], jnp.int32)

    def count(self, indices: Int[Array, "steps batch"]) -> Int[Array, " events"]:
        return count_bits(jax.vmap(self.words)(indices))

    def events(self, counts: Int[Array, " events"]) -> Int[Array, " events"]:
        return counts


class _Always(_Counts):
    """Every step has all samples: how many steps."""

    at_once: ClassVar[int] = INDICES

    def none(self) -> Int[Array, " 1"]:
        return jnp.zeros(1, jnp.int32)

    def count(self, indices: Int[Array, "steps 0"]) -> Int[Array, " 1"]:
        return jnp.full(1, indices.shape[0], jnp.int32)

    def events(self, counts: Int[Array, " 1"]) -> Int[Array, " events"]:
        words = self.plan.system.events(self.plan.examples)
        return counts[0] * count_bits(words[None])
