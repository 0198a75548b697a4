"""Lottery tickets: does the sparse part that survives training do as well as the whole?

The neurashed paper's outlook (arXiv 2112.09741, Section 4) expects it, after Frankle and Carbin
(arXiv 1803.03635), who found that networks pruned by magnitude and set back to their start
train to the accuracy of the whole.

In neurashed, on random hierarchies: the part that survives (nodes whose amplification ends above
its start), and the half of each level that is amplified most, are trained alone on the very
mini-batches of the whole, from the same start or a new one, against parts chosen at random with as
many nodes of each level. In networks: MLPs on the digits, pruned at once by magnitude.

The answer: networks have winning tickets, neurashed has none. Its sparse survivors of small batches
do far worse than the whole, and hardly better than a random part; only where large batches leave
nearly everything do they do as well. And since a factor grows by its node's firing alone, their
start does not matter, while an MLP's ticket needs its own.
"""

from __future__ import annotations

import dataclasses

import xarray as xr
from matplotlib.figure import Figure

from experiments.harness.claim import Claim
from experiments.harness.progress import Progress
from experiments.lottery_ticket.claims import all_claims
from experiments.lottery_ticket.figure import draw
from experiments.lottery_ticket.model import run_model
from experiments.lottery_ticket.networks import run_networks


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


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Both halves: neurashed, and networks on the digits."""
    return xr.merge([run_model(config, progress), run_networks(config, progress)])


def figure(dataset: xr.Dataset) -> Figure:
    """Survivors by batch size, test results of all parts, and pruned networks."""
    return draw(dataset)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Survivors against their law, and tickets against the whole and against their nulls."""
    return all_claims(dataset)
