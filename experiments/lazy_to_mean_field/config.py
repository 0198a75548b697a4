"""Sizes of the experiment `lazy_to_mean_field`."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the experiment."""

    widths: tuple[int, ...] = (64, 256, 1024, 4096)
    alphas: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 64)
    """The dial, from a symmetric start."""
    dial: int = 1024
    """Which of the widths it is turned at."""
    seeds: int = 32
    train: int = 16
    test: int = 32
    """Inputs on which functions are compared (kernels and losses are those of the learned ones)."""
    steps: int = 128
    rate: float = 1.0
    """Learning rate; descent with the infinite width's kernel diverges from 3.7 on."""
    particles: int = 2**15
    """Of the mean-field limit: a power of 2."""
    seed: int = 0


FULL = Config(widths=(64, 128, 256, 512, 1024, 2048, 4096, 8192), seeds=128, particles=2**17)
"""An estimated three minutes on two cores."""
TINY = Config(
    widths=(8, 16), alphas=(2, 8), dial=8, seeds=3, train=5, test=4, steps=4, particles=16,
)  # fmt: skip
