"""Neural feature repopulation: which hidden units to sample, and training that does so."""

from nsh.theory.two_layer.repopulation.cost import representation_cost, sampling_variance
from nsh.theory.two_layer.repopulation.law import feature_norms, optimal_law
from nsh.theory.two_layer.repopulation.repopulating import Population, Repopulating
from nsh.theory.two_layer.repopulation.resample import resample

__all__ = [
    "Population",
    "Repopulating",
    "feature_norms",
    "optimal_law",
    "representation_cost",
    "resample",
    "sampling_variance",
]
