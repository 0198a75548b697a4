"""Training any `System`: mini-batches, the loop, and ensembles."""

from nsh.training.batches import Epochs, FullBatch, Sampler, WithReplacement
from nsh.training.ensemble import ensemble, hyper_grid
from nsh.training.loop import DIVERGED, HEALTHY, Run, SaveAt, Snapshot, train

__all__ = [
    "DIVERGED",
    "HEALTHY",
    "Epochs",
    "FullBatch",
    "Run",
    "Sampler",
    "SaveAt",
    "Snapshot",
    "WithReplacement",
    "ensemble",
    "hyper_grid",
    "train",
]
