"""All tensors of several inputs: one input, exact linear networks, kinks, and finite networks."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width import tensors
from nsh.theory.effective.finite_width.closed_forms import scale_invariant_fluctuations
from nsh.theory.effective.finite_width.fluctuations import fluctuations
from nsh.theory.effective.finite_width.several_inputs import four_point_vertex
from nsh.theory.effective.finite_width.tensors import finite_width_tensors

LETTERS = ["V", "A", "B", "D", "F", "P", "Q", "R", "S", "T", "U"]
X = np.asarray([[1.0, 0.3], [-0.4, 1.2], [0.8, -0.9]])
UNEQUAL = {
    "C_b": jnp.asarray([0.1, 0.3, 0.05]),
    "C_W": jnp.asarray([1.3, 0.8, 2.0]),
    "lambda_b": jnp.asarray([0.4, 1.0, 0.2]),
    "lambda_W": jnp.asarray([1.1, 0.3, 0.9]),
}


def one_input(architecture):
    found = finite_width_tensors(architecture, jnp.ones((1, 1)))
    names = [*LETTERS, "K", "Theta", "K1", "Theta1"]
    return {name: float(getattr(found, name).reshape(())) for name in names}


@pytest.mark.parametrize(
    ("depth", "R", "S", "T", "U", "means"),
    [
        (3, -4.715, 3.006, 0.356, 0.868, None),
        pytest.param(5, -18.508, 9.977, 1.911, 2.104, (-0.0682, -0.0663), marks=pytest.mark.long),
    ],
)
def test_reference_values_of_one_input(depth, R, S, T, U, means):
    """And V to Q are those of `fluctuations`, for widths and numbers that differ by layer."""
    found = one_input(Architecture("tanh", depth, 1, lambda_b=0.5))
    for name, value in zip("RSTU", (R, S, T, U), strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-3, err_msg=name)
    if means is not None:
        np.testing.assert_allclose([found["K1"], found["Theta1"]], means, atol=1e-4)
        return
    architecture = Architecture("tanh", 3, (7, 20), **UNEQUAL)
    found, expected = one_input(architecture), fluctuations(architecture, 1.0)
    rtol = 1e-9 if jax.config.read("jax_enable_x64") else 2e-4
    for name in [*LETTERS[:7], "K", "Theta"]:
        value = getattr(expected, name)[-1]
        np.testing.assert_allclose(found[name], value, rtol=rtol, err_msg=name)
    np.testing.assert_allclose(found["K1"], expected.G1[-1], rtol=rtol)


@pytest.fixture(scope="module")
def three():
    return finite_width_tensors(Architecture("tanh", 3, (7, 20), **UNEQUAL), X)


def test_symmetries(three):
    swap = (2, 3, 0, 1)
    for name, axes in (
        ("V", (1, 0, 2, 3)), ("V", swap), ("A", swap), ("A", (0, 1, 3, 2)), ("B", swap),
        ("B", (1, 0, 3, 2)), ("F", swap), ("P", (0, 2, 1, 3)), ("R", (0, 1, 3, 2)),
        ("S", (1, 0, 3, 2)), ("T", (1, 0, 3, 2)), ("U", (1, 0, 3, 2)),
    ):  # fmt: skip
        value = np.asarray(getattr(three, name))
        size = np.abs(value).max()
        np.testing.assert_allclose(value.transpose(axes), value, atol=1e-4 * size, err_msg=name)


def test_equal_and_opposite_inputs_are_one_input(three):
    """tanh is odd: an input's sign is a sign of all tensors with it."""
    x = jnp.asarray([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    hyper = UNEQUAL | {"C_b": jnp.zeros(3), "lambda_b": jnp.zeros(3)}
    architecture = Architecture("tanh", 3, (7, 20), **hyper)
    found, one = finite_width_tensors(architecture, x), one_input(architecture)
    sign = np.asarray([1.0, 1.0, -1.0])
    all_four = np.einsum("a,b,c,d->abcd", *[sign] * 4)
    for name in LETTERS:
        expected = one[name] * all_four
        size = max(abs(one[name]), 1e-3)
        np.testing.assert_allclose(getattr(found, name), expected, atol=2e-3 * size, err_msg=name)


def test_errors_are_small_and_nothing_is_compiled_anew(three):
    assert set(three.errors) == {*LETTERS, "K", "Theta", "K1", "Theta1"}
    for name in LETTERS:
        typical = np.sqrt(np.mean(np.asarray(getattr(three, name)) ** 2))
        assert float(three.errors[name]) < 1e-3 * typical, name
    programs: Any = tensors._tensors
    before = programs._cache_size()
    finite_width_tensors(Architecture("tanh", 3, (7, 20), **UNEQUAL), 1.1 * X)
    assert programs._cache_size() == before


def linear(x, n, C_W, lambda_b, lambda_W):
    """The recursion of a linear network: all is Wick's theorem."""
    inner = x @ x.T / x.shape[1]
    K, H = C_W * inner, lambda_b + lambda_W * inner
    V, A, B, D, F, Q, S, T = (np.zeros((len(x),) * 4) for _ in range(8))
    for width in n:

        def wick(X, Y):
            return np.einsum("ac,bd->abcd", X, Y)

        both, W = wick(K, K) + wick(K, K).transpose(0, 1, 3, 2), lambda_W
        swapped = D.transpose(2, 3, 0, 1)
        T = (
            W**2 * (np.einsum("cd,ab->abcd", K, H) / width + F.transpose(1, 3, 0, 2))
            + C_W * W * (Q.transpose(2, 0, 3, 1) + Q.transpose(0, 2, 1, 3)) + C_W**2 * T
        )  # fmt: skip
        S = W * C_W * (wick(H, H) / width + B) + C_W**2 * S
        Q = (
            W * C_W * (np.einsum("bd,ac->abcd", K, H) / width + F.transpose(1, 0, 3, 2))
            + C_W**2 * Q
        )
        A = W**2 * (both / width + V) + C_W**2 * A + W * C_W * (D + swapped)
        D = C_W * (W * both / width + W * V + C_W * D)
        F = C_W**2 * (np.einsum("ab,cd->acbd", K, H) / width + F)
        B = C_W**2 * (np.einsum("ab,cd->acbd", H, H) / width + B)
        V = C_W**2 * (both / width + V)
        H = lambda_b + W * K + C_W * H
        K = C_W * K
    return {"V": V, "A": A, "B": B, "D": D, "F": F, "Q": Q, "S": S, "T": T}


def test_linear_networks_are_exact_with_random_draws_too():
    x = np.random.default_rng(0).normal(size=(5, 3))
    architecture = Architecture("linear", 3, (7, 9), C_W=1.2, lambda_b=0.3, lambda_W=0.8)
    found, expected = finite_width_tensors(architecture, x), linear(x, (7, 9), 1.2, 0.3, 0.8)
    tolerance = 1e-9 if jax.config.read("jax_enable_x64") else 1e-5
    for name in LETTERS:
        value = expected.get(name, 0.0)
        size = np.abs(value).max() or 1.0
        np.testing.assert_allclose(
            getattr(found, name) / size, value / size, atol=tolerance, err_msg=name
        )
    np.testing.assert_allclose(found.K1, 0, atol=tolerance)
    np.testing.assert_allclose(found.Theta1, 0, atol=tolerance)


def test_relu_has_the_tensors_of_one_input_and_no_shift_of_the_mean():
    architecture = Architecture("relu", 3, 10, C_W=2.0, lambda_b=0.5)
    found = finite_width_tensors(architecture, jnp.ones((1, 1)), moving=False)
    expected = scale_invariant_fluctuations("relu", 3, 10, 1.0, lambda_b=0.5)
    for name in "VABDF":
        value = getattr(found, name).reshape(())
        np.testing.assert_allclose(value, getattr(expected, name)[-1], rtol=1e-4, err_msg=name)
    assert abs(float(found.K1[0, 0])) < 1e-4
    assert abs(float(found.Theta1[0, 0])) < 1e-4
    assert found.R is None


@pytest.mark.long
@pytest.mark.parametrize(("activation", "tolerance"), [("gelu", 1e-4), ("relu", 0.02)])
def test_the_vertex_is_that_of_nested_quadrature(activation, tolerance):
    """Three inputs: by a lattice, or by random draws where there is a kink."""
    architecture = Architecture(activation, 3, 5, C_W=1.8, C_b=0.1)
    V = four_point_vertex(architecture, jnp.asarray(X))
    found = finite_width_tensors(architecture, X, moving=False)
    np.testing.assert_allclose(found.V, V, atol=tolerance * float(np.abs(V).max()))


@pytest.mark.long
def test_differentiable():
    def of(C_W, lambda_W, x):
        architecture = Architecture("tanh", 2, 5, C_W=C_W, lambda_W=lambda_W, C_b=0.1)
        found = finite_width_tensors(architecture, x)
        return [getattr(found, name) for name in [*LETTERS, "K1", "Theta1"]]

    check_three_ways(of, np.full(2, 1.4), np.full(2, 0.8), X[:2], tolerance=1e-3)


def definitions(width, key, hyper, x):
    """The products of one tanh network with two outputs whose means are the tensors."""
    sizes = (x.shape[1], width, width, 2)
    weights, rates = [], []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        key, one, two = jax.random.split(key, 3)
        W = jax.random.normal(one, (fan_out, fan_in)) * jnp.sqrt(hyper["C_W"][i] / fan_in)
        b = jax.random.normal(two, (fan_out,)) * jnp.sqrt(hyper["C_b"][i])
        weights.append((W, b))
        rates.append((hyper["lambda_W"][i] / fan_in, hyper["lambda_b"][i]))

    def outputs(weights):
        h = x.T
        for i, (W, b) in enumerate(weights):
            h = W @ (jnp.tanh(h) if i else h) + b[:, None]
        return h.reshape(-1)  # output, then input

    def rated(gradients):
        return [
            (rate_W * W, rate_b * b)
            for (W, b), (rate_W, rate_b) in zip(gradients, rates, strict=True)
        ]

    gradients = jax.jacrev(outputs)(weights)
    directions = rated(gradients)

    def moved(steps):
        return jax.tree.map(lambda w, v: w + jnp.tensordot(steps, v, 1), weights, directions)

    def along(steps):
        return outputs(moved(steps))

    zero = jnp.zeros(2 * len(x))
    second = jax.jacfwd(jax.jacfwd(along))
    dH, ddI = second(zero), jax.jacfwd(second)(zero)
    bent = jax.jacfwd(lambda steps: jax.jacrev(outputs)(moved(steps)))(zero)
    # leaves [output I, parameters, direction K]
    ddII: Any = sum(
        jnp.einsum("ipk,jpl->ijkl", leaf * rate, leaf)
        for rate, leaf in (
            (rate, leaf.reshape(len(zero), -1, len(zero)))
            for pair, both in zip(bent, rates, strict=True)
            for leaf, rate in zip(pair, both, strict=True)
        )
    )
    z, shape = outputs(weights).reshape(2, -1), (2, len(x))
    dH, ddI, ddII = (T.reshape(shape * (T.ndim)) for T in (dH, ddI, ddII))
    return {
        "P": jnp.einsum("abc,d->abcd", dH[0, :, 1, :, 1], z[0]),
        "Q": jnp.einsum("abc,d->abcd", dH[0, :, 0, :, 1], z[1]),
        "R": ddI[0, :, 0, :, 1, :, 1],
        "S": ddII[0, :, 0, :, 1, :, 1],
        "T": ddII[0, :, 1, :, 0, :, 1],
        "U": ddII[0, :, 1, :, 1, :, 0],
    }


@pytest.mark.long
@pytest.mark.optimised
def test_finite_networks():
    """P to U by automatic differentiation, from the widths n and 2n."""
    hyper = {name: np.asarray(value) for name, value in UNEQUAL.items()}
    x, networks, chunk = jnp.asarray(X), 6_000, 500
    found = []
    for width in (8, 16):
        of = jax.jit(
            jax.vmap(lambda key, width=width: definitions(width, key, hyper, x)),
        )
        keys = jax.random.split(jax.random.key(width), networks).reshape(-1, chunk)
        parts = [jax.device_get(of(part)) for part in keys]
        values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        found.append(
            {k: (width * v.mean(0), width * v.std(0) / networks**0.5) for k, v in values.items()}
        )
    theory = finite_width_tensors(Architecture("tanh", 3, 1, **UNEQUAL), X)
    for name, (narrow, narrow_error) in found[0].items():
        wide, wide_error = found[1][name]
        value, error = 2 * wide - narrow, np.hypot(2 * wide_error, narrow_error)
        expected = np.asarray(getattr(theory, name))
        # what is left of order 1/width^2 is some percent
        away = np.abs(value - expected) / np.hypot(error, 0.03 * np.abs(expected).max())
        assert np.max(away) < 4.5, name
        slope = np.sum(value * expected) / np.sum(expected**2)
        spread = np.sqrt(np.sum((error * expected) ** 2)) / np.sum(expected**2)
        assert abs(slope - 1) < 0.1 + 3 * spread, name


@pytest.mark.core
def test_bad_input():
    def message(architecture, x: Any = X, **options):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            finite_width_tensors(architecture, x, **options)
        return str(error.value)

    smooth = Architecture("tanh", 3, 5)
    assert "activation = 'relu'" in message(Architecture("relu", 3, 5))
    assert "moving=False" in message(Architecture("relu", 3, 5))
    assert "x[0, 1] = nan" in message(smooth, [[1.0, float("nan")]])
    assert "x.shape = (2,)" in message(smooth, [1.0, 2.0])
    assert "C_b + C_W |x|^2 / n_0[0] = 0.0" in message(smooth, [[0.0, 0.0]])
    assert "gamma = 0.5" in message(Architecture("tanh", 3, 5, gamma=0.5))
    assert "widths" in message(Architecture("tanh", 3))
    assert "points = 100" in message(smooth, points=100)
