"""Sizes and choices of the experiment `correspondence`."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes, and the choices by which a graph is made of a network."""

    seeds: int = 16
    hidden: tuple[int, int] = (64, 32)
    """Hidden widths of the MLP."""
    channels: tuple[int, int] = (4, 8)
    """Channels of the CNN's two blocks: of 64 and 32 units, as the MLP."""
    clusters: tuple[int, int] = (8, 16)
    """Clusters of co-firing units at each level, of either network."""
    fan_in: int = 3
    """Dependents of a node of level 2; no more than there are filters at level 1."""
    batch: int = 4
    other_batches: tuple[int, ...] = (1, 16)
    """For sparsity against batch size, of the MLP; all divide the largest."""
    steps: int = 800
    learning_rates: tuple[float, float] = (0.05, 0.1)
    """Of MLP and CNN."""
    growth: float = 6.0
    """Log of how far a node that fires at every step has grown in the end; down as fast as up."""
    records: int = 4
    """Recordings after the one at step 0; a divisor of `steps`."""
    per_class: int = 2
    """Training digits of each class between which elasticity is measured."""
    test: int = 80
    """Test digits on which firing, scores, sparsity and information are measured."""
    noise_fixed: float = 1e-4
    noise_relative: float = 0.3
    """So much that the networks' levels do not tell all digits apart."""
    samples: int = 2
    """Monte Carlo draws of the noise for each test digit."""
    seed: int = 0


FULL = Config(seeds=128, steps=8000, records=8, per_class=4, test=160, samples=8)
TINY = Config(
    seeds=2, hidden=(8, 6), clusters=(3, 4), fan_in=2, steps=8, records=2, test=12, per_class=1,
)  # fmt: skip
