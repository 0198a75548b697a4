"""Sizes of the elasticity fit."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both sides and of the fit."""

    seeds: int = 32
    """Networks, and runs of neurashed, that judge."""
    fit_seeds: int = 32
    """Other networks, whose mean log elasticity is the target."""
    steps: int = 400
    batch: int = 32
    hidden: tuple[int, ...] = (32, 16)
    learning_rate: float = 0.3
    conjunctions: int = 60
    """Of the graph: nodes of level 2."""
    typical: int = 12
    """Of the graph: dependents of a node of level 3."""
    fit_probes: int = 1
    """Training digits of each of two subclasses of a class, for the fit."""
    probes: int = 2
    """Test digits of each subclass, to judge."""
    tune_seeds: int = 4
    """Runs of neurashed whose mean distance is minimised; fewer overfit their own mini-batches."""
    iterations: int = 20
    tuning_rate: float = 0.2
    """Of Adam, on the logarithms and log-odds of the rules' factors."""
    permutations: int = 2
    """Draws of each null."""
    seed: int = 0


FULL = Config(
    seeds=128, fit_seeds=128, steps=2000, hidden=(64, 32), conjunctions=160, typical=32,
    fit_probes=3, probes=5, tune_seeds=8, iterations=150, permutations=16,
)  # fmt: skip
TINY = Config(
    seeds=2, fit_seeds=2, steps=10, batch=4, hidden=(8, 6), conjunctions=20, typical=4,
    probes=1, tune_seeds=1, iterations=2, permutations=1,
)  # fmt: skip
