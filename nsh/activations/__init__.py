"""Activations by name: the function, its kinks, closed forms of its kernels, a network's gain.

Networks, theory, studies and the command line take their activations from here. `known` is the
list; an activation that is added there is known everywhere.
"""

from nsh.activations.activation import Activation
from nsh.activations.as_activation import as_activation
from nsh.activations.closed_duals import ClosedDual
from nsh.activations.known import ACTIVATIONS, SIGN, STEP, leaky_relu

__all__ = [
    "ACTIVATIONS",
    "SIGN",
    "STEP",
    "Activation",
    "ClosedDual",
    "as_activation",
    "leaky_relu",
]
