"""What `scaling_law` varies, and what it is otherwise."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """What is varied, one thing at a time, and what it is otherwise."""

    seeds: int = 64
    """Graphs, each with a run of its own, for every condition."""
    sizes: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000)
    depths: tuple[int, ...] = (2, 3, 4, 5)
    sharings: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)
    batch_sizes: tuple[int, ...] = (1, 2, 4, 16)
    size: int = 1_000
    """Feature nodes, where they are not varied."""
    depth: int = 3
    """Feature levels."""
    sharing: float = 0.25
    """Share of the nodes below the top level that all classes share."""
    batch_size: int = 1
    active: float = 0.5
    """Chance that a level-1 node fires for a type of its class."""
    growth: float = 1.05
    """Factor of g+; with `decay` it makes features survive that fire in 38% of the steps."""
    decay: float = 0.97
    """Factor of g-."""
    times: tuple[int, ...] = (10, 30, 100, 300, 1_000, 10_000)
    """Steps after which a run is looked at; the last stands for the end of training."""
    early: int = 100
    """One of `times`: the middle of training."""
    seed: int = 0


FULL = Config(
    seeds=256,
    depths=(2, 3, 4, 5, 6),
    sharings=(0.0, 0.125, 0.25, 0.375, 0.5, 0.75),
    batch_sizes=(1, 2, 4, 8, 16, 32),
    times=(3, 10, 20, 30, 50, 100, 200, 300, 1_000, 10_000),
)
TINY = Config(
    seeds=6, sizes=(60, 120), depths=(3,), sharings=(0.0, 0.25), batch_sizes=(1, 2), size=60,
    times=(5, 20, 40), early=20,
)  # fmt: skip
