"""Closed forms against the recursions and finite networks; the aspect ratio's few numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from preactivations import kernels, relu, variance_and_error

from nsh.activations import as_activation, leaky_relu
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.aspect_ratio import (
    depth_to_width,
    effective_complexity,
    mutual_information,
    optimal_aspect_ratio,
)
from nsh.theory.effective.finite_width.closed_forms import (
    scale_invariant_fluctuations,
    scale_invariant_vertex,
    slope_moments,
    vanishing_kernel_asymptotics,
)
from nsh.theory.effective.finite_width.fluctuations import fluctuations


@pytest.mark.core
@pytest.mark.parametrize("activation", ["linear", "relu", leaky_relu(0.3)])
def test_closed_forms_are_the_recursions(activation):
    A2, _ = slope_moments(as_activation(activation))
    rates = {"lambda_b": 0.4, "lambda_W": 1.2}
    closed = scale_invariant_fluctuations(activation, 7, 50, 0.7, **rates)
    found = fluctuations(Architecture(activation, 7, 50, C_W=1 / A2, **rates), 0.7)
    tolerance = 1e-11 if jax.config.read("jax_enable_x64") else 3e-5
    for name, value in vars(closed).items():
        np.testing.assert_allclose(
            getattr(found, name), value, rtol=tolerance, atol=tolerance / 10, err_msg=name
        )


def test_exact_vertex_has_the_recursion_as_its_first_order():
    """Unequal, huge widths; C_W off criticality, and different in every layer."""
    C_W = jnp.asarray([1.1, 2.3, 1.7, 2.0])
    architecture = Architecture(leaky_relu(-0.5), 4, (10**6, 3 * 10**6, 10**7), C_W=C_W)
    first = fluctuations(architecture, 0.9)
    np.testing.assert_allclose(scale_invariant_vertex(architecture, 0.9), first.V, rtol=3e-5)


def test_exact_vertex_at_small_widths():
    widths = (9, 17, 40)
    G, _ = kernels(relu, widths, 0.5, C_W=2.0, networks=200_000)
    value, error = variance_and_error(G)
    exact = float(scale_invariant_vertex(Architecture("relu", 4, widths, C_W=2.0), 0.25)[-1])
    first = float(fluctuations(Architecture("relu", 4, widths, C_W=2.0), 0.25).V[-1])
    assert abs(value - exact) < 4 * error
    assert abs(value - first) > 4 * error  # so the difference shows


@pytest.mark.long
def test_vanishing_kernels_deep():
    depth = 4000
    K, V = vanishing_kernel_asymptotics("tanh", depth, 100)
    found = fluctuations(Architecture("tanh", depth, 100), 1.0)
    np.testing.assert_allclose(found.K[-1], K[-1], rtol=5e-3)
    np.testing.assert_allclose(found.V[-1] / found.K[-1] ** 2, V[-1] / K[-1] ** 2, rtol=5e-3)
    for name in ("relu", "gelu", "softplus", "hard_tanh"):
        with pytest.raises(ValueError, match=f"activation = '{name}'"):
            vanishing_kernel_asymptotics(name, 3, 10)


@pytest.mark.core
def test_growth_and_ratio():
    architecture = Architecture("relu", 4, (10, 20, 40))
    assert depth_to_width(architecture) == pytest.approx(0.175)
    assert effective_complexity(architecture) == pytest.approx(0.875)
    with pytest.raises(ValueError, match="widths = None"):
        effective_complexity(Architecture("relu", 4))


@pytest.mark.long
def test_complexity_is_that_of_the_depth_asked():
    """relu6 differs from ReLU where kernels reach 6: its nu/3 comes after 10^7 layers."""
    K, v, u = 2.0, 0.0, np.linspace(-9, 9, 20_001)
    bell = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi) * (u[1] - u[0])
    for _ in range(50):
        z = np.sqrt(K) * u
        s2, ramp = np.clip(z, 0, 6) ** 2, np.where((z > 0) & (z < 6), z**2, 0)
        g = bell @ s2
        v = ((bell @ s2**2 - g**2) / 100 + (bell @ ramp) ** 2 * v) / g**2
        K = 2 * g
    assert 2.4 < v < 2.5
    found = [
        effective_complexity(Architecture(jax.nn.relu6, 51, 100, C_W=2.0), x2) for x2 in (1.0, 0.1)
    ]
    np.testing.assert_allclose(found, [v, 5 * 0.5], rtol=2e-4)


def test_complexity_of_kernels_out_of_range():
    deep = Architecture("relu", 400, 10, C_W=0.5)
    if deep.C_W.dtype == jnp.float32:
        with pytest.raises(ValueError, match=r"K of the output = 0\.0: must be in the range"):
            effective_complexity(deep)


@pytest.mark.core
def test_optimal_ratio_is_where_the_truncated_information_is_largest():
    nu, outputs = 5.0, (1, 2)
    best = optimal_aspect_ratio(nu, sum(outputs))
    np.testing.assert_allclose(best, 4 / (29 * 5), rtol=1e-6)
    slope = jax.grad(lambda r: mutual_information(nu * r, outputs))
    np.testing.assert_allclose(slope(best), 0, atol=1e-6)
    assert slope(0.9 * best) > 0 > slope(1.1 * best)
    for bad in ((-0.1, (1, 1)), (0.1, (0, 1))):
        with pytest.raises(ValueError, match=r"v = |outputs\[0\]"):
            mutual_information(*bad)
    with pytest.raises(ValueError, match="nu = 0"):
        optimal_aspect_ratio(0.0, 1)


def test_information_of_an_explicit_mixture_begins_as_the_series():
    """z = sqrt(G) eps, G with mean 1 and small variance v: I -> v^2 / 8, from the joint density."""
    v = 0.01
    G, share = np.array([1 - v**0.5, 1 + v**0.5]), np.array([0.5, 0.5])
    z = np.linspace(-9, 9, 901)

    def density(square, power):
        return sum(
            p * np.exp(-square / (2 * g)) / (2 * np.pi * g) ** power
            for p, g in zip(share, G, strict=True)
        )

    joint = density(z[:, None] ** 2 + z**2, 1)
    single = density(z**2, 0.5)
    exact = np.sum(joint * np.log(joint / np.outer(single, single))) * (z[1] - z[0]) ** 2
    np.testing.assert_allclose(mutual_information(v), exact, rtol=0.06)
    np.testing.assert_allclose(v**2 / 8, exact, rtol=0.06)


@pytest.mark.core
def test_bad_input():
    with pytest.raises(ValueError, match="activation = 'tanh'"):
        scale_invariant_fluctuations("tanh", 3, 10, 1.0)
    with pytest.raises(ValueError, match="width = 0"):
        scale_invariant_fluctuations("relu", 3, 0, 1.0)
    with pytest.raises(ValueError, match="lambda_b"):
        scale_invariant_fluctuations("relu", 3, 10, 1.0, lambda_b=jnp.ones(3))
    with pytest.raises(ValueError, match="C_b"):
        scale_invariant_vertex(Architecture("relu", 3, 10, C_b=0.1), 1.0)
    with pytest.raises(ValueError, match="gamma"):
        scale_invariant_vertex(Architecture("relu", 3, 10, gamma=0.1), 1.0)
