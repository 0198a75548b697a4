"""Neurashed (W. J. Su, arXiv 2112.09741): graph, firing, state, rules and exact laws."""

import importlib
from typing import TYPE_CHECKING, Any

from nsh.neurashed.exchange import from_networkx, to_networkx
from nsh.neurashed.graph import Graph, Node
from nsh.neurashed.hierarchy import random_hierarchy
from nsh.neurashed.initializer import Constant, Initializer, Uniform
from nsh.neurashed.inputs import Inputs, Prototypes
from nsh.neurashed.logspace import Compensated
from nsh.neurashed.model import Neurashed, NeurashedState, Pathways
from nsh.neurashed.paper import (
    GraphAndInputs,
    figure1,
    figure2,
    figure3,
    figure4,
    figure4_rules,
    figure6,
    figure6_rules,
)
from nsh.neurashed.pathway import feature_pathway, pack, union, unpack
from nsh.neurashed.rule import Additive, Affine, Geometric, PerLevel, Rule, Saturating
from nsh.neurashed.rules import Rules
from nsh.neurashed.subgraph import Subgraph, able_to_fire, silenced, subgraph

if TYPE_CHECKING:
    from nsh.neurashed import exact, extensions

__all__ = [
    "Additive",
    "Affine",
    "Compensated",
    "Constant",
    "Geometric",
    "Graph",
    "GraphAndInputs",
    "Initializer",
    "Inputs",
    "Neurashed",
    "NeurashedState",
    "Node",
    "Pathways",
    "PerLevel",
    "Prototypes",
    "Rule",
    "Rules",
    "Saturating",
    "Subgraph",
    "Uniform",
    "able_to_fire",
    "exact",
    "extensions",
    "feature_pathway",
    "figure1",
    "figure2",
    "figure3",
    "figure4",
    "figure4_rules",
    "figure6",
    "figure6_rules",
    "from_networkx",
    "pack",
    "random_hierarchy",
    "silenced",
    "subgraph",
    "to_networkx",
    "union",
    "unpack",
]


def __getattr__(name: str) -> Any:
    """Import `exact` and `extensions` when they are first used: not all wait for them."""
    if name in ("exact", "extensions"):
        return importlib.import_module(f"nsh.neurashed.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
