"""Sizes of the experiment on data augmentation."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both halves of the experiment."""

    seeds: int = 64
    """Runs of neurashed at each batch size and share of crops."""
    each: int = 80
    """Samples of each of the three classes."""
    crops: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Share of them that are cropped."""
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    steps: int = 400
    every: int = 50
    test: int = 64
    """Test inputs for each class and view."""
    noise: float = 0.1
    """Chance of each of their level-1 nodes to be flipped."""
    networks: tuple[str, ...] = ("MLP",)
    """Networks on the digits: "MLP", "CNN" or both."""
    digits_seeds: int = 32
    digits_hidden: tuple[int, ...] = (64,)
    digits_channels: tuple[int, ...] = (4, 8)
    digits_steps: int = 600
    digits_batch: int = 32
    digits_test: int = 225
    """Test images."""
    neurashed_steps: int = 600
    """Of neurashed on the digits, with mini-batches of one."""
    seed: int = 0


FULL = Config(
    seeds=1024, test=256, networks=("MLP", "CNN"), digits_seeds=128, digits_hidden=(64, 32),
    digits_channels=(8, 16), digits_steps=3000, digits_test=450,
)  # fmt: skip
TINY = Config(
    seeds=3, each=8, crops=(0.0, 0.5, 1.0), batch_sizes=(1, 4), steps=20, every=10, test=4,
    digits_seeds=2, digits_hidden=(8,), digits_steps=20, digits_batch=8, digits_test=20,
    neurashed_steps=20,
)  # fmt: skip
