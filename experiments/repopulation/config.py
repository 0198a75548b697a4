"""Sizes of the experiment on repopulation."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the experiment."""

    inputs: int = 10
    samples: int = 128
    test: int = 200
    widths: tuple[int, ...] = (64,)
    """Of the networks trained; samples are drawn from the last."""
    seeds: int = 32
    """Starts of each network; the task is the same for all."""
    steps: int = 600
    every: int = 20
    """Steps from one repopulation to the next."""
    record: int = 40
    """Steps from recording to recording."""
    learning_rate: float = 0.2
    decay: float = 0.01
    jitter: float = 0.5
    kept: float = 0.1
    draws: int = 256
    """Samples of each number of units."""
    gap_samples: tuple[int, ...] = (16, 64, 256)
    """Training samples in the task of the bounds; each divides the last."""
    gap_seeds: int = 32
    """Data sets of each size."""
    gap_width: int = 16
    gap_steps: int = 200
    gap_test: int = 1024
    seed: int = 0


FULL = Config(widths=(16, 64, 256), seeds=128, samples=256, test=1024, steps=2000, draws=2000,
              gap_samples=(32, 128, 512, 2048), gap_seeds=128)  # fmt: skip
"""An estimated ten minutes on two cores."""
TINY = Config(
    inputs=3, samples=8, test=6, widths=(4,), seeds=2, steps=8, every=2, record=4, draws=4,
    gap_samples=(4, 8), gap_seeds=8, gap_width=4, gap_steps=4, gap_test=16,
)  # fmt: skip
