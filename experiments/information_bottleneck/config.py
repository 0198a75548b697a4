"""Sizes of the experiment on the information bottleneck."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both halves of the experiment, and the noise they share."""

    seeds: int = 256
    """Runs of neurashed for each reading of the 7th node."""
    steps: int = 2000
    """Steps of neurashed, mini-batches of one sample."""
    samples: int = 32
    """Monte Carlo draws for each of neurashed's inputs."""
    noise_fixed: float = 1e-4
    """Standard deviation of the noise's fixed part, in units of the scores."""
    noise_relative: float = 0.05
    """Standard deviation of its relative part, over the level's largest score."""
    network_seeds: int = 16
    """Networks trained for each activation."""
    network_hidden: tuple[int, ...] = (24, 12, 6)
    """Hidden widths; narrow, or every level would distinguish all inputs at any time."""
    network_steps: int = 4000
    network_batch: int = 32
    network_learning_rate: float = 0.1
    network_inputs: int = 200
    """Digits of the training set between which a level is to tell."""
    network_samples: int = 4
    """Monte Carlo draws for each of these digits."""
    seed: int = 0


FULL = Config(seeds=8192, samples=128, network_seeds=128, network_steps=40_000, network_inputs=500)
TINY = Config(
    seeds=4, steps=40, samples=4, network_seeds=2, network_steps=20, network_inputs=20,
    network_samples=2,
)  # fmt: skip
