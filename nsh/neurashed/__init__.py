"""Neurashed (W. J. Su, arXiv 2112.09741): graph, firing, state, rules and exact laws."""

from nsh.neurashed.graph import Graph, Node
from nsh.neurashed.model import Neurashed, NeurashedState, Pathways
from nsh.neurashed.pathway import feature_pathway, pack, union, unpack
from nsh.neurashed.rules import Additive, Affine, Geometric, PerLevel, Rule, Rules, Saturating
from nsh.neurashed.start import Constant, Start, Uniform
from nsh.neurashed.unconstrained import Unconstrained

__all__ = [
    "Additive",
    "Affine",
    "Constant",
    "Geometric",
    "Graph",
    "Neurashed",
    "NeurashedState",
    "Node",
    "Pathways",
    "PerLevel",
    "Rule",
    "Rules",
    "Saturating",
    "Start",
    "Unconstrained",
    "Uniform",
    "feature_pathway",
    "pack",
    "union",
    "unpack",
]
