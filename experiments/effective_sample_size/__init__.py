"""Effective sample size: classes with few samples that share their features with others.

The outlook of arXiv 2112.09741: a class with few samples can do well where its features are those
of other classes too. In neurashed it can be said exactly how many samples sharing stands for; on
the digits, thin one class and see whether the classes that share most lose least.

What is found. In neurashed sharing makes a rare class's path grow as many more samples would, so
that a class is learnt that would fade by itself; its recall among noise rises less, as the classes
it is confused with have the shared features too, and that of the rarest not at all in the end.
On the digits sharing does not save a class: those that share most lose most, which their nearness
to another class explains. Neurashed, on rules found in the digits, tells which classes these are.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import xarray as xr

from experiments.effective_sample_size.claims import claims
from experiments.effective_sample_size.digits import run_digits
from experiments.effective_sample_size.figure import figure
from experiments.effective_sample_size.model import effective_sample_size, run_model
from experiments.harness.progress import Progress

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both halves of the experiment."""

    seeds: int = 64
    """Runs of neurashed at each batch size, number of own samples and degree of sharing."""
    count: int = 120
    """Samples of the four classes together."""
    own: tuple[int, ...] = (3, 6, 12, 24, 45)
    """Samples of the rare class among them."""
    sharing: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Share of a common class's samples that show its part of the rare class."""
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    steps: int = 400
    every: int = 50
    test: int = 128
    """Test inputs of the rare class."""
    noise: float = 0.1
    """Chance of each of their level-1 nodes to be flipped."""
    digits_seeds: int = 32
    digits_kept: int = 13
    """Training samples left of a thinned class, a tenth."""
    digits_hidden: tuple[int, ...] = (32,)
    digits_learning_rate: float = 0.2
    digits_steps: int = 600
    digits_batch: int = 16
    neurashed_steps: int = 600
    """Of neurashed on the digits, with mini-batches of one."""
    seed: int = 0


FULL = Config(seeds=1024, test=512, digits_seeds=128, digits_hidden=(64, 32), digits_steps=2000)
TINY = Config(
    seeds=3, count=24, own=(3, 6), sharing=(0.0, 0.5, 1.0), batch_sizes=(1, 4), steps=20,
    every=10, test=8, digits_seeds=2, digits_hidden=(8,), digits_steps=20, digits_batch=8,
    neurashed_steps=20,
)  # fmt: skip


def run(config: Config, progress: Progress) -> xr.Dataset:
    """The model against its law, and both systems on the digits."""
    with progress("rare class in neurashed", None):
        model = _model(config, run_model(
            seed=config.seed, count=config.count, own=config.own, sharing=config.sharing,
            batches=config.batch_sizes, steps=config.steps, every=config.every,
            seeds=config.seeds, test=config.test, noise=config.noise,
        ))  # fmt: skip
    with progress("digits, each class thinned", None):
        found = run_digits(
            seed=config.seed, kept=config.digits_kept, seeds=config.digits_seeds,
            steps=config.digits_steps, batch=config.digits_batch,
            hidden=config.digits_hidden, learning_rate=config.digits_learning_rate,
            neurashed_steps=config.neurashed_steps,
        )  # fmt: skip
    plain = {"units": "1"}
    recall = ("digits_seed", "thinned", "class")
    digits = {name: (recall, found.pop(name), plain) for name in ("network", "neurashed")}
    predictors = {name: ("class", values, plain) for name, values in found.items()}
    return xr.merge([model, xr.Dataset(
        {**digits, **predictors},
        {"thinned": [False, True], "class": list(range(10))},
    )])  # fmt: skip


def _model(config: Config, found: dict) -> xr.Dataset:
    grid = ("batch", "own", "sharing")
    law = found.pop("q")
    sizes = np.array(config.batch_sizes)[:, None, None]
    units = {"path": "nats", "logit": "nats", "recall": "1"}
    return xr.Dataset(
        {
            **{name: ((*grid, "seed", "step"), values, {"units": units[name]})
               for name, values in found.items()},
            "count": ((), config.count, {"units": "samples"}),
            "law": (grid, law, {"units": "1"}),
            "effective": (
                grid, effective_sample_size(law, sizes, config.count), {"units": "samples"}
            ),
        },
        {
            "batch": ("batch", list(config.batch_sizes), {"units": "samples"}),
            "own": ("own", list(config.own), {"units": "samples"}),
            "sharing": ("sharing", list(config.sharing), {"units": "1"}),
            "step": list(range(0, config.steps + 1, config.every)),
        },
    )  # fmt: skip
