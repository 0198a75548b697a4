"""Dual activations against quadrature in two dimensions, and against each other."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from quadrature import mean, mean_of_product

from nsh.activations import Activation, ClosedDual, leaky_relu
from nsh.activations.arccos import angle, arcsine
from nsh.theory.effective.infinite_width.dual import dual
from nsh.theory.effective.infinite_width.hermite import Expansion


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def bent(z):
    """A function with a kink off zero, where its curvature jumps too."""
    return jnp.where(z < 1, jnp.sin(z), jnp.sin(1.0) - (z - 1) / 2)


SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
# activation, its function and derivative in NumPy, its kinks
KNOWN = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: 1.0 * (z > 0), (0.0,)),
    "erf": (scipy.special.erf, lambda z: 2 / np.sqrt(np.pi) * np.exp(-(z**2)), ()),
    "sin": (np.sin, np.cos, ()),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2, ()),
    "swish": (
        lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z))), ()
    ),
    "selu": (
        lambda z: SCALE * np.where(z > 0, z, ALPHA * np.expm1(np.minimum(z, 0))),
        lambda z: SCALE * np.where(z > 0, 1, ALPHA * np.exp(np.minimum(z, 0))), (0.0,),
    ),
    "hard_tanh": (lambda z: np.clip(z, -1, 1), lambda z: 1.0 * (abs(z) < 1), (-1.0, 1.0)),
}  # fmt: skip
K_AA, K_BB, CORRELATION = (
    np.ravel(part)
    for part in np.broadcast_arrays(
        np.array([[1.0], [0.3], [1e-3], [14.0]]),
        np.array([[1.0], [2.0], [1.0], [20.0]]),
        np.array([[-0.9, 0.2, 0.95]]),
    )
)
K_AB = CORRELATION * np.sqrt(K_AA * K_BB)


@functools.cache
def program(activation):
    return jax.jit(dual(activation))


def found_of(activation, *K):
    """By one compiled program of each activation, whatever the number of cases up to 12."""
    K = np.broadcast_arrays(*K)
    count = len(K[0])
    padded = (jnp.asarray(np.pad(one, (0, len(K_AA) - count), "edge"), float) for one in K)
    return jax.tree.map(lambda leaf: leaf[:count], program(activation)(*padded))


@pytest.mark.parametrize("name", KNOWN)
def test_agrees_with_quadrature(name):
    function, slope, kinks = KNOWN[name]
    found = found_of(name, K_AA, K_BB, K_AB)
    # piecewise in relu's and the like; a nonzero error only where the function is expanded
    assert np.all(np.asarray(found.error) < 2e-3 * np.abs(CORRELATION) + 1e-6)
    if name == "relu":
        assert np.all(np.asarray(found.error) == 0)
    for what, values in ((function, found.s), (slope, found.slope)):
        expected = [
            mean_of_product(what, kinks, *one) for one in zip(K_AA, K_BB, K_AB, strict=True)
        ]
        unit = [
            np.sqrt(mean(lambda z, f=what: f(z) ** 2, kinks, a))
            * np.sqrt(mean(lambda z, f=what: f(z) ** 2, kinks, b))
            for a, b in zip(K_AA, K_BB, strict=True)
        ]
        gap = np.abs(np.asarray(values) - expected) / unit
        np.testing.assert_array_less(gap, np.asarray(found.error) + 3e-6)


@pytest.mark.long
def test_expansion_agrees_with_closed_form():
    activation = leaky_relu(0.2)
    expansion = Expansion(activation, 64)
    exact = dual(activation)(*map(jnp.asarray, (K_AA[:9], K_BB[:9], K_AB[:9])))

    @jax.jit
    def expanded(K_a, K_b, c):
        a, b = expansion.moments(K_a), expansion.moments(K_b)
        found = expansion.pairs(a, b, 1 - c)
        return jnp.sqrt(a.square * b.square) * (1 - found.gap), found.slope, a.square

    found = expanded(*map(jnp.asarray, (K_AA[:9], K_BB[:9], CORRELATION[:9])))
    np.testing.assert_allclose(found[0], exact.s, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], exact.slope, rtol=2e-5, atol=1e-6)


def test_a_closed_form_of_ones_own():
    """Of z^2: <s_a s_b> = K_aa K_bb + 2 K_ab^2 and, by Price's theorem, <s'_a s'_b> = 4 K_ab."""
    square = Activation("square", jnp.square, dual=ClosedDual(lambda a, b, ab: a * b + 2 * ab**2))
    found = found_of(square, K_AA, K_BB, K_AB)
    np.testing.assert_allclose(found.s, K_AA * K_BB + 2 * K_AB**2, rtol=1e-5)
    np.testing.assert_allclose(found.slope, 4 * K_AB, rtol=1e-5)
    assert np.all(np.asarray(found.error) < 1e-5)


def two_waves(z):
    return jnp.sin(z) + jnp.sin(1.5 * z)


@pytest.mark.long
def test_truncation_error_is_told():
    K_a, K_b, c = 4.0, 6.0, np.array([0.5, 0.9, 0.99, 0.999])
    arguments = (jnp.full(4, K_a), jnp.full(4, K_b), jnp.asarray(c * np.sqrt(K_a * K_b)))
    few, many = jax.jit(lambda *K: [dual(two_waves, terms=terms)(*K) for terms in (8, 64)])(
        *arguments
    )
    squares = [mean(lambda z: (np.cos(z) + 1.5 * np.cos(1.5 * z)) ** 2, (), K) for K in (K_a, K_b)]
    found = np.abs(np.asarray(few.slope - many.slope)) / np.sqrt(np.prod(squares))
    told = np.asarray(few.error)
    assert np.all(found <= 10 * told)
    assert np.all(found >= told / 10)
    assert found[-1] > 0.1
    assert np.all(np.asarray(many.error) < told)


@pytest.mark.long
def test_slope_is_the_derivative():
    """Price's theorem: d<s_a s_b> / dK_ab = <s'_a s'_b>."""
    arguments = tuple(jnp.asarray(one) for one in ([1.0, 2.0], [1.5, 3.0], [0.7, -0.4]))

    def both(known, *K):
        found = known(*K)
        return jnp.sum(found.s), found.slope

    for name in ("tanh", bent):
        slopes, expected = jax.jit(jax.grad(partial(both, dual(name)), argnums=2, has_aux=True))(
            *arguments
        )
        np.testing.assert_allclose(slopes, expected, rtol=3e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["relu", "sin", "tanh", "hard_tanh"])
def test_limits(name):
    """Equal and opposite inputs, and a second input of z = 0."""
    function, slope, kinks = KNOWN[name]
    found = found_of(name, 0.5, [0.5, 0.5, 0.0], [0.5, -0.5, 0.0])
    at_zero = 0.5 * (slope(1e-9) + slope(-1e-9))

    def limits(f, zero):
        equal = mean(lambda z: f(z) ** 2, kinks, 0.5)
        opposite = mean(lambda z: f(z) * f(-z), kinks, 0.5)
        return [equal, opposite, mean(f, kinks, 0.5) * zero]

    expected = limits(function, function(0.0)), limits(slope, at_zero)
    np.testing.assert_allclose(found.s, expected[0], atol=1e-5)
    np.testing.assert_allclose(found.slope, expected[1], atol=1e-5)


def softsign(z):
    return z / (1 + abs(z))


def wave(z):
    return jnp.cos(3 * z) + 0.5 * z


SCALES = (-30.0, -10.0, -3.0, -1.0, 1.0, 3.0, 10.0, 30.0)  # where NumPy's quadrature breaks
HARD = {
    "tanh": ("tanh", *KNOWN["tanh"][:2]),
    "gelu": (
        "gelu",
        lambda z: z * scipy.special.ndtr(z),
        lambda z: scipy.special.ndtr(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
    ),
    "selu": ("selu", *KNOWN["selu"][:2]),
    "hard_tanh": ("hard_tanh", *KNOWN["hard_tanh"][:2]),
    "softsign": (jax.nn.soft_sign, softsign, lambda z: 1 / (1 + abs(z)) ** 2),
    "wave": (
        wave,
        lambda z: np.cos(3 * z) + 0.5 * z,
        lambda z: 0.5 - 3 * np.sin(3 * z),
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_equal_inputs_and_large_variances(name):
    """Jumps of s', of s'', norms that no 64 terms resolve or beside 0; errors honest within 10."""
    activation, function, slope = HARD[name]
    K = np.array([1e-6, 1.0, 30.0, 1e4, 1e4])
    if name == "wave":
        K = np.array([1e-6, 1e-4, 1.0, 3.0, 3.0])
    c = np.array([1.0, 1.0, 1.0, 1.0, 0.9])
    found = found_of(activation, K, K, c * K)
    rounding = 100 * float(jnp.finfo(found.s.dtype).eps)
    for values, f in ((found.s, function), (found.slope, slope)):
        square = [mean(lambda z, f=f: f(z) ** 2, SCALES, one) for one in K]
        exact = [*square[:-1], mean_of_product(f, SCALES, K[-1], K[-1], c[-1] * K[-1])]
        off = np.abs(np.asarray(values) - exact) / square
        assert np.all(off < 5e-5)
        assert np.all(off < 10 * np.asarray(found.error) + rounding)
    assert np.all(np.asarray(found.error) < 1e-4)


@pytest.mark.long
def test_error_is_neither_far_too_small_nor_far_too_large():
    """Slopes that bend between kinks; a small share of steep slopes; even functions beside 0."""
    kind = found_of("relu", [1.0], [1.0], [0.5]).s.dtype
    eps = float(jnp.finfo(kind).eps)

    def told_and_true(activation, function, slope, kinks, K, c):
        across = np.asarray(c * K, kind)
        told = found_of(activation, [K], [K], [across])
        error = 0.0
        for value, f in ((told.s, function), (told.slope, slope)):
            square = mean(lambda z, f=f: f(z) ** 2, kinks, K)
            exact = mean_of_product(f, kinks, K, K, float(across)) if c < 1 else square
            error = max(error, abs(float(value[0]) - exact) / square)
        return float(told.error[0]), error

    def bent(z):
        return np.where(z <= -3, 0.0, np.where(z >= 3, 1.0, z / 3 + 0.5))

    hard_swish = jax.nn.hard_swish, lambda z: z * np.clip(z + 3, 0, 6) / 6, bent
    relu6 = jax.nn.relu6, lambda z: np.clip(z, 0, 6), lambda z: 1.0 * ((z > 0) & (z < 6))
    even = (
        lambda z: z * jnp.tanh(z),
        lambda z: z * np.tanh(z),
        lambda z: np.tanh(z) + z / np.cosh(np.minimum(abs(z), 300)) ** 2,
    )
    for c in (1.0, 0.9999):
        told, true = told_and_true(*hard_swish, SCALES, 1e4, c)
        assert true / 10 < told < 10 * true
    told, true = told_and_true(*relu6, (-6.0, *SCALES, 6.0), 1e4, 0.9999)
    assert true < 10 * told + 1e-10
    told, true = told_and_true(*even, SCALES, 1e-6, 0.9)
    assert true < 10 * told + 1e-10
    assert told < 100 * eps


def test_no_variance_is_the_limit():
    below, above = SCALE * ALPHA, SCALE
    K_bb = [0.0, 0.0, 1e-12]
    found = found_of("selu", [0.0, 1.0, 1e-12], K_bb, K_bb)
    both = (below**2 + above**2) / 2
    beside = mean(KNOWN["selu"][1], (0.0,), 1.0) * (below + above) / 2
    np.testing.assert_allclose(found.slope, [both, beside, both], rtol=1e-4)


@pytest.mark.long
def test_many_terms():
    """From some 1,200 on, polynomials overflowed and nodes were too few."""
    K = jnp.asarray([9.0, 9.0])
    c = jnp.asarray([0.99, 1.0])
    few, many = (jax.jit(dual(bent, terms=terms))(K, K, c * K) for terms in (64, 2000))
    assert np.all(np.abs(np.asarray(many.s - few.s)) < 10 * np.asarray(few.error * few.s[1]))
    assert np.all(np.asarray(many.error) < np.asarray(few.error))
    exact = mean(lambda z: np.asarray(bent(z), float) ** 2, (*SCALES, 1.0), 9.0)
    assert float(many.s[1]) == pytest.approx(exact, rel=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(-12, 0.3))
def test_angle_is_accurate_near_its_ends(power):
    gap = np.float64(np.float32(min(10.0**power, 2.0)))
    theta, rest = angle(jnp.asarray(gap, float))
    exact = 2 * np.arcsin(np.sqrt(gap / 2))
    assert float(theta) == pytest.approx(exact, rel=5e-7)
    assert float(rest) == pytest.approx(np.sin(exact) - exact * np.cos(exact), abs=4e-7 * exact)
    value, left = jnp.asarray(1 - gap, float), jnp.asarray(gap, float)
    assert float(arcsine(value, left)) == pytest.approx(np.pi / 2 - exact, abs=3e-7)


@pytest.mark.core
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1.0, 0.0), "K_aa"),
        ((1.0, np.inf, 0.0), "K_bb"),
        ((1.0, 1.0, 1.1), "K_ab"),
        ((1.0, 1.0, np.zeros(2)), "shapes"),
    ],
)
def test_bad_kernels(arguments, message):
    with pytest.raises(ValueError, match=message):
        dual("relu")(*map(jnp.asarray, arguments))


@pytest.mark.core
def test_bad_terms():
    with pytest.raises(ValueError, match="terms"):
        dual("tanh", terms=1)
