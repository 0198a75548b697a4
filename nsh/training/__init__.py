"""Training any `System`: mini-batches, the loop, and ensembles."""

from nsh.training.batches import Epochs, FullBatch, Sampler, WithReplacement
from nsh.training.closed_form import ClosedForm
from nsh.training.ensemble import ensemble, hyper_grid
from nsh.training.loop import Run, train
from nsh.training.method import Method
from nsh.training.parallel_in_time import ParallelInTime
from nsh.training.plan import DIVERGED, HEALTHY, SaveAt, Snapshot
from nsh.training.sequential import Sequential

__all__ = [
    "DIVERGED",
    "HEALTHY",
    "ClosedForm",
    "Epochs",
    "FullBatch",
    "Method",
    "ParallelInTime",
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
