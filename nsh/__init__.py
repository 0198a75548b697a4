"""nsh: theories of deep learning as running, differentiable code.

Top level: the `System` protocol, training and ensembles, and the neurashed model's own parts.
`nsh.neurashed`, `nsh.networks` and `nsh.measure` hold the rest; `nsh.figures` needs the extra
``neurashed[figures]`` and is imported on its own.
"""

from nsh import measure, networks, neurashed, training
from nsh.citing import citation
from nsh.neurashed import (
    Additive,
    Affine,
    Geometric,
    Graph,
    Neurashed,
    Node,
    PerLevel,
    Rules,
    Saturating,
)
from nsh.system import Scaled, System, finite_logits, in_common_unit, log_probabilities
from nsh.training import (
    Epochs,
    FullBatch,
    Run,
    SaveAt,
    TrainingProblem,
    WithReplacement,
    ensemble,
    hyper_grid,
    train,
)

__version__ = "0.1.0"

__all__ = [
    "Additive",
    "Affine",
    "Epochs",
    "FullBatch",
    "Geometric",
    "Graph",
    "Neurashed",
    "Node",
    "PerLevel",
    "Rules",
    "Run",
    "Saturating",
    "SaveAt",
    "Scaled",
    "System",
    "TrainingProblem",
    "WithReplacement",
    "citation",
    "ensemble",
    "finite_logits",
    "hyper_grid",
    "in_common_unit",
    "log_probabilities",
    "measure",
    "networks",
    "neurashed",
    "train",
    "training",
]
