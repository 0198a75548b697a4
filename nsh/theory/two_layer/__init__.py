"""Two-layer overparameterized networks, from the lazy to the mean-field regime on one dial.

Fang, Dong, Zhang, "Mathematical models of overparameterized neural networks", arXiv 2012.13982.
"""

from nsh.theory.two_layer.approximation.generalisation import (
    clipped_squared_error,
    generalisation_bound,
)
from nsh.theory.two_layer.approximation.initial_variance import initial_variance
from nsh.theory.two_layer.approximation.path_norm import approximation_bound, path_norm
from nsh.theory.two_layer.approximation.rademacher import empirical_rademacher, rademacher_bound
from nsh.theory.two_layer.initializer import (
    FromArrays,
    Independent,
    ParticleInitializer,
    Quadrature,
    Symmetric,
)
from nsh.theory.two_layer.lazy.kernel import infinite_ntk, ntk
from nsh.theory.two_layer.lazy.linearised import Linearised, Tangent
from nsh.theory.two_layer.lazy.random_features import (
    Ridge,
    feature_kernel,
    random_features,
    ridge_regression,
)
from nsh.theory.two_layer.lazy.rates import Rates, rates
from nsh.theory.two_layer.losses import softmax_cross_entropy, squared_error
from nsh.theory.two_layer.mean_field.entropy import entropy
from nsh.theory.two_layer.mean_field.fokker_planck import fokker_planck
from nsh.theory.two_layer.mean_field.free_energy import (
    energy,
    first_variation,
    free_energy,
    mean_loss,
    potential,
)
from nsh.theory.two_layer.mean_field.gibbs import Gibbs, gibbs, gibbs_density
from nsh.theory.two_layer.mean_field.grid import Density, Grid
from nsh.theory.two_layer.mean_field.interpolation import mixture
from nsh.theory.two_layer.network import Examples, TwoLayer
from nsh.theory.two_layer.particles import Particles
from nsh.theory.two_layer.repopulation.cost import representation_cost, sampling_variance
from nsh.theory.two_layer.repopulation.law import feature_norms, optimal_distribution
from nsh.theory.two_layer.repopulation.repopulating import Population, Repopulating
from nsh.theory.two_layer.repopulation.resample import resample

__all__ = [
    "Density",
    "Examples",
    "FromArrays",
    "Gibbs",
    "Grid",
    "Independent",
    "Linearised",
    "ParticleInitializer",
    "Particles",
    "Population",
    "Quadrature",
    "Rates",
    "Repopulating",
    "Ridge",
    "Symmetric",
    "Tangent",
    "TwoLayer",
    "approximation_bound",
    "clipped_squared_error",
    "empirical_rademacher",
    "energy",
    "entropy",
    "feature_kernel",
    "feature_norms",
    "first_variation",
    "fokker_planck",
    "free_energy",
    "generalisation_bound",
    "gibbs",
    "gibbs_density",
    "infinite_ntk",
    "initial_variance",
    "mean_loss",
    "mixture",
    "ntk",
    "optimal_distribution",
    "path_norm",
    "potential",
    "rademacher_bound",
    "random_features",
    "rates",
    "representation_cost",
    "resample",
    "ridge_regression",
    "sampling_variance",
    "softmax_cross_entropy",
    "squared_error",
]
