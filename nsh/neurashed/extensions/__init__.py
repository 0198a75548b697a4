"""Neurashed beyond the paper: edges that fire, chance in rates and pathways, adapting graphs.

Arxiv 2112.09741, Section 4 names them as an outlook. Each is a `System` that nests: edges instead
of nodes is a model of its own, the others change an inner system and are nested in this order:
``Rewiring(RandomRates(RandomPathways(SoftFiring(Neurashed(graph)))))``, any of them left out, the
two random ones in either order; hyperparameters nest likewise. Switched off, each is its inner
system to the bit. What no longer applies (counting instead of training, composing steps) refuses.
"""

from nsh.neurashed.extensions.edge_firing import EdgeFiring
from nsh.neurashed.extensions.extension import (
    Extended,
    Extension,
    ExtensionHyper,
    model_state,
    own_key,
)
from nsh.neurashed.extensions.random_pathways import RandomPathways, RandomPathwaysHyper
from nsh.neurashed.extensions.random_rates import RandomRates, RandomRatesHyper
from nsh.neurashed.extensions.rewiring import Rewiring, RewiringHyper
from nsh.neurashed.extensions.soft_firing import SoftFiring, SoftFiringHyper

__all__ = [
    "EdgeFiring",
    "Extended",
    "Extension",
    "ExtensionHyper",
    "RandomPathways",
    "RandomPathwaysHyper",
    "RandomRates",
    "RandomRatesHyper",
    "Rewiring",
    "RewiringHyper",
    "SoftFiring",
    "SoftFiringHyper",
    "model_state",
    "own_key",
]
