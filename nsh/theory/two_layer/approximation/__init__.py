"""How well m units approximate a network, and how well a trained one generalises: bounds."""

from nsh.theory.two_layer.approximation.generalisation import (
    clipped_squared_error,
    generalisation_bound,
)
from nsh.theory.two_layer.approximation.path_norm import approximation_bound, path_norm
from nsh.theory.two_layer.approximation.rademacher import (
    empirical_rademacher,
    rademacher_bound,
)
from nsh.theory.two_layer.approximation.start_variance import start_variance

__all__ = [
    "approximation_bound",
    "clipped_squared_error",
    "empirical_rademacher",
    "generalisation_bound",
    "path_norm",
    "rademacher_bound",
    "start_variance",
]
