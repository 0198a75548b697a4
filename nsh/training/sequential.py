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
        return Outcome(state, saved, plan.status(state))


@dataclass(frozen=True, eq=False)  # jax.checkpoint hashes it, so by identity
class _Steps(Course):
    plan: Plan
    keys: Keys
    most: int | None

    def state(self, carry: Any, step: Int[Array, ""] | int) -> PyTree:  # noqa: ARG002
        return carry[0]

    def advance(self, carry: Any, first: Int[Array, ""], count: int) -> Any:
        most = self.most or max(INDICES_AT_ONCE // max(self.plan.batch_size, 1), 1)
        checkpoint = self.most is not None
        return scan_blocks(self.block, carry, first, count, most, checkpoint=checkpoint)[0]

    def block(self, carry: Any, first: Int[Array, ""], size: int) -> tuple[Any, None]:
        state, carried = carry
        indices, carried = self.plan.indices(carried, first, size, self.keys)
        steps = first + jnp.arange(size, dtype=jnp.int32)
        step = jax.checkpoint(self.step, prevent_cse=False)
        return (jax.lax.scan(step, state, (steps, indices))[0], carried), None

    def step(self, state: PyTree, now: tuple[Array, Array]) -> tuple[PyTree, None]:
        number, indices = now
        key = jax.random.fold_in(self.keys.steps, number)
        return self.plan.system.step(state, self.plan.batch(indices), self.plan.hyper, key), None
