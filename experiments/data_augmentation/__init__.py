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

import xarray as xr

from experiments.data_augmentation.claims import claims
from experiments.data_augmentation.config import FULL, TINY, Config
from experiments.data_augmentation.digits import run_digits
from experiments.data_augmentation.figure import figure
from experiments.data_augmentation.model import run_model
from nsh.study.progress import Progress

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]


def run(config: Config, progress: Progress) -> xr.Dataset:
    """The model against its law, and networks and neurashed on the digits."""
    with progress("crops in neurashed", None):
        model = run_model(config)
    with progress("digits with and without crops", None):
        return xr.merge([model, run_digits(config)])
