"""Layers refuse what does not fit before anything is computed, by the layer's name and place."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.theory.effective import kernels
from nsh.theory.effective.infinite_width import resources
from nsh.theory.effective.layers import (
    Aggregate,
    AvgPool,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Elementwise,
    Embedding,
    Flatten,
    GlobalAvgPool,
    Identity,
    LayerNorm,
    LocalConv,
    Multiply,
    PositionalEncoding,
    SelfAttention,
    Serial,
    Sum,
    SumPool,
    build,
    from_module,
    with_learning_rates,
)

pytestmark = pytest.mark.core

VECTORS, ROWS, IMAGES = np.ones((2, 3)), np.ones((2, 3, 6)), np.ones((2, 3, 5, 5))
TOKENS = np.zeros((2, 4), int)
KEY = jax.random.key(0)

# a network, inputs that do not fit it, and what is said
NETWORKS = [
    (Conv(4, 3), VECTORS, r"network: its inputs = '\[features\] alone'"),
    (Conv(4, 7), ROWS, r"network\.kernel_size = 7: .* fits into \(6,\) positions"),
    (Conv(4, (3, 3)), ROWS, r"network\.kernel_size = \(3, 3\): must be 1, one for each axis"),
    (Conv(4, 3, stride=(1, 1)), ROWS, r"network\.stride = \(1, 1\): must be 1, one for each axis"),
    (Conv(4, 3, dilation=3), ROWS, r"network\.kernel_size = 3: .* fits into"),
    (Conv(2, 3, padding=9, padding_mode="CIRCULAR"), ROWS, r"network\.padding = 9: .* at most 6"),
    (LocalConv(4, 7), ROWS, r"network\.kernel_size = 7: .* fits into"),
    (ConvTranspose(2, 3, padding="SAME"), ROWS, r"network\.padding = 'SAME': .* takes no name"),
    (ConvTranspose(2, 1, padding=9), ROWS, r"network\.padding = 9: .* leave some of \(6,\)"),
    (AvgPool(9), ROWS, r"network\.kernel_size = 9: .* fits into"),
    (SumPool(2, stride=(1, 1)), ROWS, r"network\.stride = \(1, 1\): must be 1"),
    (GlobalAvgPool(), VECTORS, r"network: its inputs = '\[features\] alone'"),
    (Flatten(), VECTORS, r"network: its inputs = '\[features\] alone'"),
    (SelfAttention(3), VECTORS, r"network: its inputs = '\[features\] alone'"),
    (SelfAttention(3, encoding=jnp.eye(4)), ROWS, r"network\.encoding\.shape = \(4, 4\).*\(6, 6\)"),
    (PositionalEncoding(jnp.eye(5)), ROWS, r"network\.covariance\.shape = \(5, 5\).*\(6, 6\)"),
    (Aggregate(np.ones((2, 3))), ROWS, r"network: positions = 6: must be 3, the columns"),
    (Aggregate(np.ones((2, 6))), IMAGES, r"network: axes of positions = 2: must be 1"),
    (Serial("relu"), VECTORS, r"network\.layers\[0\] \(Elementwise\): the layer before"),
    (Serial(Dense(2), "relu", "relu"), VECTORS, r"network\.layers\[2\] \(Elementwise\): .*ian"),
    (
        Serial(Dense(2), "relu", LayerNorm()), VECTORS,
        r"network\.layers\[2\] \(LayerNorm\): the layer before = 'not Gaussian'",
    ),
    (Sum(Dense(2), Dense(3)), VECTORS, r"network\.branches = \[2, 3\]: .* equal numbers"),
    (Multiply(Dense(2), Dense(3)), VECTORS, r"network\.branches = \[2, 3\]: .* equal numbers"),
    (Sum(Identity(), Identity()), VECTORS, r"end without weights = \[0, 1\]: must be at most one"),
    (Concatenate(Identity(), Identity()), VECTORS, r"end without weights = \[0, 1\]"),
    (Sum(Conv(3, 2), Conv(3, 3)), ROWS, r"branches = \[\(5,\), \(4,\)\]: .* the same positions"),
    (
        Serial(Dense(2), Serial(Dense(2), Sum(Serial("relu", Conv(2, 3)), Dense(2)))), VECTORS,
        r"network\.layers\[1\] \(Serial\)\.layers\[1\] \(Sum\)\.branches\[0\] \(Serial\)"
        r"\.layers\[1\] \(Conv\): its inputs",
    ),
    (Serial(Dense(4), Flatten()), TOKENS, r"network\.layers\[0\] \(Dense\): its inputs = 'whole"),
    (GlobalAvgPool(), TOKENS, r"network: its inputs = 'whole numbers': .* embed them first"),
    (Embedding(4, 3), ROWS, r"network: its inputs = 'numbers': must be tokens"),
    (Embedding(4, 3), TOKENS + 5, r"network\.vocabulary = 3: must be at least 6"),
    (Embedding(4, 3), TOKENS - 1, r"x\[0, 0\] = -1: must be tokens"),
    (Dense(2), np.full((2, 3), np.nan), r"x\[0, 0\] = nan: must be finite"),
    (Dense(2), np.ones(3), r"x\.shape = \(3,\): must be \(inputs, features, positions \.\.\.\)"),
    (Dense(2), np.zeros((2_000_000, 1)), r"memory for 2000000 x 2000000 pairs of inputs"),
]  # fmt: skip

VALUES = [
    (lambda: Dense(2.5), r"features = 2\.5: must be an integer >= 1"),
    (lambda: Dense(2, C_W=-1.0), r"C_W = -1\.0: must be finite and >= 0"),
    (lambda: Dense(2, C_b=np.nan), r"C_b = nan: must be finite"),
    (lambda: Dense(2, C_W=np.ones(2)), r"C_W = \(2,\): must be one number"),
    (lambda: Conv(0, 3), r"features = 0: must be an integer >= 1"),
    (lambda: Conv(4, 0), r"kernel_size = 0: must be an integer >= 1"),
    (lambda: Conv(4, 3, stride=0), r"stride = 0: must be an integer >= 1"),
    (lambda: Conv(4, 3, dilation=0), r"dilation = 0: must be an integer >= 1"),
    (lambda: Conv(4, 3, padding=-1), r"padding = -1: must be an integer >= 0"),
    (lambda: Conv(4, 3, padding="FULL"), r"padding = 'FULL': must be VALID or SAME"),
    (lambda: Conv(4, 3, padding=((1,),)), r"padding = \(\(1,\),\): must be pairs"),
    (lambda: Conv(4, 3, padding_mode="REFLECT"), r"padding_mode = 'REFLECT'"),
    (lambda: AvgPool(2, stride=0), r"stride = 0: must be an integer >= 1"),
    (lambda: Serial(Dense(2), "rellu"), r"layers\[1\]: activation = 'rellu'.*did you mean relu"),
    (lambda: Elementwise("relu", ramps=False), r"ramps = False: must be True, for kinks"),
    (lambda: Elementwise("tanh", terms=1), r"terms = 1: must be an integer >= 2"),
    (lambda: Sum(), r"branches = \(\): must be one at least"),
    (lambda: Dropout(1.0), r"p = 1\.0: must be a number in \[0, 1\)"),
    (lambda: LayerNorm(eps=-1.0), r"eps = -1\.0: must be finite and >= 0"),
    (lambda: SelfAttention(0), r"width = 0: must be an integer >= 1"),
    (lambda: SelfAttention(3, encoding=np.full((2, 2), np.nan)), r"encoding\[0, 0\] = nan"),
    (
        lambda: SelfAttention(3, encoding=[[1.0, 2.0], [2.0, 1.0]]),
        r"smallest eigenvalue of encoding = -1\.0.*: must be at least 0: positive semidefinite",
    ),
    (lambda: PositionalEncoding([[1.0, 2.0], [0.0, 1.0]]), r"covariance\[0, 1\] .*symmetric"),
    (lambda: PositionalEncoding(np.ones((2, 3))), r"covariance\.shape = \(2, 3\): must be square"),
    (lambda: Aggregate(np.ones(3)), r"matrix\.shape = \(3,\): must be \[places, positions\]"),
    (lambda: kernels(Dense(2), VECTORS, np.ones((2, 4))), r"z\.shape = \(2, 4\): must be \(m, 3\)"),
    (lambda: kernels(Dense(2), VECTORS, block=0), r"block = 0: must be an integer >= 1"),
    (lambda: build(Conv(2, 3), (3,), key=KEY), r"network: its inputs = '\[features\] alone'"),
    (lambda: build(Dense(2), (), key=KEY), r"shape = \(\): must be \(features, \*positions\)"),
    (lambda: build(Embedding(4, 3), (3,), key=KEY), r"network: its inputs = 'numbers'"),
    (lambda: with_learning_rates(Conv(2, 9), "ntk", (3, 4)), r"network\.kernel_size = 9"),
]


@pytest.mark.parametrize(("network", "x", "said"), NETWORKS, ids=lambda given: "")
def test_inputs_that_do_not_fit(network, x, said):
    with pytest.raises(ValueError, match=said):
        kernels(network, x)


def test_kernels_of_many_positions_count_as_many(monkeypatch):
    monkeypatch.setattr(resources, "available_bytes", lambda host=False: 10_000)
    kernels(Dense(2), np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"memory for 2 x 2 pairs .*; iterate_blocks needs less"):
        kernels(Dense(2), np.ones((2, 1, 20, 20)))


@pytest.mark.parametrize(("make", "said"), VALUES, ids=lambda given: "")
def test_numbers_out_of_range(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (eqx.nn.MaxPool2d(2), r"module\.layers\[1\] = MaxPool2d: must be one of Linear"),
        (eqx.nn.BatchNorm(3, "b", mode="batch"), r"module\.layers\[1\] = BatchNorm: must be"),
        (eqx.nn.MultiheadAttention(1, 4, key=KEY), r"module\.layers\[1\] = MultiheadAttention"),
        (eqx.nn.GRUCell(3, 4, key=KEY), r"module\.layers\[1\] = GRUCell: must be one of"),
        (eqx.nn.Lambda(jax.nn.softmax), r"module\.layers\[1\]\.fn: activation softmax"),
        (eqx.nn.Conv2d(4, 4, 3, groups=2, key=KEY), r"module\.layers\[1\]\.groups = 2: must be 1"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_modules_without_a_limit(module, said):
    network = eqx.nn.Sequential([eqx.nn.Linear(3, 3, key=KEY), module])
    with pytest.raises(ValueError, match=said):
        from_module(network)
