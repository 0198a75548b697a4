"""The effective theory of deep networks (Roberts, Yaida, Hanin, arXiv 2106.10165).

All public names are here. Rooms: `infinite_width` (kernels), `prediction`, `critical`,
`finite_width` and `samples` (finite networks to hold the theory against).
"""

from nsh.theory.effective.architecture import Architecture, standard_rates
from nsh.theory.effective.critical.criticality import Criticality, criticality
from nsh.theory.effective.critical.depth_scales import (
    DepthScales,
    depth_scales,
    fixed_point,
    phase_diagram,
)
from nsh.theory.effective.critical.learning_rates import (
    Contributions,
    contributions,
    critical_rates,
    equal_rates,
)
from nsh.theory.effective.critical.near_zero_expansion import NearZeroExpansion
from nsh.theory.effective.critical.perturbation_growth import (
    PerturbationGrowth,
    perturbation_growth,
)
from nsh.theory.effective.finite_width.aspect_ratio import (
    depth_to_width,
    effective_complexity,
    mutual_information,
    optimal_aspect_ratio,
)
from nsh.theory.effective.finite_width.closed_forms import (
    scale_invariant_fluctuations,
    scale_invariant_vertex,
    vanishing_kernel_asymptotics,
)
from nsh.theory.effective.finite_width.fluctuations import Fluctuations, fluctuations
from nsh.theory.effective.finite_width.kinked import relu_width_correction
from nsh.theory.effective.finite_width.outputs import NearlyGaussian, output_distribution
from nsh.theory.effective.finite_width.posterior import (
    FiniteWidthPosterior,
    finite_width_posterior,
)
from nsh.theory.effective.finite_width.residual import (
    naive_residual_vertex,
    residual_critical_C_W,
    residual_vertex,
)
from nsh.theory.effective.finite_width.several_inputs import four_point_vertex
from nsh.theory.effective.finite_width.tensors import FiniteWidthTensors, finite_width_tensors
from nsh.theory.effective.finite_width.trained import FiniteWidthTrajectory, finite_width_dynamics
from nsh.theory.effective.infinite_width.blocks import iterate_kernel_blocks, kernels_on_host
from nsh.theory.effective.infinite_width.dual import DualValues, dual
from nsh.theory.effective.infinite_width.kernels import Kernels, kernels
from nsh.theory.effective.means import mean_kernels
from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.dynamics import (
    EnsembleTrajectory,
    Trajectory,
    ensemble_dynamics,
    largest_learning_rate,
    mse_dynamics,
)
from nsh.theory.effective.prediction.iterative import IterativePrediction, cg_predict
from nsh.theory.effective.prediction.kernel_store import iterate_blocks, kernel_to_zarr
from nsh.theory.effective.prediction.loss_dynamics import loss_dynamics
from nsh.theory.effective.prediction.nystrom import NystromPrediction, nystrom_predict
from nsh.theory.effective.prediction.prediction import (
    KernelRegression,
    Prediction,
    gp_predict,
    kernel_regression,
)
from nsh.theory.effective.samples.autodiff_sampler import NetworkSamples, network_samples
from nsh.theory.effective.samples.dntk_sampler import DntkSamples, dntk_samples
from nsh.theory.effective.samples.estimates import estimates, extrapolate, widen
from nsh.theory.effective.samples.forward_samples import ForwardSamples, forward_samples
from nsh.theory.effective.samples.sampler import Samples, output_samples
from nsh.theory.effective.tangent.features import empirical_nngp
from nsh.theory.effective.tangent.kernels import (
    empirical_ntk,
    iterate_ntk_blocks,
    layer_ntks,
    ntk_diagonal,
    ntk_plan,
)
from nsh.theory.effective.tangent.plan import NTKPlan
from nsh.theory.effective.tangent.random_networks import KernelMean, monte_carlo_ntk
from nsh.theory.effective.tangent.rates import mlp_rates
from nsh.theory.effective.tangent.spectrum import (
    NTKEigenvalues,
    SpectralDensity,
    ntk_eigenvalues,
    ntk_spectral_density,
)
from nsh.theory.effective.tangent.vector_products import ntk_vector_product

__all__ = [
    "Architecture",
    "Contributions",
    "Criticality",
    "DepthScales",
    "DntkSamples",
    "DualValues",
    "EnsembleTrajectory",
    "FiniteWidthPosterior",
    "FiniteWidthTensors",
    "FiniteWidthTrajectory",
    "Fluctuations",
    "ForwardSamples",
    "IterativePrediction",
    "KernelMean",
    "KernelRegression",
    "Kernels",
    "NTKEigenvalues",
    "NTKPlan",
    "NearZeroExpansion",
    "NearlyGaussian",
    "NetworkSamples",
    "NystromPrediction",
    "PerturbationGrowth",
    "Prediction",
    "Samples",
    "SpectralDensity",
    "Status",
    "Trajectory",
    "cg_predict",
    "contributions",
    "critical_rates",
    "criticality",
    "depth_scales",
    "depth_to_width",
    "dntk_samples",
    "dual",
    "effective_complexity",
    "empirical_nngp",
    "empirical_ntk",
    "ensemble_dynamics",
    "equal_rates",
    "estimates",
    "extrapolate",
    "finite_width_dynamics",
    "finite_width_posterior",
    "finite_width_tensors",
    "fixed_point",
    "fluctuations",
    "forward_samples",
    "four_point_vertex",
    "gp_predict",
    "iterate_blocks",
    "iterate_kernel_blocks",
    "iterate_ntk_blocks",
    "kernel_regression",
    "kernel_to_zarr",
    "kernels",
    "kernels_on_host",
    "largest_learning_rate",
    "layer_ntks",
    "loss_dynamics",
    "mean_kernels",
    "mlp_rates",
    "monte_carlo_ntk",
    "mse_dynamics",
    "mutual_information",
    "naive_residual_vertex",
    "network_samples",
    "ntk_diagonal",
    "ntk_eigenvalues",
    "ntk_plan",
    "ntk_spectral_density",
    "ntk_vector_product",
    "nystrom_predict",
    "optimal_aspect_ratio",
    "output_distribution",
    "output_samples",
    "perturbation_growth",
    "phase_diagram",
    "relu_width_correction",
    "residual_critical_C_W",
    "residual_vertex",
    "scale_invariant_fluctuations",
    "scale_invariant_vertex",
    "standard_rates",
    "vanishing_kernel_asymptotics",
    "widen",
]
