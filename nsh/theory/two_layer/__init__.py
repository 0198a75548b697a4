"""Two-layer overparameterized networks, from the lazy to the mean-field regime on one dial."""

from nsh.theory.two_layer.losses import cross_entropy, squared_error
from nsh.theory.two_layer.network import Examples, TwoLayer
from nsh.theory.two_layer.particles import Particles
from nsh.theory.two_layer.start import Given, Independent, Quadrature, Start, Symmetric

__all__ = [
    "Examples",
    "Given",
    "Independent",
    "Particles",
    "Quadrature",
    "Start",
    "Symmetric",
    "TwoLayer",
    "cross_entropy",
    "squared_error",
]
