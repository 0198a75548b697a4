"""Sizes of the experiment on the digits' rules."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the experiment."""

    seeds: int = 32
    """Each with mini-batches of its own, tuned by itself, and with random points of its own."""
    steps: int = 1024
    batch: int = 1
    iterations: int = 31
    """Of descent; with the start, 32 gradients."""
    gradient_cost: int = 4
    """Evaluations of the loss that a gradient is counted as; more than its operations (a claim)."""
    learning_rate: float = 0.2
    """Of Adam, in about the logarithm of a rate's exponent."""
    conjunctions: int = 160
    """Nodes of level 2, at most."""
    slope_seeds: int = 2
    slope_directions: int = 8
    """Random directions in which the hypergradient is compared with finite differences."""
    seed: int = 0

    @property
    def evaluations(self) -> int:
        """How many each search has."""
        return (self.iterations + 1) * self.gradient_cost


FULL = Config(seeds=128, iterations=63)
TINY = Config(seeds=2, iterations=1, conjunctions=8, slope_seeds=1, slope_directions=1)
