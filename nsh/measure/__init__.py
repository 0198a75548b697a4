"""Measurements of any `System`: information, elasticity, sparsity, collapse, prediction."""

from nsh._estimate import Estimate, estimate
from nsh.measure.binning import binned_information
from nsh.measure.blocks import over_blocks
from nsh.measure.bounds import Bounds, information_bounds
from nsh.measure.collapse import Collapse, neural_collapse, readout, system_collapse
from nsh.measure.elasticity import (
    ElasticityContrast,
    elasticity,
    elasticity_contrast,
    elasticity_matrix,
)
from nsh.measure.information import Information, information, level_information
from nsh.measure.noise import Noise, noise_level
from nsh.measure.observe import Observation, observe
from nsh.measure.prediction import (
    accuracy,
    brier_score,
    class_accuracy,
    cross_entropy,
    expected_calibration_error,
)
from nsh.measure.recorded import Variable, recorded
from nsh.measure.regression import (
    exact_match,
    gaussian_negative_log_likelihood,
    label_accuracy,
    r_squared,
    root_mean_squared_error,
)
from nsh.measure.sparsity import (
    Overlap,
    active_units,
    effective_features,
    effective_number,
    pathway_overlap,
    surviving_fraction,
)

__all__ = [
    "Bounds",
    "Collapse",
    "ElasticityContrast",
    "Estimate",
    "Information",
    "Noise",
    "Observation",
    "Overlap",
    "Variable",
    "accuracy",
    "active_units",
    "binned_information",
    "brier_score",
    "class_accuracy",
    "cross_entropy",
    "effective_features",
    "effective_number",
    "elasticity",
    "elasticity_contrast",
    "elasticity_matrix",
    "estimate",
    "exact_match",
    "expected_calibration_error",
    "gaussian_negative_log_likelihood",
    "information",
    "information_bounds",
    "label_accuracy",
    "level_information",
    "neural_collapse",
    "noise_level",
    "observe",
    "over_blocks",
    "pathway_overlap",
    "r_squared",
    "readout",
    "recorded",
    "root_mean_squared_error",
    "surviving_fraction",
    "system_collapse",
]
