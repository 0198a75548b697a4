"""Step after step: a `lax.scan` that fits every System."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import require
from nsh.training.blocks import Stretch, scan_blocks, stretches
from nsh.training.method import Method
from nsh.training.plan import Keys, Outcome, Plan

# so many indices are drawn at once: bulk draws cost a fifth of single ones, and these fit a cache
INDICES_AT_ONCE = 8192


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

    def check(self, plan: Plan) -> None:
        """Nothing that it does not fit."""

    def run(self, plan: Plan, key: Key[Array, ""]) -> Outcome:
        """See `Method.run`."""
        keys = Keys.of(key)
        loop = _Loop(plan, keys, self.checkpoint == "sqrt")
        carry, saved, done = plan.start(keys), [], 0
        for stretch in stretches(plan.times):
            carry, recorded = loop.recorded(carry, stretch)
            saved.append(recorded)
            done = stretch.first + stretch.gap * stretch.count
        carry = loop.advance(carry, jnp.asarray(done, jnp.int32), plan.steps - done)
        together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *saved) if saved else None
        return Outcome(carry[0], together, plan.status(carry[0]))


@dataclass(frozen=True, eq=False)  # jax.checkpoint hashes it, so by identity
class _Loop:
    plan: Plan
    keys: Keys
    in_roots: bool

    @property
    def root(self) -> int:
        return max(math.isqrt(self.plan.steps), 1)

    def step(self, state: PyTree, now: tuple[Array, Array]) -> tuple[PyTree, None]:
        number, indices = now
        key = jax.random.fold_in(self.keys.steps, number)
        return self.plan.system.step(state, self.plan.batch(indices), self.plan.hyper, key), None

    def block(self, carry: Any, first: Int[Array, ""], size: int) -> tuple[Any, None]:
        state, carried = carry
        indices, carried = self.plan.indices(carried, first, size, self.keys)
        steps = first + jnp.arange(size, dtype=jnp.int32)
        step = jax.checkpoint(self.step, prevent_cse=False)
        return (jax.lax.scan(step, state, (steps, indices))[0], carried), None

    def advance(self, carry: Any, first: Int[Array, ""], count: int) -> Any:
        if count == 0:  # compiling an empty scan costs as much as any
            return carry
        most = self.root if self.in_roots else max(INDICES_AT_ONCE // self.batch(carry), 1)
        return scan_blocks(self.block, carry, first, count, most, checkpoint=self.in_roots)[0]

    def batch(self, carry: Any) -> int:
        """Indices drawn for a step."""
        zero = jnp.zeros((), jnp.int32)
        indices, _ = eqx.filter_eval_shape(self.plan.indices, carry[1], zero, 1, self.keys)
        return max(indices.shape[1], 1)

    def recorded(self, carry: Any, stretch: Stretch) -> tuple[Any, PyTree]:
        # number -1 stands for step 0: recorded without a step, by the same program as the others
        first = -1 if stretch.from_start else 0
        count = stretch.count - first
        most = max(self.root // max(stretch.gap, 1), 1) if self.in_roots else count
        block = partial(self.recordings, stretch)
        start = jnp.asarray(first, jnp.int32)
        return scan_blocks(block, carry, start, count, most, checkpoint=self.in_roots)

    def recordings(
        self, stretch: Stretch, carry: Any, first: Int[Array, ""], size: int
    ) -> tuple[Any, PyTree]:
        def one(carry: Any, number: Int[Array, ""]) -> tuple[Any, PyTree]:
            step = stretch.first + stretch.gap * number
            advance = partial(self.advance, count=stretch.gap)
            carry = jax.lax.cond(number < 0, lambda carry, _: carry, advance, carry, step)
            return carry, self.plan.record(carry[0], step + stretch.gap)

        return jax.lax.scan(one, carry, first + jnp.arange(size, dtype=jnp.int32))
