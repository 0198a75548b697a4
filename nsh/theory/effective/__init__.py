"""The effective theory of deep networks (Roberts, Yaida, Hanin, arXiv 2106.10165)."""

from nsh.theory.effective.activation import ACTIVATIONS, Activation, as_activation, leaky_relu
from nsh.theory.effective.architecture import Architecture, standard_rates
from nsh.theory.effective.gaussian import Gaussian, gaussian

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Architecture",
    "Gaussian",
    "as_activation",
    "gaussian",
    "leaky_relu",
    "standard_rates",
]
