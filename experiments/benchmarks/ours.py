"""What all of nsh's contenders share: compiling ahead of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from experiments.benchmarks.work import Data, Work


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
