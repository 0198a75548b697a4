"""Training any `System`: mini-batches, the loop, and ensembles."""

from nsh.training.batches import Epochs, FullBatch, Sampler, WithReplacement
from nsh.training.ensemble import ensemble, hyper_grid
from nsh.training.loop import Run, train
from nsh.training.method import Method
from nsh.training.plan import DIVERGED, HEALTHY, SaveAt, Snapshot
from nsh.training.sequential import Sequential

__all__ = [
    "DIVERGED",
    "HEALTHY",
    "Epochs",
    "FullBatch",
    "Method",
    "Run",
    "Sampler",
    "SaveAt",
    "Sequential",
    "Snapshot",
    "WithReplacement",
    "ensemble",
    "hyper_grid",
    "train",
]
