"""Training any `System`: mini-batches, the loop, and ensembles."""

from nsh.train.batches import Epochs, FullBatch, Sampler, WithReplacement
from nsh.train.ensemble import ensemble, hyper_grid
from nsh.train.loop import DIVERGED, HEALTHY, Run, SaveAt, Snapshot, train

__all__ = [
    "DIVERGED",
    "HEALTHY",
    "Epochs",
    "FullBatch",
    "Run",
    "SaveAt",
    "Sampler",
    "Snapshot",
    "WithReplacement",
    "ensemble",
    "hyper_grid",
    "train",
]
