"""Sizes of the experiment `noisy_descent`."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the experiment."""

    particles: int = 4000
    seeds: int = 8
    rates: tuple[float, float] = (0.1, 0.05)
    """Learning rates, the second half of the first."""
    steps: int = 400
    records: int = 20
    """Of the way there; divides `steps`."""
    sample: int = 2000
    """Particles of a network from which its entropy is estimated."""
    points: int = 10
    """Examples learned."""
    height: float = 4.0
    """Of the wave learned."""
    temperature: float = 0.5
    """Decays are the same, so that without data the law would stay N(0, 1), where it starts."""
    cells: tuple[int, int] = (60, 80)
    """Of the grid over u and theta."""
    seed: int = 0


FULL = Config(seeds=32, rates=(0.05, 0.025), steps=1000, records=50, cells=(120, 160))
"""An estimated three minutes on two cores."""
TINY = Config(particles=64, seeds=4, steps=8, records=4, sample=32, points=4, cells=(12, 16))
