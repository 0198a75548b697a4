"""Step after step: a `lax.scan` that fits every System."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import require
from nsh.training.blocks import scan_blocks
from nsh.training.method import Method
from nsh.training.plan import Keys, Outcome, Plan
from nsh.training.recording import Course

# so many indices are drawn at once: bulk draws cost a fifth of single ones, and these fit a cache
INDICES_AT_ONCE = 2048
# a program for fewer steps at once would cost more than a second one for what is left over
LEAST_AT_ONCE = 10


class Sequential(Method):
    """``state_{t+1} = system.step(state_t, batch_t, hyper, key_t)``, by `lax.scan`. Fits all.

    `checkpoint`: what reverse mode keeps. ``"step"`` (default): the state of every step, the rest
    of a step being computed again: memory O(T). ``"sqrt"``: about 2 sqrt(T) states, for one more
    forward computation. Forward mode keeps nothing.
    """

    checkpoint: Literal["step", "sqrt"] = eqx.field(static=True, default="step")

    def __check_init__(self):
        known = self.checkpoint in ("step", "sqrt")
        require(known, "checkpoint", self.checkpoint, "'step' or 'sqrt'")

    def run(self, plan: Plan, key: Key[Array, ""]) -> Outcome:
        """See `Method.run`."""
        keys = Keys.of(key)
        root = max(math.isqrt(plan.steps), 1) if self.checkpoint == "sqrt" else None
        state, saved = _Steps(plan, keys, root).follow(plan.start(keys))
        state = plan.system.settled(state)
        return Outcome(state, saved, plan.status(state))


@dataclass(frozen=True, eq=False)  # jax.checkpoint hashes it, so by identity
class _Steps(Course):
    plan: Plan
    keys: Keys
    most: int | None

    def state(self, carry: Any, step: Int[Array, ""] | int) -> PyTree:  # noqa: ARG002
        return carry[0]

    @property
    def at_once(self) -> int:
        """A divisor of all recorded times and of the steps between two calls of `settled`."""
        every = self.plan.system.settle_every
        if every is None or every > self.plan.steps:
            return 1
        recorded = math.gcd(every, *self.plan.times)
        with_end = math.gcd(recorded, self.plan.steps)
        return with_end if with_end >= LEAST_AT_ONCE else recorded

    def advance(self, carry: Any, first: Int[Array, ""], count: int) -> Any:
        at_once, checkpoint = self.at_once, self.most is not None
        most = self.most or max(INDICES_AT_ONCE // max(self.plan.batch_size, 1), 1)

        def block(carry: Any, number: Int[Array, ""], size: int) -> tuple[Any, None]:
            return self.block(carry, first + at_once * number, at_once * size), None

        whole, rest = divmod(count, at_once)
        if whole:
            start, most = jnp.zeros((), jnp.int32), max(most // at_once, 1)
            carry = scan_blocks(block, carry, start, whole, most, checkpoint=checkpoint)[0]
        return self.block(carry, first + at_once * whole, rest) if rest else carry

    def block(self, carry: Any, first: Int[Array, ""], size: int) -> Any:
        state, carried = carry
        indices, carried = self.plan.indices(carried, first, size, self.keys)
        now = first + jnp.arange(size, dtype=jnp.int32), indices
        step = jax.checkpoint(self.step, prevent_cse=False)
        every, at_once = self.plan.system.settle_every, min(self.at_once, size)
        if every is None or every > self.plan.steps:
            return jax.lax.scan(step, state, now)[0], carried

        def some(state: PyTree, now: tuple[Array, Array]) -> tuple[PyTree, None]:
            state, _ = jax.lax.scan(step, state, now)
            return self.settled(state, now[0][-1] + 1, at_once), None

        groups = size // at_once, at_once
        now = jax.tree.map(lambda leaf: leaf.reshape(*groups, *leaf.shape[1:]), now)
        return jax.lax.scan(some, state, now)[0], carried

    def settled(self, state: PyTree, steps: Int[Array, ""], at_once: int) -> PyTree:
        system, every = self.plan.system, self.plan.system.settle_every
        if every is None or every == at_once:
            return system.settled(state)
        due = steps % every == 0
        return jax.lax.cond(due, lambda state: system.settled(state), lambda state: state, state)

    def step(self, state: PyTree, now: tuple[Array, Array]) -> tuple[PyTree, None]:
        number, indices = now
        key = jax.random.fold_in(self.keys.steps, number)
        return self.plan.system.step(state, self.plan.batch(indices), self.plan.hyper, key), None
