"""Training any `System`: mini-batches, the loop, and ensembles."""

from nsh.training.batches import Epochs, FullBatch, Sampler, WithReplacement
from nsh.training.closed_form import ClosedForm
from nsh.training.curvature import Curvature, hessian, hessian_vector_product
from nsh.training.direct_sample import DirectSample
from nsh.training.ensemble import ensemble, hyper_grid
from nsh.training.hypergradient import Hypergradient, hypergradient
from nsh.training.loop import Run, start, train
from nsh.training.method import Method
from nsh.training.parallel_in_time import ParallelInTime
from nsh.training.plan import (
    DIVERGED,
    GRADIENT_NOT_FINITE,
    HEALTHY,
    STALLED,
    Keys,
    Outcome,
    Plan,
    SaveAt,
    Snapshot,
)
from nsh.training.sensitivity import SeedMean, mean_over_seeds, sensitivity
from nsh.training.sequential import Sequential
from nsh.training.tune import Tuned, tune

__all__ = [
    "DIVERGED",
    "GRADIENT_NOT_FINITE",
    "HEALTHY",
    "STALLED",
    "ClosedForm",
    "Curvature",
    "DirectSample",
    "Epochs",
    "FullBatch",
    "Hypergradient",
    "Keys",
    "Method",
    "Outcome",
    "ParallelInTime",
    "Plan",
    "Run",
    "Sampler",
    "SaveAt",
    "SeedMean",
    "Sequential",
    "Snapshot",
    "Tuned",
    "WithReplacement",
    "ensemble",
    "hessian",
    "hessian_vector_product",
    "hyper_grid",
    "hypergradient",
    "mean_over_seeds",
    "sensitivity",
    "start",
    "train",
    "tune",
]
