"""Universality classes and critical points: the book's values, and what they must satisfy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untyped import integrate, stats

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.critical.criticality import criticality
from nsh.theory.effective.finite_width.fluctuations import fluctuations
from nsh.theory.effective.means import mean_kernels


@functools.cache
def found(activation):
    return criticality(activation)


def shifted_tanh(z):
    return jnp.tanh(z + 0.3) - jnp.tanh(0.3)


def softsign(z):
    return z / (1 + jnp.abs(z))


@pytest.mark.core
@pytest.mark.parametrize(
    ("name", "K", "C_W", "C_b", "stable"),
    [
        ("gelu", (3 + 17**0.5) / 2, 1.98305826, 0.17292239, "from above"),
        ("swish", 14.32017362, 1.98800468, 0.55514317, "from below"),
    ],
)
def test_half_stable_reference_values(name, K, C_W, C_b, stable):
    critical = found(name)
    assert critical.universality == "half-stable"
    assert critical.stable == stable
    exact = (critical.K, critical.C_W, critical.C_b)
    np.testing.assert_allclose(exact, (K, C_W, C_b), rtol=1e-6)
    near = critical.near_zero
    assert near is not None
    assert near.a1 > 0  # unstable at K = 0
    assert critical.p_perp == critical.p_K == 0


@pytest.mark.core
@pytest.mark.parametrize(
    ("name", "C_W", "a1", "b1"),
    [("tanh", 1, -2, -2), ("sin", 1, -1, -1), ("erf", np.pi / 4, -2, -2)],
)
def test_odd_functions(name, C_W, a1, b1):
    critical = found(name)
    assert critical.universality == "K* = 0"
    assert (critical.K, critical.C_b, critical.p_K) == (0, 0, 1)
    assert critical.p_perp == pytest.approx(1, rel=1e-6)
    near = critical.near_zero
    assert near is not None
    np.testing.assert_allclose([critical.C_W, near.a1, near.b1], [C_W, a1, b1], rtol=1e-6)
    assert critical.nu == pytest.approx(2 / 3)


def test_taylor_data_of_a_function_that_is_not_odd():
    t = np.tanh(0.3)
    s1, s2, s3 = 1 - t**2, -2 * t * (1 - t**2), (1 - t**2) * (6 * t**2 - 2)
    a1, b1 = s3 / s1 + 0.75 * (s2 / s1) ** 2, s3 / s1 + (s2 / s1) ** 2
    critical = found(shifted_tanh)
    near = critical.near_zero
    assert near is not None
    np.testing.assert_allclose([critical.C_W, near.a1, near.b1], [1 / s1**2, a1, b1], rtol=1e-5)
    assert critical.p_perp == pytest.approx(b1 / a1, rel=1e-5)


@pytest.mark.core
def test_scale_invariant():
    for name, C_W, nu in (("relu", 2, 5), ("linear", 1, 2), ("leaky_relu", 2 / 1.0001, None)):
        critical = criticality(name)
        assert (critical.universality, critical.C_b) == ("scale-invariant", 0)
        assert np.isnan(critical.K)
        assert pytest.approx(C_W, rel=1e-6) == critical.C_W
        assert nu is None or critical.nu == pytest.approx(nu)
    assert criticality(lambda z: 0 * z).universality == "none"


@pytest.mark.parametrize("activation", ["softplus", jnp.cos, jnp.square])
def test_no_critical_point(activation):
    critical = found(activation)
    assert critical.universality == "none"
    assert np.isnan([critical.K, critical.C_b, critical.C_W, critical.p_perp, critical.nu]).all()


def softplus(z):
    return np.logaddexp(0, z)


def mish(z):
    return z * np.tanh(softplus(z))


def mish_slope(z):
    return np.tanh(softplus(z)) + z / np.cosh(softplus(z)) ** 2 / (1 + np.exp(-z))


def test_a_function_that_no_reference_covers():
    critical = found(jax.nn.mish)
    K, C_b, C_W = critical.K, critical.C_b, critical.C_W

    def mean(function):
        def weighted(u):
            return np.exp(-u * u / 2) / np.sqrt(2 * np.pi) * function(np.sqrt(K) * u)

        return integrate.quad(weighted, -12, 12, epsabs=1e-13, epsrel=1e-13, limit=200)[0]

    assert critical.universality == "half-stable"
    found_here = [
        C_W / K * mean(lambda z: z * mish(z) * mish_slope(z)),
        C_W * mean(lambda z: mish_slope(z) ** 2),
        (C_b + C_W * mean(lambda z: mish(z) ** 2)) / K,
    ]
    np.testing.assert_allclose(found_here, 1, atol=1e-6)
    variance = mean(lambda z: mish(z) ** 4) - mean(lambda z: mish(z) ** 2) ** 2
    assert critical.nu == pytest.approx(C_W**2 * variance / K**2, rel=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "elu", softsign])
def test_power_law_of_critical_kernels(activation):
    critical = found(activation)
    assert critical.universality == "K* = 0"
    depth, near = 2000, critical.near_zero
    assert near is not None
    K = np.asarray(mean_kernels(Architecture(activation, depth, C_W=critical.C_W), 1.0)[0])
    # deep down, 1/K^(1/p_K) grows by -a1/p_K a layer, as exactly as the next order is small
    growth = np.diff(K[[depth // 2, -1]] ** (-1 / critical.p_K))[0] / (depth / 2 - 1)
    assert growth == pytest.approx(-near.a1 / critical.p_K, rel=0.02)
    assert near.order == (1 if activation == "tanh" else 0.5)


@pytest.mark.long
def test_kernel_variance_grows_as_nu():
    critical, depth = found("elu"), 1000
    fluctuation = fluctuations(Architecture("elu", depth, 1, C_W=critical.C_W), 1.0)
    relative = np.asarray(fluctuation.V / fluctuation.K**2)
    growth = (relative[-1] - relative[depth // 2]) / (depth - 1 - depth // 2)
    assert growth == pytest.approx(critical.nu, rel=0.03)
    critical = found("gelu")
    net = Architecture("gelu", 5, 1, C_b=critical.C_b, C_W=critical.C_W)
    fluctuation = fluctuations(net, (critical.K - critical.C_b) / critical.C_W)
    np.testing.assert_allclose(
        fluctuation.V / fluctuation.K**2, critical.nu * np.arange(5), rtol=1e-4
    )


def shrunk(z):
    """The soft threshold at 1/2."""
    return jnp.sign(z) * jax.nn.relu(jnp.abs(z) - 0.5)


@pytest.mark.long
@pytest.mark.core
@pytest.mark.parametrize(
    ("activation", "c", "sides"), [(lambda z: jax.nn.relu(z - 1), 1.0, 1), (shrunk, 0.5, 2)]
)
def test_every_kernel_is_critical_where_the_kinks_are_zeros(activation, c, sides):
    whole = criticality(activation)
    assert whole.universality == "family"
    assert np.isnan([whole.K, whole.C_b, whole.C_W, whole.nu]).all()
    for K in (0.3, 2.0):
        member = criticality(activation, K=K)
        # <(z - c)_+^p> of z ~ N(0, K)
        h, root = c / np.sqrt(K), np.sqrt(K)
        tail, bell = stats.norm.sf(h), stats.norm.pdf(h)
        square = K * ((1 + h**2) * tail - h * bell)
        fourth = K**2 * ((h**4 + 6 * h**2 + 3) * tail - (h**3 + 5 * h) * bell)
        C_W = 1 / (sides * tail)
        exact = (K, K - C_W * sides * square, C_W)
        np.testing.assert_allclose((member.K, member.C_b, member.C_W), exact, rtol=3e-6)
        variance = sides * fourth - (sides * square) ** 2
        assert member.nu == pytest.approx(C_W**2 * variance / K**2, rel=1e-5)
        assert member.stable == "from below"
        # <z s s'> / K = <s'^2>: chi_par = chi_perp = 1
        assert K * tail == pytest.approx(square + c * (root * bell - c * tail), rel=1e-12)
    with pytest.raises(ValueError, match=r"K = -1.0: must be a finite number > 0"):
        criticality(activation, K=-1.0)


@pytest.mark.long
@pytest.mark.core
def test_a_kernel_to_choose_needs_a_family():
    with pytest.raises(ValueError, match=r"K = 1\.0: must be None: only a family"):
        criticality("gelu", K=1.0)
    # of relu(z + 1) every K would need C_b < 0
    assert criticality(lambda z: jax.nn.relu(z + 1)).universality == "none"


def test_no_power_law_without_curvature():
    critical = found("hard_tanh")
    assert critical.universality == "K* = 0"
    assert pytest.approx(1) == critical.C_W
    assert critical.near_zero is not None
    assert critical.near_zero.a1 == 0
    assert np.isnan([critical.p_perp, critical.nu]).all()


@pytest.mark.core
def test_units_of_the_input_do_not_matter():
    critical, wide = found("tanh"), criticality(lambda z: jnp.tanh(z / 10))
    assert wide.universality == critical.universality
    assert pytest.approx(100 * critical.C_W, rel=1e-6) == wide.C_W
    near, far = critical.near_zero, wide.near_zero
    assert near is not None
    assert far is not None
    assert far.a1 == pytest.approx(near.a1 / 100, rel=1e-6)


@pytest.mark.core
def test_under_jit_it_is_still_found_on_the_host():
    def tilted(x):
        return x * criticality("gelu").C_W

    assert jax.jit(tilted)(1.0) == pytest.approx(found("gelu").C_W)


@pytest.mark.core
def test_bad_activation():
    with pytest.raises(ValueError, match="one of linear"):
        criticality("gleu")
