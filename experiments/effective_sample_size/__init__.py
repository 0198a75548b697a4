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

import xarray as xr

from experiments.effective_sample_size.claims import claims
from experiments.effective_sample_size.config import FULL, TINY, Config
from experiments.effective_sample_size.digits import run_digits
from experiments.effective_sample_size.figure import figure
from experiments.effective_sample_size.model import run_model
from nsh.study.progress import Progress

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]


def run(config: Config, progress: Progress) -> xr.Dataset:
    """The model against its law, and both systems on the digits."""
    with progress("rare class in neurashed", None):
        model = run_model(config)
    with progress("digits, each class thinned", None):
        return xr.merge([model, run_digits(config)])
