"""Each layer's contribution to the tangent kernel, and learning rates that make them equal."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.critical.criticality import criticality
from nsh.theory.effective.critical.learning_rates import contributions, critical_rates, equal_rates
from nsh.theory.effective.means import mean_kernels

DEPTH = 12


def network(**more):
    given = {"C_b": 0.1, "C_W": np.linspace(1.2, 1.8, DEPTH), "gamma": 0.2}
    rates = {"lambda_b": np.linspace(0.5, 1, DEPTH), "lambda_W": np.linspace(2, 1, DEPTH)}
    return Architecture("tanh", DEPTH, **{**given, **rates, **more})


@pytest.mark.long
def test_contributions_are_derivatives_of_the_tangent_kernel():
    net = network()

    def last(lambda_b, lambda_W):
        rated = eqx.tree_at(lambda n: (n.lambda_b, n.lambda_W), net, (lambda_b, lambda_W))
        return mean_kernels(rated, 0.7)[1][-1]

    by_b, by_W = jax.grad(last, (0, 1))(net.lambda_b, net.lambda_W)
    found = contributions(net, 0.7)
    np.testing.assert_allclose(found.biases, net.lambda_b * by_b, rtol=1e-5)
    np.testing.assert_allclose(found.weights, net.lambda_W * by_W, rtol=1e-5)
    total = found.biases.sum() + found.weights.sum()
    assert total == pytest.approx(float(last(net.lambda_b, net.lambda_W)), rel=1e-5)


@pytest.mark.core
def test_equal_rates_make_them_equal():
    rates = equal_rates(network(), 0.7, lambda_b=3.0, lambda_W=2.0)
    found = contributions(network(**rates), 0.7)
    np.testing.assert_allclose(found.biases, 3 / DEPTH, rtol=1e-5)
    np.testing.assert_allclose(found.weights, 2 / DEPTH, rtol=1e-5)
    assert mean_kernels(network(**rates), 0.7)[1][-1] == pytest.approx(5, rel=1e-5)


def test_critical_law_where_it_is_exact():
    critical = criticality("gelu")
    rates = critical_rates(critical, 20)
    net = Architecture("gelu", 20, C_b=critical.C_b, C_W=critical.C_W, **rates)
    found = contributions(net, (critical.K - critical.C_b) / critical.C_W)
    np.testing.assert_allclose(found.biases, 1 / 20, rtol=1e-4)
    np.testing.assert_allclose(found.weights, found.weights[0], rtol=1e-4)
    assert critical_rates(criticality("relu"), 20)["lambda_W"] == pytest.approx(np.full(20, 1 / 20))


@pytest.mark.parametrize(("name", "weights"), [("tanh", 1 / 2), ("selu", None)])
def test_critical_law_deep_in_the_network(name, weights):
    critical, depth = criticality(name), 1000
    rates = critical_rates(critical, depth)
    found = contributions(Architecture(name, depth, C_W=critical.C_W, **rates), 0.1)
    half = slice(depth // 4, None)
    biases, signal = depth * np.asarray(found.biases)[half], depth * np.asarray(found.weights)[half]
    np.testing.assert_allclose(biases, 1, rtol=0.06)
    # without the law they would differ by factors of 4 and more
    np.testing.assert_allclose(signal, signal[-1], rtol=0.06)
    if weights is not None:
        np.testing.assert_allclose(signal, weights, rtol=0.06)


@pytest.mark.core
def test_shifted_function_has_its_own_power():
    critical = criticality(lambda z: jnp.tanh(z + 0.3) - jnp.tanh(0.3))
    rates = critical_rates(critical, 9)
    p, layer = critical.p_perp, np.arange(1, 10)
    assert abs(p - 1) > 0.05
    np.testing.assert_allclose(rates["lambda_b"], layer**-p * 9 ** (p - 1), rtol=1e-5)
    np.testing.assert_allclose(rates["lambda_W"], (9 / layer) ** (p - 1), rtol=1e-5)


@pytest.mark.core
def test_bad_input():
    for name in ("sigmoid", "hard_tanh"):
        with pytest.raises(ValueError, match=f"activation = '{name}': must be one whose critical"):
            critical_rates(criticality(name), 3)
    with pytest.raises(ValueError, match="depth = 0"):
        critical_rates(criticality("relu"), 0)
    with pytest.raises(ValueError, match="x2"):
        contributions(network(), -1.0)
    with pytest.raises(ValueError, match=r"contribution of weights\[0\] = 0.0: must be > 0"):
        equal_rates(Architecture("relu", DEPTH, C_b=1.0), 0.0)


@pytest.mark.core
def test_kernels_that_leave_the_range_of_floats():
    depth, limits = 40, np.finfo(np.asarray(jnp.zeros(())).dtype)
    # kernels of ReLU halve from the smallest float on, slopes stay: <s'^2> = 1/2
    fading = contributions(Architecture("relu", depth), limits.tiny)
    np.testing.assert_allclose(fading.biases, 0.5 ** np.arange(depth)[::-1], rtol=1e-5)
    Theta = mean_kernels(Architecture("relu", depth), limits.tiny)[1]
    np.testing.assert_allclose(Theta, 2 - 0.5 ** np.arange(depth), rtol=1e-5)
    # kernels grow beyond the largest: no number then, above all not 0
    lost = contributions(Architecture("relu", depth, C_W=[0.1] + [8.0] * (depth - 1)), limits.max)
    assert not np.any(np.isfinite(lost.biases[:-1]))
