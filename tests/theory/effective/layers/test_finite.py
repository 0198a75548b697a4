"""Layers at infinite width against networks of finite width that are built from the same values."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.theory.effective import kernels
from nsh.theory.effective.layers import (
    Aggregate,
    AvgPool,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    Embedding,
    Flatten,
    GlobalAvgPool,
    GlobalSumPool,
    Identity,
    LayerInputs,
    LayerNorm,
    LinearAttention,
    LocalConv,
    Multiply,
    PositionalEncoding,
    Resize,
    SelfAttention,
    Serial,
    Sum,
    SumPool,
    build,
)

pytestmark = pytest.mark.long

NETWORKS, SIGMAS = 400, 3.5
WIDTHS = 32, 64  # extrapolated in 1 / width
NUMBERS: dict[str, Any] = {"C_W": 1.3, "C_b": 0.2, "lambda_W": 0.7, "lambda_b": 0.3}
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(2, 2, 3, 4))
ROWS = RANDOM.normal(size=(2, 2, 5))
SIZES = [RANDOM.normal(size=(2, 5)), RANDOM.normal(size=(2, 3))]
TOKENS = np.array([[0, 1, 2, 1], [2, 1, 0, 3]])


def dense(n):
    return Dense(n, **NUMBERS)


def images(n):
    """Convolutions with strides, dilation and padding, pooling."""
    return Serial(
        Conv(n, 2, 1, "SAME", **NUMBERS), AvgPool(2, 1), "relu",
        Conv(n, (1, 2), (2, 1), ((1, 0), (0, 1)), (1, 2), **NUMBERS), "erf",
        ConvTranspose(n, 2, (1, 2), **NUMBERS), "relu",
        SumPool((2, 3), (1, 2), 1), Flatten(), dense(n),
    )  # fmt: skip


def rows(n):
    """Circular and local convolutions, LayerNorm, residual and other branches."""
    return Serial(
        Conv(n, 3, padding=1, padding_mode="CIRCULAR", **NUMBERS),
        LayerNorm(over_positions=True, lambda_scale=0.4), "relu",
        LocalConv(n, 2, padding=1, **NUMBERS),
        Sum(Identity(), Serial("relu", dense(n))), GlobalAvgPool(), dense(n),
        Concatenate(Serial("relu", dense(n)), Serial("tanh", dense(n // 2)), Identity()), dense(n),
    )  # fmt: skip


def sequences(n):
    """Attention with positions' encoding, graphs, products, LayerNorm at each position."""
    return Serial(
        Conv(n, 2, padding="SAME", **NUMBERS), PositionalEncoding(0.3 + 0.4 * jnp.eye(5)),
        SelfAttention(4 * n, C_QK=0.5, encoding=0.5 * jnp.eye(5)), dense(n),
        LayerNorm(lambda_scale=0.4, lambda_shift=0.5), "relu",
        Aggregate(np.sin(np.arange(15.0)).reshape(3, 5)), dense(n),
        Multiply(Serial("relu", dense(n)), dense(n)), GlobalSumPool(), dense(n),
    )  # fmt: skip


def tokens(n):
    """Embedding, then a residual network."""
    block = Sum(Identity(), Serial("relu", Conv(n, 2, padding="SAME", **NUMBERS)))
    return Serial(Embedding(n, 4, **NUMBERS), block, dense(n), "relu", GlobalAvgPool(), dense(n))


def heads(n):
    """Attention of many heads, and images of another size."""
    return Serial(
        Conv(n, 2, padding="SAME", **NUMBERS), Resize((3, 2), "linear"), "relu",
        LinearAttention(n, heads=n, C_QK=0.8, lambda_QK=0.6), dense(n), "relu", GlobalAvgPool(),
        dense(n),
    )  # fmt: skip


def sizes(n):
    """What two inputs of different sizes go through."""
    return Serial(
        Conv(n, 3, padding=1, **NUMBERS), "relu", SelfAttention(4 * n, C_QK=0.5), dense(n),
        LayerNorm(over_positions=True), "relu", AvgPool(2, 1), GlobalAvgPool(), dense(n),
    )  # fmt: skip


def drawn(network, x, key):
    """NNGP and NTK of one network: means over outputs, and of the first output's gradients."""
    shape, vocabulary = x[0].shape, None if np.issubdtype(x[0].dtype, np.floating) else 4
    module: Any = build(network, shape, key=key, vocabulary=vocabulary, parametrisation="ntk")
    x = [jnp.asarray(one) for one in x]
    outputs = jnp.stack([module(one) for one in x])

    def first(trained, one):
        return eqx.tree_at(lambda m: m.trained, module, trained)(one)[0]

    gradients = [jax.grad(first)(module.trained, one) for one in x]
    flat = jnp.stack(
        [jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(one)]) for one in gradients]
    )
    return jnp.stack([outputs @ outputs.T / outputs.shape[1], flat @ flat.T])


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (images, IMAGES), (rows, ROWS), (sequences, ROWS), (tokens, TOKENS), (heads, IMAGES),
        (sizes, SIZES),
    ],
)  # fmt: skip
def test_finite_networks(make, x):
    means, squares = [], []
    for width in WIDTHS:
        keys = jax.random.split(jax.random.key(width), NETWORKS)
        one = partial(drawn, make(width), x)
        found = np.asarray(jax.jit(partial(jax.lax.map, one))(keys), np.float64)
        means.append(found.mean(0))
        squares.append(found.var(0, ddof=1) / NETWORKS)
    narrow, wide = WIDTHS
    weight = wide / (wide - narrow)  # of what goes as a + b / width
    mean = weight * means[1] + (1 - weight) * means[0]
    error = np.sqrt(weight**2 * squares[1] + (1 - weight) ** 2 * squares[0])
    known = kernels(make(wide), LayerInputs.padded(x) if isinstance(x, list) else x)
    score = (mean - np.stack([known.nngp, known.ntk])) / error
    assert np.abs(score).max() < SIGMAS, score
    # and it can tell: within a tenth
    assert np.all(error < 0.1 * np.abs(mean[:, [0, 1], [0, 1]]).max((1,))[:, None, None])
