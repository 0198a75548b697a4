"""Fixed points and depths, against plain iteration of the layers and closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways
from hypothesis import given, settings
from hypothesis import strategies as st

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.critical.depth_scales import depth_scales, fixed_point, phase_diagram
from nsh.theory.effective.critical.perturbation_growth import perturbation_growth

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(100)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
X64 = jax.config.read("jax_enable_x64")


@functools.cache
def compiled(activation):
    return jax.jit(lambda C_b, C_W, start: depth_scales(activation, C_b, C_W, start))


def iterated(C_b, C_W, K, layers=3000):
    """tanh's kernel after many layers."""
    for _ in range(layers):
        K = C_b + C_W * WEIGHTS @ np.tanh(np.sqrt(K) * NODES) ** 2
    return K


@pytest.mark.core
@settings(max_examples=10, deadline=None, derandomize=True)
@given(C_b=st.floats(0.01, 2), C_W=st.floats(0.1, 3), start=st.floats(0.01, 20))
def test_as_iteration_comes_to(C_b, C_W, start):
    found = compiled("tanh")(C_b, C_W, start)
    assert pytest.approx(iterated(C_b, C_W, start), rel=2e-5) == found.K
    slope = 1 - np.tanh(np.sqrt(float(found.K)) * NODES) ** 2
    assert found.perpendicular == pytest.approx(C_W * WEIGHTS @ slope**2, rel=1e-4)


@pytest.mark.core
def test_relu_exactly():
    run = compiled("relu")
    for C_b, C_W in ((0.1, 1.5), (1.0, 1.9), (0.3, 0.2)):
        found = run(C_b, C_W, 1.0)
        np.testing.assert_allclose(found.K, C_b / (1 - C_W / 2), rtol=1e-5)
        assert found.parallel == pytest.approx(C_W / 2, rel=1e-5)
        assert found.xi_perpendicular == pytest.approx(-1 / np.log(C_W / 2), rel=1e-4)
    exploding, vanishing, critical = run(0.0, 3.0, 1.0), run(0.0, 1.0, 1.0), run(0.0, 2.0, 7.5)
    assert np.isinf(exploding.K)
    assert vanishing.K == 0
    assert critical.K == 7.5
    assert exploding.parallel == pytest.approx(1.5, rel=1e-5)
    assert vanishing.perpendicular == pytest.approx(0.5, rel=1e-5)
    assert min(critical.xi_parallel, critical.xi_perpendicular) > 1e6


@pytest.mark.core
def test_critical_and_slowly_exploding_kernels():
    assert compiled("tanh")(0.0, 1.0, 1.0).K == 0
    assert compiled("tanh")(0.0, 1.0, 1.0).xi_perpendicular > 1e6
    # grows by about one a layer, which rounding swallows only far out
    assert np.isinf(compiled("elu")(0.0, 2.0, 1.0).K)


def test_depths_are_those_of_the_layers():
    C_b, C_W = 0.1, 1.6
    found = compiled("tanh")(C_b, C_W, 1.0)
    net = Architecture("tanh", 30, C_b=C_b, C_W=C_W)
    near = perturbation_growth(net, found.K, 1e-3, 1e-4)
    layers = np.arange(30)
    np.testing.assert_allclose(
        near.norm, 1e-3 * np.exp(-layers / float(found.xi_parallel)), rtol=1e-3
    )
    far = perturbation_growth(net, found.K, 0.0, 1e-4)
    np.testing.assert_allclose(
        far.distance, 1e-4 * np.exp(-layers / float(found.xi_perpendicular)), rtol=1e-3
    )


def test_phase_diagram_is_depth_scales_everywhere():
    C_b, C_W = jnp.asarray([0.0, 0.3]), jnp.asarray([0.5, 1.0, 2.5])
    diagram = jax.jit(lambda b, W: phase_diagram("tanh", b, W))(C_b, C_W)
    for i, b in enumerate(C_b):
        for j, W in enumerate(C_W):
            one = compiled("tanh")(b, W, 1.0)
            for many, single in zip(jax.tree.leaves(diagram), jax.tree.leaves(one), strict=True):
                np.testing.assert_allclose(many[i, j], single, rtol=1e-5, atol=1e-9)
    assert np.all(np.asarray(diagram.perpendicular)[0] > 1) == np.False_
    assert diagram.perpendicular[0, 2] > 1 > diagram.perpendicular[1, 0]


def test_derivatives():
    def K(C_b, C_W):
        return fixed_point("tanh", C_b, C_W)

    check_three_ways(K, np.asarray(0.2), np.asarray(1.7))
    found = compiled("tanh")(0.2, 1.7, 1.0)
    by_C_b = jax.jit(jax.grad(K))(0.2, 1.7)
    assert by_C_b == pytest.approx(1 / (1 - float(found.parallel)), rel=1e-4)


@pytest.mark.core
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 1.0), r"C_b = -0.1\d*: must be finite and >= 0"),
        ((0.0, -1.0), "C_W = -1.0: must be finite and >= 0"),
        ((0.0, np.nan), "C_W = nan"),
        ((0.0, 1.0, 0.0), "K1 = 0.0: must be finite and > 0"),
        ((np.zeros(2), 1.0), r"C_b.shape = \(2,\)"),
    ],
)
def test_bad_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        depth_scales("tanh", *arguments)
    if "shape" not in message:
        with pytest.raises(ValueError, match=message):
            fixed_point("tanh", *arguments)


@pytest.mark.core
def test_bad_grid():
    with pytest.raises(ValueError, match=r"C_W\[1\] = -2.0"):
        phase_diagram("tanh", jnp.asarray([0.0]), jnp.asarray([1.0, -2.0]))
