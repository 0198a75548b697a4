"""Inputs of different sizes in one array have the kernels that they have alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.theory.effective import Architecture, kernel_to_zarr, kernels, kernels_on_host
from nsh.theory.effective.layers import (
    Aggregate,
    AvgPool,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    Embedding,
    GlobalAvgPool,
    GlobalSumPool,
    LayerInputs,
    LayerNorm,
    LinearAttention,
    LocalConv,
    Resize,
    SelfAttention,
    Serial,
    build,
)

pytestmark = pytest.mark.core

NUMBERS: dict[str, Any] = {"C_W": 1.3, "C_b": 0.2, "lambda_W": 0.7, "lambda_b": 0.3}
RANDOM = np.random.default_rng(0)
LONG, SHORT = RANDOM.normal(size=(2, 2, 6)), RANDOM.normal(size=(2, 2, 4))
BOTH = LayerInputs.padded([*LONG, *SHORT])
KEY = jax.random.key(0)


def conv(size, *given, kind: Any = Conv):
    return kind(8, size, *given, **NUMBERS)


NETWORKS = {
    "windows": Serial(
        conv(3, 2, 2), "relu", AvgPool(2, 1), conv(2, 1, 1, kind=LocalConv), "relu",
        conv(3, 2, 1, kind=ConvTranspose), "relu", conv(2), GlobalSumPool(),
    ),
    "attention": Serial(
        conv(3, 1, "SAME"), SelfAttention(8, C_QK=0.7), Dense(8, **NUMBERS),
        LayerNorm(over_positions=True), "relu", LinearAttention(8), Dense(8), LayerNorm(),
        "relu", GlobalAvgPool(keep_positions=True),
    ),
    "branches": Serial(
        Dense(8, **NUMBERS), "relu",
        Concatenate(conv(3, 1, "SAME"), Serial(conv(2, 1, ((1, 0),)), "relu", Dense(8))),
        GlobalAvgPool(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_of_their_own(name):
    network = NETWORKS[name]
    found = kernels(network, BOTH)
    parts = [kernels(network, one) for one in (LONG, SHORT)]
    tolerance = 1e-12 if found.nngp.dtype == jnp.float64 else 3e-6
    for field in ("nngp", "ntk"):
        array = getattr(found, field)
        for i, part in enumerate(parts):
            own = array[2 * i : 2 * i + 2, 2 * i : 2 * i + 2]
            size = float(jnp.abs(own).max())
            np.testing.assert_allclose(own, getattr(part, field), atol=tolerance * size)
    # what stands where nothing is does not matter, nor how much of it there is
    x = np.pad(BOTH.x, ((0, 0), (0, 0), (0, 3)), constant_values=7.0)
    assert BOTH.present is not None
    more = kernels(network, LayerInputs(x, np.pad(BOTH.present, ((0, 0), (0, 3)))))
    np.testing.assert_allclose(more.ntk, found.ntk, rtol=3 * tolerance)


def test_all_positions_of_one_side():
    network = NETWORKS["branches"]
    wanted, found = kernels(network, BOTH).ntk[:2], kernels(network, LONG, BOTH).ntk
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(kernels(network, LONG, BOTH[2:]).ntk, wanted[:, 2:], rtol=1e-5)
    blocks = kernels_on_host(network, BOTH, block=2).ntk
    np.testing.assert_allclose(blocks[:2], wanted, rtol=1e-5)


def test_positions_that_are_left_and_not_there_are_zero():
    found = kernels(Dense(1, C_b=1.0), BOTH).nngp
    assert found.shape == (4, 4, 6)
    assert np.all(found[2:, :, 4:] == 0)
    assert np.all(found[:2, :2, 4:] != 0)


def test_tokens():
    network = Serial(Embedding(8, 5), conv(2, 1, ((1, 0),)), "relu", GlobalAvgPool())
    given = [np.array([0, 4, 2]), np.array([4])]
    found = kernels(network, LayerInputs.padded(given)).ntk
    alone = [kernels(network, one[None]).ntk[0, 0] for one in given]
    np.testing.assert_allclose(np.diag(found), alone, rtol=1e-5)


def test_graphs_of_their_own():
    graphs = [RANDOM.normal(size=(size, size)) for size in (6, 6, 4, 4)]
    inputs = LayerInputs.padded([*LONG, *SHORT], graphs)

    def made(graph=None):
        layers = Dense(8, **NUMBERS), "relu", Aggregate(graph), Dense(8, **NUMBERS), "relu"
        return Serial(*layers, GlobalAvgPool())

    found = kernels(made(), inputs)
    for i, (one, graph) in enumerate(zip([*LONG, *SHORT], graphs, strict=True)):
        alone = kernels(made(graph), one[None])
        np.testing.assert_allclose(found.ntk[i, i], alone.ntk[0, 0], rtol=1e-5)
    # two inputs of different graphs: the kernel is symmetric, and of their linear map by hand
    linear = kernels(Serial(Aggregate(), GlobalSumPool()), inputs).nngp
    sums = [(x @ graph.T).sum(1) for x, graph in zip([*LONG, *SHORT], graphs, strict=True)]
    np.testing.assert_allclose(
        linear, np.array([[a @ b / 2 for a in sums] for b in sums]), rtol=1e-4, atol=1e-4
    )


def test_transformations():
    network, direction = NETWORKS["attention"], jnp.asarray(RANDOM.normal(size=BOTH.x.shape))

    @jax.jit
    def slope(x, v):
        def number(x):
            return jnp.sum(jnp.sin(kernels(network, LayerInputs(x, BOTH.present)).ntk))

        return jax.jvp(number, (x,), (v,))[1], jax.grad(number)(x)

    forward, gradient = slope(BOTH.x, direction.astype(BOTH.x.dtype))
    np.testing.assert_allclose(forward, jnp.vdot(gradient, direction), rtol=1e-4)
    assert np.all(gradient[2:, :, 4:] == 0)
    assert np.all(np.isfinite(gradient))


def test_a_store_of_inputs_of_different_sizes(tmp_path):
    pytest.importorskip("zarr")
    network = NETWORKS["branches"]

    def kernel(i, j):  # numbers of inputs stay whole numbers
        return kernels(network, BOTH[i[:, 0]], BOTH[j[:, 0]]).ntk

    found = kernel_to_zarr(tmp_path / "ntk.zarr", kernel, np.arange(4)[:, None], block=3)
    np.testing.assert_allclose(found[:], kernels(network, BOTH).ntk, rtol=1e-5)


ONES = np.ones
made, padded = LayerInputs, LayerInputs.padded
REFUSED = [
    (lambda: made(LONG, ONES((2, 5), bool)), r"present\.shape = \(2, 5\): must be \(2, 6\)"),
    (lambda: made(LONG, ONES((2, 6))), r"present\.dtype = 'float(32|64)': must be bool"),
    (lambda: made(LONG, np.zeros((2, 6), bool)), r"positions that are there.*one at least"),
    (lambda: made(ONES((2, 3)), ONES(2, bool)), r"present = '\(2,\)': must be None"),
    (lambda: made(LONG, graph=ONES((2, 6, 5))), r"graph\.shape = \(2, 6, 5\).*\(2, 6, 6\)"),
    (lambda: made(ONES((2, 1, 3, 3)), graph=ONES((2, 9, 9))), r"axes of positions = 2"),
    (lambda: padded([]), r"inputs = \[\]: must be one at least"),
    (lambda: padded([ONES((2, 3)), ONES((3, 3))]), r"inputs\[1\]\.shape = \(3, 3\)"),
    (lambda: padded([ONES((2, 3)), ONES(3)]), r"inputs\[1\] = 'float64 with 1 axes'"),
    (lambda: padded([*LONG], [np.eye(6)]), r"graphs = 1: must be 2, one each"),
    (lambda: padded([*SHORT], [np.eye(6)] * 2), r"graphs\[0\]\.shape = \(6, 6\).*\(4, 4\)"),
    (lambda: kernels(Serial(Dense(2), Aggregate()), LONG), r"Aggregate\): its inputs = 'without"),
    (lambda: build(Aggregate(), (2, 6), key=KEY), r"its inputs = 'without graphs'"),
    (
        lambda: kernels(Conv(2, 3, padding=1, padding_mode="CIRCULAR"), BOTH),
        r"network\.padding_mode = 'CIRCULAR': must be ZEROS, as not all positions",
    ),
    (lambda: kernels(Resize((3,)), BOTH), r"network: positions that are there = 'not all'"),
    (lambda: kernels(Dense(2), LONG, made(LONG, graph=ONES((2, 6, 6)))), r"both or none"),
    (lambda: kernels(Architecture("relu", 2), BOTH), r"x = 'LayerInputs': must be an array"),
    (lambda: Resize((0,)), r"shape\[0\] = 0: must be an integer >= 1"),
    (lambda: Resize((3,), "quintic"), r"method = 'quintic': must be one of nearest"),
    (lambda: LinearAttention(2, heads=0), r"heads = 0: must be an integer >= 1"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), REFUSED, ids=lambda given: "")
def test_what_does_not_fit(make, said):
    with pytest.raises(ValueError, match=said):
        make()
