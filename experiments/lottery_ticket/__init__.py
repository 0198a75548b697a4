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

import xarray as xr

from experiments.lottery_ticket.claims import claims
from experiments.lottery_ticket.config import FULL, TINY, Config
from experiments.lottery_ticket.figure import figure
from experiments.lottery_ticket.model import run_model
from experiments.lottery_ticket.networks import run_networks
from nsh.study.progress import Progress

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Both halves: neurashed, and networks on the digits."""
    return xr.merge([run_model(config, progress), run_networks(config, progress)])
