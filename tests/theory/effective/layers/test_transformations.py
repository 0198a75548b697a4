"""Kernels of layers under jit, vmap and grad, in blocks, and against what they must equal."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh import networks
from nsh.theory.effective import Architecture, kernels
from nsh.theory.effective.layers import (
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    LayerNorm,
    SelfAttention,
    Serial,
    Sum,
    from_module,
)

pytestmark = pytest.mark.core

DOUBLE = jnp.zeros(()).dtype == jnp.float64
NUMBERS: dict[str, Any] = {"C_W": 1.5, "C_b": 0.2, "lambda_W": 0.7, "lambda_b": 0.3}
COMPOSITE = Serial(
    Conv(3, 2, **NUMBERS),
    LayerNorm(lambda_scale=0.3),
    "relu",
    SelfAttention(4, C_QK=0.7),
    Dense(3, **NUMBERS),
    Sum(Identity(), Serial("erf", Dense(3, **NUMBERS))),
    GlobalAvgPool(),
    Dense(1, **NUMBERS),
)
POOLED = Serial(Conv(3, 2, **NUMBERS), "relu", GlobalAvgPool())
RANDOM = np.random.default_rng(0)
X = jnp.asarray(RANDOM.normal(size=(3, 2, 4)))
SHARES = jnp.asarray(RANDOM.normal(size=(2, 3, 3)))
DIRECTION = jax.tree.map(lambda leaf: jnp.asarray(RANDOM.normal(size=leaf.shape)), (COMPOSITE, X))


@jax.jit
def number(given):
    """One number of all kernels of the composite network, by its numbers and inputs."""
    network, x = given
    found = kernels(network, x)
    return jnp.sum(SHARES * jnp.stack([found.nngp, found.ntk]))


@jax.jit
def slopes(given, direction):
    """The derivatives by everything, and how they change along a direction."""
    return jax.jvp(jax.grad(number), (given,), (direction,))


def along(step):
    return jax.tree.map(lambda leaf, other: leaf + step * other, (COMPOSITE, X), DIRECTION)


def dot(a, b):
    return sum(
        jnp.vdot(one, other) for one, other in zip(*map(jax.tree.leaves, (a, b)), strict=True)
    )


@pytest.mark.skipif(not DOUBLE, reason="differences need 64 bits")
def test_derivatives_by_inputs_and_numbers():
    first, second = slopes((COMPOSITE, X), DIRECTION)
    step = 1e-3
    near, far = (number(along(h)) - number(along(-h)) for h in (step, 2 * step))
    np.testing.assert_allclose(dot(first, DIRECTION), (8 * near - far) / (12 * step), rtol=1e-8)
    # each number for itself: none is left out
    for leaf in jax.tree.leaves(first):
        assert np.all(leaf != 0)
    near, far = (
        dot(slopes(along(h), DIRECTION)[0], DIRECTION)
        - dot(slopes(along(-h), DIRECTION)[0], DIRECTION)
        for h in (step, 2 * step)
    )
    np.testing.assert_allclose(dot(second, DIRECTION), (8 * near - far) / (12 * step), rtol=1e-7)


def test_networks_are_mapped_over():
    steps = jnp.array([0.0, 0.02])
    found = jax.jit(jax.vmap(lambda step: number(along(step))))(steps)
    wanted = [number(along(step)) for step in steps]
    np.testing.assert_allclose(found, wanted, rtol=1e-12 if DOUBLE else 1e-5)


def test_blocks_and_symmetry():
    whole = kernels(POOLED, X, block=3)
    other = kernels(POOLED, X[:2], X)
    for name in ("nngp", "ntk"):
        matrix = np.asarray(getattr(whole, name))
        np.testing.assert_array_equal(matrix, matrix.T)
        allowed = (1e-13 if DOUBLE else 1e-6) * matrix.max()
        for size in (1, 2):
            found = getattr(kernels(POOLED, X, block=size), name)
            np.testing.assert_array_equal(found, found.T)
            np.testing.assert_allclose(found, matrix, rtol=0, atol=allowed)
        # of equal inputs the NTK has a cusp: rounding enters as its root
        apart = ~np.eye(2, 3, dtype=bool)
        found = np.asarray(getattr(other, name))
        np.testing.assert_allclose(found[apart], matrix[:2][apart], rtol=0, atol=allowed)
        near = matrix.max() * (1e-13 if DOUBLE else 1e-6) ** 0.5
        np.testing.assert_allclose(found, matrix[:2], rtol=0, atol=near)


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_dense_layers_are_an_architecture(activation):
    dense = [Dense(8, **NUMBERS), activation] * 2
    x = X.reshape(3, 8)
    found = kernels(Serial(*dense, Dense(1, **NUMBERS)), x)
    wanted = kernels(Architecture(activation, 3, **NUMBERS), x)
    allowed = 1e-13 if DOUBLE else 2e-6
    for name in ("nngp", "ntk"):
        one, other = (np.asarray(getattr(each, name)) for each in (found, wanted))
        np.testing.assert_allclose(one, other, rtol=0, atol=allowed * other.max())


def weights(module):
    """C_W and C_b as they are, and the rates of parameters as they are."""
    fan_in = int(np.prod(module.weight.shape[1:]))
    return {
        "C_W": fan_in * np.mean(np.asarray(module.weight) ** 2),
        "C_b": np.mean(np.asarray(module.bias) ** 2),
        "lambda_W": float(fan_in),
        "lambda_b": 1.0,
    }


def test_modules_are_read_as_layers():
    keys = jax.random.split(jax.random.key(0), 5)
    conv, narrow = eqx.nn.Conv2d(1, 4, 3, 2, 1, key=keys[0]), eqx.nn.Conv2d(4, 3, 2, key=keys[1])
    linear = eqx.nn.Linear(12, 2, key=keys[2])
    module = eqx.nn.Sequential(
        [
            conv,
            eqx.nn.LayerNorm((4, 5, 5)),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.AvgPool2d(2, 1),
            narrow,
            eqx.nn.Dropout(0.25),
            eqx.nn.Lambda(jnp.ravel),
            linear,
            eqx.nn.Identity(),
        ]
    )
    wanted = Serial(
        Conv(4, (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), **weights(conv)),
        LayerNorm(over_positions=True, lambda_scale=1.0, lambda_shift=1.0),
        "relu",
        AvgPool((2, 2), (1, 1), ((0, 0), (0, 0))),
        Conv(3, (2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), **weights(narrow)),
        Dropout(0.25),
        Flatten(),
        Dense(2, **weights(linear)),
        Identity(),
    )
    assert eqx.tree_equal(from_module(module), wanted, rtol=1e-6)

    mlp = eqx.nn.MLP(3, 2, 8, 2, jax.nn.relu, key=keys[3])
    one, two, three = (weights(layer) for layer in mlp.layers)
    wanted = Serial(Dense(8, **one), "relu", Dense(8, **two), "relu", Dense(2, **three))
    found, known = (kernels(layers, X[:, 0, :3]) for layers in (from_module(mlp), wanted))
    np.testing.assert_allclose(found.ntk, known.ntk, rtol=1e-5)

    cnn = networks.CNN((2, 3), 2, (4, 4), key=keys[4])
    read = from_module(cnn)
    assert isinstance(read, Serial)
    *blocks, flatten, readout = read.layers
    kinds = [type(layer).__name__ for layer in (*blocks, flatten, readout)]
    assert kinds == [*("Conv", "Elementwise", "AvgPool") * 2, "Flatten", "Dense"]
    for layer, block in zip(blocks[::3], cnn.blocks, strict=True):
        assert isinstance(layer, Conv)
        fan_in = np.prod(block.weight.shape[:3])  # [height, width, inputs, outputs]
        square = np.mean(np.asarray(block.weight) ** 2)
        found = float(layer.C_W), float(layer.lambda_W)
        np.testing.assert_allclose(found, (fan_in * square, fan_in), rtol=1e-6)
