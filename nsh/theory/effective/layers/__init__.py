"""Layers of infinitely wide networks, as values: convolutions, attention, branches.

Written in full below once the parts are there.
"""

from nsh.theory.effective.layers.branches import Concatenate, Identity, Product, Serial, Sum
from nsh.theory.effective.layers.convolution import Conv, ConvTranspose, LocalConv
from nsh.theory.effective.layers.dense import Dense, Elementwise
from nsh.theory.effective.layers.finite import build, learning_rates, with_learning_rates
from nsh.theory.effective.layers.layer import Layer, Signal
from nsh.theory.effective.layers.normalisation import Dropout, LayerNorm
from nsh.theory.effective.layers.pooling import (
    AvgPool,
    Flatten,
    GlobalAvgPool,
    GlobalSumPool,
    SumPool,
)
from nsh.theory.effective.layers.reading import from_module
from nsh.theory.effective.layers.sequences import (
    Aggregate,
    Embedding,
    PositionalEncoding,
    SelfAttention,
)

__all__ = [
    "Aggregate",
    "AvgPool",
    "Concatenate",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Elementwise",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GlobalSumPool",
    "Identity",
    "Layer",
    "LayerNorm",
    "LocalConv",
    "PositionalEncoding",
    "Product",
    "SelfAttention",
    "Serial",
    "Signal",
    "Sum",
    "SumPool",
    "build",
    "from_module",
    "learning_rates",
    "with_learning_rates",
]
