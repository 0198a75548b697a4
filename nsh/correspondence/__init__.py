"""Neurashed compared with real data and real networks: graphs from both, and null models."""

from nsh.correspondence.firing import Above, FractionOfRange, TopFraction
from nsh.correspondence.from_data import FromData, from_data
from nsh.correspondence.from_network import FromNetwork, from_network
from nsh.correspondence.null_models import random_graph_like, shuffled_edges
from nsh.correspondence.quality import Quality, quality

__all__ = [
    "Above",
    "FractionOfRange",
    "FromData",
    "FromNetwork",
    "Quality",
    "TopFraction",
    "from_data",
    "from_network",
    "quality",
    "random_graph_like",
    "shuffled_edges",
]
