"""Sizes of the lottery-ticket experiment."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both halves of the experiment."""

    seeds: int = 32
    """Random hierarchies, each with inputs, starts and mini-batches of its own."""
    steps: int = 400
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 32)
    growth: float = 1.05
    """Factor of g+; with `decay` it makes features survive that fire in 29% of the steps."""
    decay: float = 0.98
    """Factor of g-."""
    network_seeds: int = 32
    network_hidden: tuple[int, ...] = (32, 16)
    network_steps: int = 300
    network_batch: int = 32
    network_learning_rate: float = 0.3
    kept_shares: tuple[float, ...] = (0.5, 0.25, 0.1)
    """Shares of the weights that pruning keeps."""
    scope: str = "layer"
    """Pruned by "layer", or all layers together: "global"."""
    seed: int = 0


FULL = Config(
    seeds=1024, network_seeds=128, network_hidden=(64, 32), network_steps=2000,
    kept_shares=(0.5, 0.25, 0.1, 0.05, 0.02),
)  # fmt: skip
TINY = Config(
    seeds=3, steps=20, batch_sizes=(1, 4), network_seeds=2, network_hidden=(8, 6),
    network_steps=20, kept_shares=(0.5, 0.2),
)  # fmt: skip
