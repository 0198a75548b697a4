"""Final states from how often things happened, without a step: counting replaces training."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from nsh.training.blocks import scan_blocks
from nsh.training.counters import WORD, count_bits
from nsh.training.method import Method
from nsh.training.plan import Keys, Outcome, Plan

# rows counted by one tree of adders, and indices in one histogram: what fits a cache
ROWS, INDICES = 128, 8192
# up to so many samples a comparison with each is quicker than a scattered sum
FEW_SAMPLES = 32


class ClosedForm(Method):
    """The final state from counts of events: ``from_events(state_0, counts, T, hyper)``.

    For a System whose state depends on the batches only through how often each event happened
    (`System.events`), such as neurashed with geometric rules. Same mini-batches as `Sequential`;
    the counts are exact integers, so it is the method that drifts least: after a million steps of
    Figure 4's graph in 32-bit floats log lambda = 27,000 is off by 0.001 (`ParallelInTime`: 0.02,
    `Sequential`: 90). It counts samples where
    batches hold one (and there are no more samples than steps), else the bits of each batch's
    events, by bit-sliced counters. Final states only. Differentiable both ways, at no cost that
    grows with the number of steps.
    """

    def check(self, plan: Plan) -> None:
        """Raise `ValueError` if something is recorded, or order matters."""
        try:
            if plan.times:
                raise ValueError("it gives final states only, and `save` records before the end")
            require_countable(plan)
        except ValueError as complaint:
            raise ValueError(
                f"method: ClosedForm does not fit, {complaint}; use ParallelInTime() (affine "
                "rules) or Sequential()"
            ) from complaint

    def run(self, plan: Plan, key: Key[Array, ""]) -> Outcome:
        """See `Method.run`."""
        keys = Keys.of(key)
        state, carried = plan.start(keys)
        counts = _counts(plan, keys, carried)
        state = plan.system.from_events(state, counts, plan.steps, plan.hyper)
        return Outcome(state, None, plan.status(state))


def require_countable(plan: Plan) -> None:
    """Raise `ValueError` unless the plan's final state follows from counts of events."""

    def final(key: Key[Array, ""]) -> Any:
        keys = Keys.of(key)
        state, carried = plan.start(keys)
        indices, _ = plan.indices(carried, jnp.zeros((), jnp.int32), 1, keys)
        words = plan.system.events(plan.batch(indices[0]))
        counts = jnp.zeros(WORD * words.shape[0], jnp.int32)
        return plan.system.from_events(state, counts, plan.steps, plan.hyper)

    eqx.filter_eval_shape(final, jax.random.key(0))


def events_of_samples(plan: Plan) -> Int[Array, "samples events"]:
    """The events of each sample as a mini-batch of its own, as numbers 0 and 1."""
    alone = jax.tree.map(lambda leaf: leaf[:, None], plan.examples)
    return jax.vmap(lambda batch: count_bits(plan.system.events(batch)[None]))(alone)


def _counts(plan: Plan, keys: Keys, carried: Any) -> Int[Array, " events"]:
    zero = jnp.zeros((), jnp.int32)
    indices, _ = eqx.filter_eval_shape(plan.indices, carried, zero, 1, keys)
    batch = indices.shape[1]
    if batch == 0:  # every step has all samples
        words = plan.system.events(plan.batch(jnp.zeros(0, jnp.int32)))
        return plan.steps * count_bits(words[None])
    if batch == 1 and plan.samples <= plan.steps:
        return _sample_counts(plan, keys, carried) @ events_of_samples(plan)
    return _event_counts(plan, keys, carried)


def _sample_counts(plan: Plan, keys: Keys, carried: Any) -> Int[Array, " samples"]:
    """How often each sample was drawn, for mini-batches of one."""
    samples = plan.samples

    def block(carry: Any, first: Int[Array, ""], size: int) -> tuple[Any, None]:
        counts, carried = carry
        indices, carried = plan.indices(carried, first, size, keys)
        drawn = indices[:, 0]
        if samples <= FEW_SAMPLES:
            each = jnp.arange(samples, dtype=jnp.int32)[:, None]
            counts += jnp.sum(drawn[None] == each, axis=1, dtype=jnp.int32)
        else:
            counts = counts.at[drawn].add(1)
        return (counts, carried), None

    return _over_steps(block, plan, (jnp.zeros(samples, jnp.int32), carried), INDICES)


def _event_counts(plan: Plan, keys: Keys, carried: Any) -> Int[Array, " events"]:
    """How often each event happened, for mini-batches of any size."""

    def rows(carried: Any, first: Int[Array, ""], size: int) -> tuple[Array, Any]:
        indices, carried = plan.indices(carried, first, size, keys)
        return jax.vmap(lambda i: plan.system.events(plan.batch(i)))(indices), carried

    def block(carry: Any, first: Int[Array, ""], size: int) -> tuple[Any, None]:
        counts, carried = carry
        words, carried = rows(carried, first, size)
        return (counts + count_bits(words), carried), None

    words, _ = eqx.filter_eval_shape(rows, carried, jnp.zeros((), jnp.int32), 1)
    return _over_steps(block, plan, (jnp.zeros(WORD * words.shape[1], jnp.int32), carried), ROWS)


def _over_steps(block: Any, plan: Plan, carry: tuple[Array, Any], most: int) -> Int[Array, " n"]:
    if plan.steps == 0:
        return carry[0]
    zero = jnp.zeros((), jnp.int32)
    (counts, _), _ = scan_blocks(block, carry, zero, plan.steps, most, checkpoint=False)
    return counts
