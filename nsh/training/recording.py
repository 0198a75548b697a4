"""Along a run, from recording to recording: what methods that go forward in time share."""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from nsh.training.blocks import Stretch, scan_blocks, stretches
from nsh.training.plan import Keys, Plan


class Course(abc.ABC):
    """A run as something carried forward in time; compared by identity."""

    plan: Plan
    keys: Keys
    most: int | None = None
    """If given, reverse mode keeps what is carried only once in so many steps."""

    @abc.abstractmethod
    def advance(self, carry: Any, first: Int[Array, ""], count: int) -> Any:
        """Take `count` > 0 more steps from step `first` on."""

    @abc.abstractmethod
    def state(self, carry: Any, step: Int[Array, ""] | int) -> PyTree:
        """The system's state after `step` steps."""

    def follow(self, carry: Any) -> tuple[PyTree, PyTree]:
        """The final state, and everything the plan records, in order."""
        saved, done = [], 0
        for stretch in stretches(self.plan.times):
            carry, recorded = self._stretch(carry, stretch)
            saved.append(recorded)
            done = stretch.first + stretch.gap * stretch.count
        if self.plan.steps > done:
            carry = self.advance(carry, jnp.asarray(done, jnp.int32), self.plan.steps - done)
        together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *saved) if saved else None
        return self.state(carry, self.plan.steps), together

    def _stretch(self, carry: Any, stretch: Stretch) -> tuple[Any, PyTree]:
        if self.most is None:
            return self._from(-1 if stretch.from_start else 0, carry, stretch)
        # recomputed in reverse mode, where the oldest JAX supported cannot do what `_from` does
        parts = []
        if stretch.from_start:
            start = self.plan.record(self.state(carry, 0), jnp.zeros((), jnp.int32))
            parts.append(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], start))
        if stretch.count:
            carry, recorded = self._from(0, carry, stretch)
            parts.append(recorded)
        return carry, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)

    def _from(self, first: int, carry: Any, stretch: Stretch) -> tuple[Any, PyTree]:
        # number -1 stands for step 0: recorded without a step, by the same program as the others
        def forward(carry: Any, step: Int[Array, ""]) -> Any:
            # compiling an empty scan costs as much as any
            return self.advance(carry, step, stretch.gap) if stretch.gap else carry

        def one(carry: Any, number: Int[Array, ""]) -> tuple[Any, PyTree]:
            step = stretch.first + stretch.gap * number
            if first < 0:
                carry = jax.lax.cond(number < 0, lambda carry, _: carry, forward, carry, step)
            else:
                carry = forward(carry, step)
            step += stretch.gap
            return carry, self.plan.record(self.state(carry, step), step)

        def block(carry: Any, number: Int[Array, ""], size: int) -> tuple[Any, PyTree]:
            return jax.lax.scan(one, carry, number + jnp.arange(size, dtype=jnp.int32))

        count = stretch.count - first
        at_once = max(self.most // max(stretch.gap, 1), 1) if self.most else count
        start = jnp.asarray(first, jnp.int32)
        return scan_blocks(block, carry, start, count, at_once, checkpoint=self.most is not None)
