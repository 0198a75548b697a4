"""A run carried forward in time, from recording to recording and block by block.

The recorded times are cut into segments of equal gaps. Each segment is one `lax.scan`, so the
steps and the recording are compiled once for each. Between two recordings the steps go in blocks
(`scan_blocks`): mini-batches are drawn for a whole block, and checkpoints lie between blocks.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from nsh.training.problem import Keys, TrainingProblem

Block = Callable[..., tuple[PyTree, PyTree]]


class Stretch(NamedTuple):
    """Some steps of a run in a row, and after how many of them something is recorded."""

    steps: int
    times: tuple[int, ...]


class StepLoop(abc.ABC):
    """A run as something carried forward in time; compared by identity."""

    problem: TrainingProblem
    keys: Keys
    most: int | None = None
    """If given, reverse mode keeps what is carried only once in so many steps."""

    @abc.abstractmethod
    def advance(self, carry: PyTree, first: Int[Array, ""], count: int) -> PyTree:
        """Take `count` > 0 more steps from step `first` on."""

    @abc.abstractmethod
    def state(self, carry: PyTree, step: Int[Array, ""] | int) -> PyTree:
        """Return the system's state after `step` steps."""

    def follow(
        self, carry: PyTree, stretch: Stretch, first: Int[Array, ""] | int = 0
    ) -> tuple[PyTree, PyTree]:
        """Carry through a stretch from step `first` on, and compute all that it records."""
        saved, done = [], 0
        for segment in segments(stretch.times):
            carry, recorded = self._record(carry, segment, first)
            saved.append(recorded)
            done = segment.end
        if stretch.steps > done:
            start = jnp.asarray(first + done, jnp.int32)
            carry = self.advance(carry, start, stretch.steps - done)
        together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *saved) if saved else None
        return carry, together

    def _record(
        self, carry: PyTree, segment: Segment, before: Int[Array, ""] | int
    ) -> tuple[PyTree, PyTree]:
        # number -1 stands for step 0: recorded without a step, by the same program as the others
        first = -1 if segment.from_start and self.most is None else 0

        def one(carry: PyTree, number: Int[Array, ""]) -> tuple[PyTree, PyTree]:
            step = before + segment.first + segment.gap * number
            if segment.gap:  # compiling an empty scan costs as much as any
                forward = partial(self.advance, count=segment.gap)
                if first < 0:
                    carry = jax.lax.cond(number < 0, lambda carry, _: carry, forward, carry, step)
                else:
                    carry = forward(carry, step)
            step += segment.gap
            return carry, self.problem.record(self.state(carry, step), step)

        if self.most is None:
            return jax.lax.scan(one, carry, jnp.arange(first, segment.recordings, dtype=jnp.int32))
        # recomputed in reverse mode, where the oldest JAX supported cannot do the above
        parts = []
        if segment.from_start:
            start = self.problem.record(self.state(carry, 0), jnp.zeros((), jnp.int32))
            parts.append(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], start))
        if segment.recordings:
            carry, recorded = scan_blocks(
                lambda carry, first, size: jax.lax.scan(
                    one, carry, first + jnp.arange(size, dtype=jnp.int32)
                ),
                carry, jnp.zeros((), jnp.int32), segment.recordings,
                max(self.most // max(segment.gap, 1), 1), checkpoint=True,
            )  # fmt: skip
            parts.append(recorded)
        return carry, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


class Segment(NamedTuple):
    """Recordings at equal distances: each a scan, which compiles the recording once.

    `recordings` of them, `gap` steps between them, after step `first`; `from_start`: step 0 is
    recorded before them.
    """

    gap: int
    recordings: int
    from_start: bool
    first: int

    @property
    def end(self) -> int:
        """The step of the last recording."""
        return self.first + self.gap * self.recordings


def segments(times: Sequence[int]) -> list[Segment]:
    """Cut recorded times into segments of equal gaps."""
    at_start = len(times) > 0 and times[0] == 0
    gaps = np.diff(np.asarray(times, int), prepend=0)[int(at_start) :].tolist()
    found, first = [], 0
    for gap, same in groupby(gaps):
        found.append(Segment(gap, len(list(same)), at_start and first == 0, first))
        first = found[-1].end
    return found or [Segment(0, 0, True, 0)] * at_start


def scan_blocks(
    block: Block,
    carry: PyTree,
    first: Int[Array, ""],
    count: int,
    most: int,
    *,
    unit: int = 1,
    checkpoint: bool,
) -> tuple[PyTree, PyTree]:
    """Carry through steps first .. first + count - 1, at most `most` of them at once.

    ``block(carry, first, size)`` takes `size` steps, a multiple of `unit`, and returns the carry
    and what it records, with leading axis. With `checkpoint`, reverse mode keeps only the carry
    between blocks and computes each block again.
    """
    size = unit * block_size(count // unit, max(most // unit, 1))
    blocks, rest = divmod(count, size)

    def of_size(size: int) -> Block:
        one = partial(block, size=size)
        return jax.checkpoint(one, prevent_cse=False) if checkpoint else one

    if blocks == 1:
        carry, recorded = of_size(size)(carry, first)
    else:
        starts = first + size * jnp.arange(blocks, dtype=jnp.int32)
        carry, recorded = jax.lax.scan(of_size(size), carry, starts)
        recorded = jax.tree.map(lambda leaf: leaf.reshape(blocks * size, *leaf.shape[2:]), recorded)
    if rest:
        carry, last = of_size(rest)(carry, first + blocks * size)
        recorded = jax.tree.map(lambda *parts: jnp.concatenate(parts), recorded, last)
    return carry, recorded


def block_size(count: int, most: int) -> int:
    """Choose how many of `count` steps to take at once: `most`, or somewhat less to leave no rest.

    A rest is a second program to compile.
    """
    if count <= most:
        return count
    exact = max(size for size in range(1, most + 1) if count % size == 0)
    return exact if 4 * exact >= most else most
