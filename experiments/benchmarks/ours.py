"""What all of nsh's contenders share: compiling ahead of time, and given mini-batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from experiments.benchmarks.work import Data, Work
from nsh.training import Sampler


def compiled(
    function: Callable[..., Any], *arguments: Any, check: Callable[[], Data] | None = None
) -> Work:
    """`function(*arguments)`, jitted and compiled ahead of time."""
    programs = []

    def compile() -> None:
        programs.append(jax.jit(function).lower(*arguments).compile())

    def run() -> Any:
        return jax.block_until_ready(programs[0](*arguments))

    def temporary_bytes() -> int | None:
        analysis = programs[0].memory_analysis()
        return getattr(analysis, "temp_size_in_bytes", None)

    return Work(run, compile, temporary_bytes, check)


class Given(Sampler):
    """Mini-batches written down beforehand: `indices` [steps, batch]."""

    indices: Int[Array, "steps batch"]

    def init(self, key: Key[Array, ""], samples: int) -> None:
        """Nothing is carried."""

    def draw(
        self,
        carried: None,
        first: Int[Array, ""],
        count: int,
        key: Key[Array, ""],  # noqa: ARG002
        samples: int,  # noqa: ARG002
    ) -> tuple[Int[Array, "count batch"], None]:
        """See `Sampler.draw`."""
        return self.indices[first + jnp.arange(count, dtype=jnp.int32)], carried
