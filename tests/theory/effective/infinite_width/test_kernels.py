"""Kernels of infinitely wide networks against float64 recursions in NumPy, and as a whole."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from quadrature import mean, mean_of_product

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.infinite_width import resources
from nsh.theory.effective.infinite_width.blocks import iterate_kernel_blocks, kernels_on_host
from nsh.theory.effective.infinite_width.kernels import kernels

DEPTH = 10
NUMBERS: dict[str, Any] = {"C_b": 0.1, "C_W": 1.7, "lambda_b": 0.5, "lambda_W": 0.8, "gamma": 0.4}


def inputs(count=60, features=30, seed=0):
    """Normal inputs, some of them equal, opposite, parallel, or nearly so."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, features)).astype(np.float32)
    x[1], x[3], x[5] = x[0], -x[2], 3 * x[4]
    x[7] = x[6] + 1e-3 * x[8]
    x[10] = x[9] + 1e-5 * x[8]
    return x


def oracle(x, dual, depth, C_b=0.0, C_W=1.0, lambda_b=1.0, lambda_W=1.0, gamma=0.0):
    """The recursions in float64; `dual`: K -> <s_a s_b>, <s'_a s'_b>."""
    x = np.asarray(x, np.float64)
    inner = x @ x.T / x.shape[1]
    K, Theta = C_b + C_W * inner, lambda_b + lambda_W * inner
    for _ in range(depth - 1):
        s, slope = dual(K)
        Theta = lambda_b + lambda_W * s + (C_W * slope + gamma**2) * Theta
        K = C_b + C_W * s + gamma**2 * K
    return K, Theta


def relu(K):
    norm = np.sqrt(np.outer(np.diag(K), np.diag(K)))
    cosine = np.divide(K, norm, out=np.zeros_like(K), where=norm > 0)
    theta = np.arccos(np.clip(cosine, -1, 1))
    s = norm * (np.sin(theta) + (np.pi - theta) * cosine) / (2 * np.pi)
    return s, (np.pi - theta) / (2 * np.pi)


def erf(K):
    X = 1 + 2 * np.diag(K)
    s = 2 / np.pi * np.arcsin(2 * K / np.sqrt(np.outer(X, X)))
    return s, 4 / np.pi / np.sqrt(np.outer(X, X) - 4 * K**2)


def tanh(K):
    diagonal = np.diag(K)

    def whole(function):
        found = [
            mean(lambda z: function(z) ** 2, (), K[a, a])
            if a == b
            else mean_of_product(function, (), diagonal[a], diagonal[b], K[a, b])
            for a, b in np.ndindex(K.shape)
        ]
        return np.reshape(found, K.shape)

    return whole(np.tanh), whole(lambda z: 1 - np.tanh(z) ** 2)


@pytest.fixture(scope="module")
def x():
    return inputs()


@pytest.fixture(scope="module")
def residual(x):
    architecture = Architecture("relu", DEPTH, **NUMBERS)
    return architecture, kernels(architecture, x)


@pytest.mark.core
@pytest.mark.parametrize(
    ("name", "dual", "depth", "numbers"),
    [
        ("relu", relu, DEPTH, {"C_W": 2.0}),
        ("relu", relu, DEPTH, NUMBERS),
        ("erf", erf, 4, {"C_W": 3.0, "C_b": 0.2}),
    ],
)
def test_agrees_with_float64(x, name, dual, depth, numbers):
    found = kernels(Architecture(name, depth, **numbers), x)
    # arccos and equal inputs: also in float64 arccos(1 - 1e-16) is 1e-8
    for one, exact in zip(found, oracle(x, dual, depth, **numbers), strict=False):
        unit = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
        # 32 roundings of 32-bit floats: some eight a layer
        assert np.max(np.abs(np.asarray(one) - exact) / unit) < 2**-19
    assert found.error.shape == found.ntk.shape
    assert np.all(found.error == 0 if name == "relu" else found.error < 1e-5)


@pytest.mark.long
def test_tanh_agrees_with_quadrature():
    x = inputs(12, 6)[[0, 2, 3, 4, 6, 7, 11]]
    numbers: dict[str, Any] = {"C_b": 0.1, "C_W": 1.5, "lambda_W": 2.0, "gamma": 0.3}
    x[1] += 0.1  # no longer opposite: the oracle divides by 1 - c^2
    found = kernels(Architecture("tanh", 3, **numbers), x)
    for one, exact in zip(found, oracle(x, tanh, 3, **numbers), strict=False):
        unit = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
        assert np.max(np.abs(np.asarray(one) - exact) / unit) < 1e-5
    assert np.min(found.error) > 0
    assert np.max(found.error) < 5e-5


def test_symmetric_positive_and_exact_on_the_diagonal(x, residual):
    architecture, found = residual
    alone = kernels(architecture, x[:1])
    for whole, one in zip(found[:2], alone[:2], strict=True):
        whole = np.asarray(whole)
        np.testing.assert_array_equal(whole, whole.T)
        np.testing.assert_allclose(whole[0, 0], one[0, 0], rtol=1e-6)
        np.testing.assert_allclose(whole[0, 1], whole[0, 0], rtol=2e-6)  # equal inputs
        eigenvalues = np.linalg.eigvalsh(whole.astype(np.float64))
        assert eigenvalues[0] > -1e-6 * eigenvalues[-1]
        assert eigenvalues[-1] > 1


@pytest.mark.long
def test_blocks_make_up_the_whole():
    architecture, x = Architecture("relu", DEPTH, **NUMBERS), inputs()
    found = kernels(architecture, x)
    inside = kernels(architecture, x, block=16)
    host = kernels_on_host(architecture, x, block=16)
    apart = kernels_on_host(architecture, x, x[:20], block=16)
    assert isinstance(host.ntk, np.ndarray)
    places = [place for place, _ in iterate_kernel_blocks(architecture, x, block=16)]
    assert len(places) == 4 * 5 / 2
    assert places[-1] == (slice(48, 60), slice(48, 60))
    for matrix in ("nngp", "ntk"):
        whole = np.asarray(getattr(found, matrix))
        for other in (inside, host):
            np.testing.assert_allclose(getattr(other, matrix), whole, rtol=2e-6)
            np.testing.assert_array_equal(np.diag(getattr(other, matrix)), np.diag(whole))
        np.testing.assert_allclose(getattr(apart, matrix), whole[:, :20], rtol=2e-6)


@pytest.mark.core
def test_linear_network_exactly(x):
    """Theta^L = sum over layers, K^L = prod C_W x.x / n_0, with numbers of their own by layer."""
    C_W, rates = np.array([0.5, 2.0, 3.0]), np.array([1.0, 0.2, 0.7])
    found = kernels(Architecture("linear", 3, C_W=C_W, lambda_b=0.0, lambda_W=rates), x)
    inner = x.astype(np.float64) @ x.T / x.shape[1]
    scale = np.sqrt(np.outer(np.diag(inner), np.diag(inner)))
    assert np.max(np.abs(found.nngp - C_W.prod() * inner) / scale) < C_W.prod() * 2**-19
    expected = sum(rate / C * C_W.prod() for rate, C in zip(rates, C_W, strict=True))
    assert np.max(np.abs(found.ntk - expected * inner) / scale) < 1e-5


@pytest.mark.parametrize(("name", "A"), [("relu", 0.5), ("tanh", 1.0), ("selu", 2.0974429)])
def test_zero_inputs(name, A):
    x = jnp.asarray(inputs(12)[6:]).at[jnp.asarray([1, 4])].set(0.0)

    def both(C_W):
        found = kernels(Architecture(name, 3, C_W=C_W, C_b=0.0), x)
        return found.nngp, found.ntk

    (nngp, ntk), (d_nngp, d_ntk) = jax.jit(lambda C: jax.jvp(both, (C,), (jnp.ones_like(C),)))(
        jnp.asarray(1.6)
    )
    for one in (nngp, ntk, d_nngp, d_ntk):
        assert np.all(np.isfinite(one))
    assert np.all(nngp[jnp.asarray([1, 4])] == 0)
    assert np.all(d_nngp[1] == 0)
    eigenvalues = np.linalg.eigvalsh(np.asarray(ntk, np.float64))
    assert eigenvalues[0] > -1e-6 * eigenvalues[-1]
    # Theta^3 = 1 + C_W A (1 + C_W A), A = <s'^2> at K = 0, so its slope is A (1 + 2 C_W A)
    for pair in ((1, 1), (1, 4)):
        np.testing.assert_allclose(ntk[pair], 1 + 1.6 * A * (1 + 1.6 * A), rtol=1e-5)
        np.testing.assert_allclose(d_ntk[pair], A * (1 + 3.2 * A), rtol=1e-5)


@pytest.mark.long
def test_errors_are_those_of_each_pair():
    """A chaotic network magnifies rounding: 32 bits against 64, pair by pair."""
    x = inputs(12, 4)[4:12]
    x[0] = 0.0
    architecture = Architecture("selu", 12, C_W=3.0)
    found = kernels(architecture, x)
    with x64(True):
        exact = kernels(Architecture("selu", 12, C_W=3.0), x.astype(np.float64))
    error = np.asarray(found.error)
    for matrix in ("nngp", "ntk"):
        one, other = (np.asarray(getattr(of, matrix), np.float64) for of in (found, exact))
        unit = np.sqrt(np.outer(np.diag(other), np.diag(other)))
        off = np.abs(one - other) / np.where(unit > 0, unit, 1.0)
        assert np.all(off < 10 * error)
    assert np.max(error) < 100 * np.max(off)
    assert np.max(error) > 3 * np.min(error)  # not one for all


@pytest.mark.long
def test_equal_inputs_as_the_diagonal():
    """s'' of softsign jumps at 0: the pair of equal inputs was off by 5e-3."""
    x = inputs(12, 4)[[0, 1, 4]]
    ntk = kernels(Architecture(jax.nn.soft_sign, 3, C_b=0.1, C_W=1.5), x).ntk
    np.testing.assert_allclose(ntk[0, 1], ntk[0, 0], rtol=1e-4)


@pytest.mark.long
def test_derivatives_three_ways():
    x = inputs(12, 5)[4:9].astype(np.float64)

    def numbers(C_b, C_W, gamma, x):
        found = kernels(Architecture("relu", 3, C_b=C_b, C_W=C_W, gamma=gamma), x)
        smooth = kernels(Architecture("tanh", 3, C_b=C_b, C_W=C_W, gamma=gamma), x, terms=6)
        return found.nngp, found.ntk, smooth.nngp, smooth.ntk

    check_three_ways(numbers, np.array(0.2), np.full(3, 1.8), np.array(0.5), x)


def test_float64_is_float64(x):
    with x64(True):
        found = kernels(Architecture("relu", 4, **NUMBERS), x[11:20].astype(np.float64))
        assert found.ntk.dtype == np.float64
        exact = oracle(x[11:20], relu, 4, **NUMBERS)
        for one, expected in zip(found, exact, strict=False):
            np.testing.assert_allclose(one, expected, rtol=1e-13)


def test_vmap(x):
    C_W = jnp.asarray([0.5, 2.0])
    ntk = jax.jit(jax.vmap(lambda C: kernels(Architecture("erf", 3, C_W=C), x[:8]).ntk))(C_W)
    for C, one in zip(C_W, ntk, strict=True):
        alone = kernels(Architecture("erf", 3, C_W=C), x[:8]).ntk
        np.testing.assert_allclose(one, alone, rtol=3e-6, atol=1e-6)


@pytest.mark.core
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.full((2, 3), np.nan)}, "x"),
        ({"x": np.ones(3)}, "x.shape"),
        ({"x": np.ones((2, 3)) * 1j}, "x.dtype"),
        ({"x": np.ma.masked_equal([[1.0, 2, 3]], 2)}, "x = 'a masked array'"),
        ({"x": np.ones((0, 3))}, "x.shape"),
        ({"z": np.ones((2, 4))}, "z.shape"),
        ({"block": 0}, "block"),
        ({"terms": 1}, "terms"),
    ],
)
@pytest.mark.parametrize("function", [kernels, kernels_on_host])
def test_bad_input(function, change, message):
    given = {"x": np.ones((2, 3)), **change}
    with pytest.raises(ValueError, match=message):
        function(Architecture("tanh", 2), **given)


@pytest.mark.core
def test_too_large_for_memory(monkeypatch):
    monkeypatch.setattr(resources, "available_bytes", lambda host=False: 1000)
    x = np.ones((40, 3))
    with pytest.raises(ValueError, match="kernels_on_host"):
        kernels(Architecture("relu", 2), x)
    with pytest.raises(ValueError, match="iterate_kernel_blocks"):
        kernels_on_host(Architecture("relu", 2), x)
    first = next(iterate_kernel_blocks(Architecture("relu", 2), x, block=8))
    assert first[1].ntk.shape == (8, 8)


def test_memory_is_known_on_linux():
    available = resources.available_bytes()
    assert available is None or 1e6 < available < 1e16
