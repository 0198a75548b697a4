"""Layers of infinitely wide networks, as values: dense, convolutional, attention, branches.

The idea: a network of infinite width is described by two numbers for each pair of inputs, or of
positions in them: the covariance K of features over networks (NNGP), and the tangent kernel Theta
(NTK). Each kind of layer changes both by a rule of its own. So a layer is one value that says

- how it changes a `Signal`: the shape, and whether features are Gaussian. What does not fit is
  refused here, before anything is computed, with the name and the place of the layer;
- how it changes a `Covariance`: of one input with itself (`of_one`), which keeps what pairs will
  need of it, such as variances; and of a pair of inputs (`of_pairs`);
- which covariances it needs: those of each position with itself, as a network without pooling, or
  those of all pairs of positions. Nobody pays for what no later layer needs;
- how it is built at finite width, as an Equinox module, and at which rates its parameters learn.

`Serial` puts layers one after the other; `Sum`, `Concatenate` and `Multiply` put them side by
side. Activations between layers are given by name, or as any elementwise function.

    block = Sum(Identity(), Serial("relu", Conv(64, 3, padding="SAME")))
    network = Serial(Conv(64, 3, C_W=2.0), block, "relu", GlobalAvgPool(), Dense(10))
    kernels(network, images)                               # [n, m], of infinite width
    build(network, (3, 32, 32), key=jax.random.key(0))     # an Equinox module of these widths

Inputs are [n, features, *positions], as Equinox's layers take them, or whole numbers
[n, *positions]: tokens. `LayerInputs` has inputs of different sizes. `from_module` reads the
layers of an Equinox module instead.

Read next: `layer` for what a layer of one's own must say, `recursion` for blocks of pairs.
"""

from nsh.theory.effective.layers.branches import Concatenate, Identity, Multiply, Serial, Sum
from nsh.theory.effective.layers.convolution import Conv, ConvTranspose, LocalConv
from nsh.theory.effective.layers.covariance import Covariance
from nsh.theory.effective.layers.dense import Dense, Elementwise
from nsh.theory.effective.layers.finite import build, learning_rates, with_learning_rates
from nsh.theory.effective.layers.initialisation import critical
from nsh.theory.effective.layers.inputs import LayerInputs
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
from nsh.theory.effective.layers.resizing import Resize
from nsh.theory.effective.layers.sequences import (
    Aggregate,
    Embedding,
    LinearAttention,
    PositionalEncoding,
    SelfAttention,
)

__all__ = [
    "Aggregate",
    "AvgPool",
    "Concatenate",
    "Conv",
    "ConvTranspose",
    "Covariance",
    "Dense",
    "Dropout",
    "Elementwise",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GlobalSumPool",
    "Identity",
    "Layer",
    "LayerInputs",
    "LayerNorm",
    "LinearAttention",
    "LocalConv",
    "Multiply",
    "PositionalEncoding",
    "Resize",
    "SelfAttention",
    "Serial",
    "Signal",
    "Sum",
    "SumPool",
    "build",
    "critical",
    "from_module",
    "learning_rates",
    "with_learning_rates",
]
