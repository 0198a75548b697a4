"""Which networks the experiment on depth over width has, and how many."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Which networks, and how many."""

    families: tuple[tuple[str, int], ...] = (("relu", 16), ("relu", 32), ("tanh", 16))
    """Activation and width of the hidden layers."""
    layers: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Hidden layers, increasing."""
    networks: int = 1500
    """Networks at initialisation, of which fluctuations are taken."""
    seeds: int = 12
    """Networks trained."""
    steps: int = 300
    batch: int = 32
    step_size: float = 3.0
    """Learning rate times the mean tangent kernel Theta of theory, the same for all networks."""
    seed: int = 0


FULL = Config(
    families=(("relu", 16), ("relu", 32), ("relu", 64), ("tanh", 16), ("tanh", 64)),
    layers=(1, 2, 4, 8, 16, 32), networks=20_000, seeds=64, steps=2000,
)  # fmt: skip
TINY = Config(families=(("relu", 4), ("tanh", 4)), layers=(1, 2, 4), networks=50, seeds=3, steps=5)
