"""Layers against neural-tangents, against finite networks, and against what is known exactly."""

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.activations import SIGN, leaky_relu
from nsh.theory.effective import kernels, kernels_on_host
from nsh.theory.effective.layers import (
    AvgPool,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalSumPool,
    Identity,
    LayerNorm,
    LinearAttention,
    LocalConv,
    Multiply,
    Resize,
    SelfAttention,
    Serial,
    Sum,
    SumPool,
    critical,
)

REFERENCES = json.loads((Path(__file__).parent / "references.json").read_text())
DOUBLE = jnp.zeros(()).dtype == jnp.float64
NUMBERS = {"C_W": 1.5, "C_b": 0.2, "lambda_W": 1.5, "lambda_b": 0.2}  # the NTK parametrisation


def inputs(*shape):
    """Those of `experiments/benchmarks/layer_references.py`."""
    place = np.arange(np.prod(shape), dtype=float)
    return np.sin(1.3 * place + 0.1 * place**2 % 7).reshape(shape)


def dense(features=1, **numbers):
    return Dense(features, **{**NUMBERS, **numbers})


def conv(size, stride=1, padding: Any = 0, kind: Any = Conv, **more):
    return kind(1, size, stride, padding, **NUMBERS, **more)


def sigmoid_like(z):
    return (jax.scipy.special.erf(z / 2.4020563531719796) + 1) / 2


def after(activation):
    return Serial(dense(), activation, dense())


X, ROW, IMAGE = inputs(3, 4), inputs(3, 2, 6), inputs(3, 2, 4, 5)
BLOCK = Sum(Serial("relu", dense(), "relu", dense()), Identity())
CIRCULAR = conv(3, padding=1, padding_mode="CIRCULAR")
VALUES = Dense(1, C_W=1.5, C_b=0.0, lambda_W=1.5, lambda_b=0.0)
NETWORKS = {
    "dense": (Serial(dense(), "relu", dense(), "erf", dense()), X),
    "conv_valid": (Serial(conv((3, 2)), "relu", conv(2), Flatten(), dense()), IMAGE),
    "conv_same": (Serial(conv(3, padding="SAME"), "relu", GlobalAvgPool(), dense()), IMAGE),
    "conv_strides": (
        Serial(conv(3, 2, "SAME"), "relu", conv(2), Flatten(), dense()), IMAGE,
    ),
    "conv_circular": (Serial(CIRCULAR, "relu", CIRCULAR, GlobalSumPool()), ROW),
    "conv_local": (
        Serial(conv(3, kind=LocalConv), "relu", conv(2), "relu", GlobalAvgPool(), dense()), ROW,
    ),
    "conv_transpose": (
        Serial(conv(3, 2, kind=ConvTranspose), "relu", GlobalAvgPool(), dense()), ROW,
    ),
    "avg_pool": (
        Serial(conv(2, padding="SAME"), "relu", AvgPool(2), conv(2), Flatten()), IMAGE,
    ),
    "sum_pool": (
        Serial(conv(2), "relu", SumPool(3, 1), conv(2), Flatten(), dense()), ROW,
    ),
    "layer_norm": (Serial(dense(), LayerNorm(), "relu", dense()), X),
    "layer_norm_positions": (
        Serial(conv(2), LayerNorm(over_positions=True), "relu", GlobalAvgPool(), dense()), ROW,
    ),
    "dropout": (Serial(dense(), "relu", Dropout(0.3), dense(), "relu", dense()), X),
    "attention": (
        Serial(
            # neural-tangents multiplies standard deviations 1.3^.25 of queries and keys
            conv(2), "relu", SelfAttention(1, C_QK=1.3**0.5), VALUES, VALUES, GlobalAvgPool(),
            dense(),
        ),
        ROW,
    ),
    "linear_attention": (
        Serial(
            conv(2), "relu", LinearAttention(1, C_QK=1.3, lambda_QK=1.3), VALUES, VALUES,
            GlobalAvgPool(), dense(),
        ),
        ROW,
    ),
    "resize": (
        Serial(conv(2), conv(1), Resize((7, 3), "linear"), "relu", GlobalAvgPool(), dense()),
        IMAGE,
    ),
    "residual": (Serial(dense(), BLOCK, BLOCK, "relu", dense()), X),
    "product": (Serial(dense(), Multiply(Serial(dense(), "relu"), dense()), dense()), X),
    "concatenate": (
        Serial(dense(), Concatenate(Serial("relu", dense(3)), Serial("erf", dense(1))), dense()), X,
    ),
    "activation relu": (after("relu"), X),
    "activation leaky_relu": (after(leaky_relu(0.3)), X),
    "activation abs": (after(jnp.abs), X),
    "activation erf": (after("erf"), X),
    "activation ab_relu": (after(lambda z: jnp.where(z > 0, 2.0 * z, -0.5 * z)), X),
    "activation gelu": (after("gelu"), X),
    "activation sin": (after(lambda z: 0.7 * jnp.sin(1.3 * z + 0.4)), X),
    "activation cos": (after(lambda z: 0.7 * jnp.cos(1.3 * z + 0.4)), X),
    "activation rbf": (after(lambda z: 2**0.5 * jnp.sin((1.6**0.5) * z + math.pi / 4)), X),
    "activation exp": (after(lambda z: 0.7 * jnp.exp(0.6 * z)), X),
    "activation gaussian": (after(lambda z: 0.7 * jnp.exp(-0.6 * z**2)), X),
    "activation monomial": (after(lambda z: z**3), X),
    "activation polynomial": (after(lambda z: 0.3 - 0.7 * z + 0.4 * z**2), X),
    "activation sign": (after(SIGN), X),
    "activation sigmoid_like": (after(sigmoid_like), X),
}  # fmt: skip


# the duals of activations are held in 64 bits elsewhere
OF_64_BITS = [
    name if name.startswith("activation") else pytest.param(name, marks=pytest.mark.core)
    for name in NETWORKS
]


@pytest.mark.parametrize("name", OF_64_BITS)
def test_as_neural_tangents(name):
    network, x = NETWORKS[name]
    found, known = kernels(network, x), REFERENCES[name]
    for of, places in (("nngp", found.nngp), ("ntk", found.ntk)):
        wanted = np.array(known[of])
        size = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
        # in 32 bits, rounding and what expansions say of themselves
        allowed = 1e-9 if DOUBLE else 3e-6
        assert np.all(np.abs(places - wanted) <= size * (allowed + np.asarray(found.error)))


@pytest.mark.core
def test_critical_networks_keep_their_size():
    layer = Conv(1, 3, padding=1, padding_mode="CIRCULAR")
    deep: Any = critical(Serial(layer, *["relu", layer] * 3))
    found = np.mean(kernels(deep, ROW).nngp, -1)
    np.testing.assert_allclose(np.diag(found), np.mean(ROW**2, (1, 2)), rtol=1e-5)
    numbers = [(float(one.C_W), float(one.C_b)) for one in deep.layers[::2]]
    assert numbers == [(1.0, 0.0), (2.0, 0.0), (2.0, 0.0), (2.0, 0.0)]
    with pytest.raises(ValueError, match=r"layers\[1\] \(Sum\).*one row"):
        critical(Serial(layer, Sum(Identity(), layer)))


def test_blocks_on_the_host_make_up_the_whole():
    network, x = NETWORKS["conv_valid"]
    whole, parts = kernels(network, x), kernels_on_host(network, x, block=2)
    left = kernels_on_host(Serial(conv(2), "relu"), x, x[:2], block=2)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    assert left.ntk.shape == (3, 2, 3, 4)


def test_padding_of_a_transposed_convolution_takes_away():
    found = kernels(ConvTranspose(1, 1, padding=1), ROW)
    np.testing.assert_allclose(found.nngp[0, 0], np.mean(ROW[0] ** 2, 0)[1:-1], rtol=1e-6)


@pytest.mark.parametrize("pool", [AvgPool(2), GlobalAvgPool(keep_positions=True)])
def test_what_is_left_at_the_end_are_equal_positions(pool):
    alone, last = kernels(pool, IMAGE), kernels(Serial(pool), IMAGE)
    assert alone.nngp.ndim == 4
    for one, other in zip(alone, last, strict=True):
        np.testing.assert_array_equal(one, other)
