"""Sizes of the runs of `experiments.extensions`, and of the extensions."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the runs, and of the extensions."""

    seeds: int = 64
    """Runs of every model on every task."""
    batch_sizes: tuple[int, int] = (1, 16)
    """Small and large, for implicit regularization."""
    growth: float = 1.02
    """Factor of g+ in that task, as in the experiment `implicit_regularization`."""
    decay: float = 0.9
    """Factor of g- in that task."""
    steps: int = 50
    """Steps on Figure 6's graph."""
    bottleneck_steps: int = 2000
    """Steps on Figure 4's graph."""
    records: int = 40
    """Times at which information is measured, the start aside."""
    samples: int = 16
    """Monte Carlo draws for each input."""
    noise_fixed: float = 1e-4
    """Of information, in units of scores, as in the experiment `information_bottleneck`."""
    noise_relative: float = 0.05
    """Of information, over the level's largest score."""
    spread: float = 0.5
    """Random rates: standard deviation of log rates, per step and, once more, frozen."""
    dropout: float = 0.2
    """Random pathways: chance to drop a node."""
    threshold: float = -2.0
    """Soft firing: log score, below the level's largest, of firing at half strength."""
    temperature: float = 1.0
    """Soft firing: log scores over which the strength fades."""
    rewirings: int = 10
    """Rewiring: equally spaced times in each run."""
    faded: float = 0.1
    """Rewiring: share of the level's largest amplification factor below which one has faded."""
    seed: int = 0


FULL = Config(seeds=4096, records=100, samples=64)
TINY = Config(seeds=4, steps=10, bottleneck_steps=20, records=2, samples=2, rewirings=2)
