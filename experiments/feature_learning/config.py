"""Sizes of both tasks of the experiment on feature learning."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both tasks."""

    alphas: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    """Increasing; 1 is one of them."""
    width: int = 128
    teacher_seeds: int = 16
    """Each with a teacher, data and a start of its own."""
    teacher_inputs: int = 10
    teacher_hidden: int = 3
    teacher_train: int = 100
    teacher_test: int = 300
    teacher_steps: int = 384
    teacher_rate: float = 1.0
    digits_seeds: int = 12
    """Each with training digits, test digits and a start of its own."""
    digits_train: int = 100
    digits_test: int = 300
    digits_steps: int = 256
    digits_rate: float = 2.0
    times: int = 32
    """Errors are recorded so many times after the start: a power of 2 that divides the steps."""
    probes: int = 50
    """Test digits between which local elasticity is measured."""
    inputs: int = 80
    """Test digits between which the hidden layer is to tell."""
    noise: float = 0.3
    """Noise in each unit, in parts of the hidden layer's r.m.s. norm."""
    samples: int = 4
    """Monte Carlo draws for each of these digits."""
    seed: int = 0


FULL = Config(alphas=tuple(2.0**k for k in range(-1, 9)), width=512, teacher_seeds=128,
              teacher_steps=1024, digits_seeds=64, digits_train=200, digits_steps=1024,
              probes=100, inputs=200, samples=8)  # fmt: skip
"""An estimated half hour on two cores."""
TINY = Config(
    alphas=(1.0, 4.0, 16.0), width=8, teacher_seeds=2, teacher_train=12, teacher_test=28,
    teacher_steps=8, digits_seeds=2, digits_train=12, digits_test=28, digits_steps=8, times=4,
    probes=28, inputs=10, samples=2,
)  # fmt: skip
