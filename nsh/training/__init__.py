"""Training any `System`: mini-batches, the loop, and ensembles."""

from nsh.training.batches import (
    Bootstrap,
    Epochs,
    FixedBatches,
    FullBatch,
    RandomSubset,
    Sampler,
    Subset,
    VariableSize,
    WithReplacement,
)
from nsh.training.checkpoints import Checkpoints
from nsh.training.closed_form import ClosedForm
from nsh.training.curvature import Curvature, hessian, hessian_vector_product
from nsh.training.direct_sample import DirectSample
from nsh.training.ensemble import ensemble, hyper_grid
from nsh.training.explain import explain
from nsh.training.hypergradient import Hypergradient, hypergradient
from nsh.training.parallel_in_time import ParallelInTime
from nsh.training.problem import (
    Keys,
    Method,
    Result,
    Run,
    RunStatus,
    SaveAt,
    Snapshot,
    TrainingProblem,
)
from nsh.training.sensitivity import mean_over_seeds, sensitivity
from nsh.training.sequential import Sequential
from nsh.training.streamed import StreamedExamples, stream
from nsh.training.train import start, train
from nsh.training.tune import Tuned, tune
from nsh.training.varying import PerPoint, PerSeed

__all__ = [
    "Bootstrap",
    "Checkpoints",
    "ClosedForm",
    "Curvature",
    "DirectSample",
    "Epochs",
    "FixedBatches",
    "FullBatch",
    "Hypergradient",
    "Keys",
    "Method",
    "ParallelInTime",
    "PerPoint",
    "PerSeed",
    "RandomSubset",
    "Result",
    "Run",
    "RunStatus",
    "Sampler",
    "SaveAt",
    "Sequential",
    "Snapshot",
    "StreamedExamples",
    "Subset",
    "TrainingProblem",
    "Tuned",
    "VariableSize",
    "WithReplacement",
    "ensemble",
    "explain",
    "hessian",
    "hessian_vector_product",
    "hyper_grid",
    "hypergradient",
    "mean_over_seeds",
    "sensitivity",
    "start",
    "stream",
    "train",
    "tune",
]
