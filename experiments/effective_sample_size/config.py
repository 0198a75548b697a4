"""Sizes of the experiment on effective sample sizes."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both halves of the experiment."""

    seeds: int = 64
    """Runs of neurashed at each batch size, number of own samples and degree of sharing."""
    count: int = 120
    """Samples of the four classes together."""
    own: tuple[int, ...] = (3, 6, 12, 24, 45)
    """Samples of the rare class among them."""
    sharing: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Share of a common class's samples that show its part of the rare class."""
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    steps: int = 400
    every: int = 50
    test: int = 128
    """Test inputs of the rare class."""
    noise: float = 0.1
    """Chance of each of their level-1 nodes to be flipped."""
    digits_seeds: int = 32
    digits_kept: int = 13
    """Training samples left of a thinned class, a tenth."""
    digits_hidden: tuple[int, ...] = (32,)
    digits_learning_rate: float = 0.2
    digits_steps: int = 600
    digits_batch: int = 16
    neurashed_steps: int = 600
    """Of neurashed on the digits, with mini-batches of one."""
    seed: int = 0


FULL = Config(seeds=1024, test=512, digits_seeds=128, digits_hidden=(64, 32), digits_steps=2000)
TINY = Config(
    seeds=3, count=24, own=(3, 6), sharing=(0.0, 0.5, 1.0), batch_sizes=(1, 4), steps=20,
    every=10, test=8, digits_seeds=2, digits_hidden=(8,), digits_steps=20, digits_batch=8,
    neurashed_steps=20,
)  # fmt: skip
