"""Data augmentation: whether crops make a model learn features separately.

The outlook of arXiv 2112.09741: cropping shows a cat's head without its tail and its tail without
its head, so that each comes to suffice. In neurashed and on the digits, whose crops are halves.

What is found. In neurashed crops feed no feature that whole images do not: a part fires whenever
it is there. They starve the conjunction of the parts, so that the parts come to carry the logit,
and they end the lockstep in which the parts grow; accuracy on one part alone does not rise. In
networks it rises much, and not where as many pixels are taken away at random; but it is not that
units come to see one half alone: they come to depend on both halves more alike.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import xarray as xr

from experiments.data_augmentation.claims import claims
from experiments.data_augmentation.digits import CONDITIONS, run_digits
from experiments.data_augmentation.figure import figure
from experiments.data_augmentation.model import VIEWS, run_model
from experiments.harness.progress import Progress

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]


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


def run(config: Config, progress: Progress) -> xr.Dataset:
    """The model against its law, and networks and neurashed on the digits."""
    with progress("crops in neurashed", None):
        found = run_model(
            seed=config.seed, each=config.each, crops=config.crops, batches=config.batch_sizes,
            steps=config.steps, every=config.every, seeds=config.seeds, test=config.test,
            noise=config.noise,
        )  # fmt: skip
    with progress("digits with and without crops", None):
        measured, nodes = run_digits(
            seed=config.seed, networks=config.networks, seeds=config.digits_seeds,
            steps=config.digits_steps, batch=config.digits_batch,
            hidden=config.digits_hidden, channels=config.digits_channels,
            neurashed_steps=config.neurashed_steps, test=config.digits_test,
        )  # fmt: skip
    return xr.merge([_model(config, found), _digits(config, measured, nodes)])


def _model(config: Config, found: dict[str, np.ndarray]) -> xr.Dataset:
    grid, plain = ("batch", "crops"), {"units": "1"}
    course = (*grid, "seed", "step")
    return xr.Dataset(
        {
            "nodes": ((*course, "class", "view"), found["nodes"], {"units": "nats"}),
            "carried": ((*course, "class"), found["carried"], plain),
            "accuracy": ((*course, "view"), found["accuracy"], plain),
            "q": ((*grid, "class", "view"), found["q"], plain),
            "correlation": (grid, found["correlation"], plain),
        },
        {
            "batch": ("batch", list(config.batch_sizes), {"units": "samples"}),
            "crops": ("crops", list(config.crops), plain),
            "step": list(range(0, config.steps + 1, config.every)),
            "view": list(VIEWS),
        },
    )


def _digits(config: Config, measured: dict[str, Any], nodes: dict[str, np.ndarray]) -> xr.Dataset:
    each, plain = ("condition", "digits_seed"), {"units": "1"}
    fields = ("accuracy", "half_accuracy", "dependence")
    values = {
        f"digits_{field}": (
            ("system", *each), np.stack([getattr(m, field) for m in measured.values()]), plain
        )
        for field in fields
    }  # fmt: skip
    return xr.Dataset(
        {
            **values,
            "digits_elasticity": (
                ("network", *each),
                np.stack([measured[n].elasticity for n in config.networks]),
                plain,
            ),
            "growth": ((*each, "node"), nodes["growth"], {"units": "nats"}),
            "law": (("condition", "node"), nodes["law"], plain),
            "level": ("node", nodes["level"], plain),
            "neurashed_steps": ((), config.neurashed_steps, {"units": "backpropagations"}),
        },
        {"system": list(measured), "network": list(config.networks), "condition": list(CONDITIONS)},
    )
