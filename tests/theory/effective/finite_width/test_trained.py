"""Trained finite networks to order 1/width: the sheet's values, limits, and finite networks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.kinked import relu_width_correction
from nsh.theory.effective.finite_width.trained import PARTS, finite_width_dynamics
from nsh.theory.effective.infinite_width.kernels import kernels
from nsh.theory.effective.prediction.dynamics import mse_dynamics

X = np.asarray([[1.0, 0.3], [-0.4, 1.2], [0.8, -0.9]])
Y = np.asarray([1.5, -1.0])
TIMES = np.asarray([0.0, 0.4, 1.6, 9.6, 1e4, np.inf])
HYPER: dict[str, Any] = {
    "gelu": {"C_b": 0.1, "C_W": 1.8, "lambda_b": 0.3, "lambda_W": 0.8},
    "tanh": {"C_b": 0.1, "C_W": 1.5, "lambda_b": 0.3, "lambda_W": 1.0},
}


def course(name, depth):
    architecture = Architecture(name, depth, 1, **HYPER[name])
    return finite_width_dynamics(architecture, X[:2], X[2:], Y, TIMES)


# activation, depth, place in TIMES, infinite width and n times the rest at x0, x1, x2,
# and the parts at x2 from Theta1, HH, O3, O4
VALUES = {
    ("gelu", 2): [
        (1, (0.46154, -0.29288, 0.34724), (-0.50072, 0.45001, -0.29975),
         (0, -0.14185, -0.22714, 0.06923)),
        (5, (1.5, -1, 1.13319), (0, 0, 1.00187), (0, 0.48471, 0.19947, 0.31769)),
    ],
    ("gelu", 3): [
        (2, (1.25922, -0.83113, 0.78612), (-3.12969, 2.59723, -0.72938),
         (0.41788, -1.24214, -1.22688, 1.32176)),
        (5, (1.5, -1, 0.93637), (0, 0, 1.78745), (0.49314, 0.72112, 0.11197, 0.46123)),
    ],
    ("tanh", 3): [
        (2, (1.2455, -0.77057, 1.15031), (-1.23401, 0.88314, -0.46574),
         (-0.02603, -0.44097, 0.0062, -0.00494)),
        (5, (1.5, -1, 1.40694), (0, 0, 1.15066), (0.00552, 0.69786, -0.02066, 0.46793)),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("gelu", 2),
        pytest.param("gelu", 3, marks=pytest.mark.long),
        pytest.param("tanh", 3, marks=pytest.mark.long),
    ],
)
def test_reference_values(name, depth):
    """And long times are the end, where nothing is left on the training inputs."""
    found = course(name, depth)
    for place, infinite, shift, parts in VALUES[name, depth]:
        of_infinite = [*found.infinite_train[place], *found.infinite_test[place]]
        np.testing.assert_allclose(of_infinite, infinite, atol=2e-5)
        both = [*found.train[place], *found.test[place]]
        np.testing.assert_allclose(np.subtract(both, of_infinite), shift, atol=6e-5)
        of_parts = [float(found.parts_test[part][place, 0]) for part in PARTS]
        np.testing.assert_allclose(of_parts, parts, atol=6e-5)
    assert max(float(np.max(one)) for one in (found.error_train, found.error_test)) < 2e-3
    parts = sum(found.parts_train.values())
    np.testing.assert_allclose(found.infinite_train + parts, found.train, atol=1e-5)
    np.testing.assert_allclose(found.test[4], found.test[5], atol=2e-4)
    np.testing.assert_allclose(found.train[4], Y, atol=2e-4)
    np.testing.assert_array_equal(found.train[0], 0.0)


def test_infinite_width():
    found = course("gelu", 2)
    of = kernels(Architecture("gelu", 2, **HYPER["gelu"]), jnp.asarray(X))
    ntk = jnp.asarray(of.ntk)
    expected = mse_dynamics(ntk[:2, :2], ntk[2:, :2], Y, TIMES)
    np.testing.assert_allclose(found.infinite_train, expected.train, atol=1e-4)
    np.testing.assert_allclose(found.infinite_test, expected.test, atol=1e-4)


@pytest.mark.long
def test_differentiable():
    def of(C_W, x, y):
        architecture = Architecture("gelu", 2, 5, C_W=C_W, C_b=0.1, lambda_b=0.3)
        found = finite_width_dynamics(architecture, x[:2], x[2:], y, [0.7, np.inf])
        return found.train, found.test

    check_three_ways(of, np.full(2, 1.4), X, Y, tolerance=1e-3)


def trained(width, y, key, x, times):
    """Outputs of one gelu network with one hidden layer at each time, averaged with its mirror."""
    hyper = HYPER["gelu"]
    C_b, C_W, lambda_b, lambda_W = (hyper[k] for k in ("C_b", "C_W", "lambda_b", "lambda_W"))
    keys, k = jax.random.split(key, 4), y.shape[1]
    start = (
        jax.random.normal(keys[0], (width, 2)) * np.sqrt(C_W / 2),
        jax.random.normal(keys[1], (width,)) * np.sqrt(C_b),
        jax.random.normal(keys[2], (k, width)) * np.sqrt(C_W / width),
        jax.random.normal(keys[3], (k,)) * np.sqrt(C_b),
    )
    rates = lambda_W / 2, lambda_b, lambda_W / width, lambda_b

    def outputs(p):
        return jax.nn.gelu(x @ p[0].T + p[1][None], approximate=False) @ p[2].T + p[3][None]

    def loss(p):
        return jnp.sum((outputs(p)[: len(y)] - y) ** 2) / 2

    def velocity(p):
        return [-rate * g for rate, g in zip(rates, jax.grad(loss)(p), strict=True)]

    def moved(p, v, h):
        return tuple(one + h * slope for one, slope in zip(p, v, strict=True))

    h = times[0] / 4

    def step(p, _):
        a = velocity(p)
        b = velocity(moved(p, a, h / 2))
        c = velocity(moved(p, b, h / 2))
        d = velocity(moved(p, c, h))
        total = [(i + 2 * j + 2 * k + m) / 6 for i, j, k, m in zip(a, b, c, d, strict=True)]
        p = moved(p, total, h)
        return p, outputs(p)

    def path(sign):
        p = (start[0], start[1], sign * start[2], sign * start[3])
        at = jax.lax.scan(step, p, None, length=round(times[-1] / h))[1]
        return at[np.round(times / h).astype(int) - 1]

    return (path(1.0) + path(-1.0)) / 2


@pytest.mark.long
@pytest.mark.optimised
def test_finite_networks_with_two_outputs():
    """n (E f_n - f_inf) from the widths n and 2n; networks come with their mirrors."""
    y, times = np.asarray([[1.5, 0.5], [-1.0, 1.2]]), np.asarray([0.4, 1.6, 4.8])
    found = []
    for width in (16, 32):
        of = jax.jit(
            jax.vmap(lambda key, width=width: trained(width, jnp.asarray(y), key, X, times))
        )
        keys = jax.random.split(jax.random.key(width), 8_000).reshape(-1, 1000)
        found.append(np.concatenate([np.asarray(of(part)) for part in keys]))
    architecture = Architecture("gelu", 2, 1, **HYPER["gelu"])
    theory = finite_width_dynamics(architecture, X[:2], X[2:], y, times)
    infinite = np.concatenate([theory.infinite_train, theory.infinite_test], 1)
    expected = np.concatenate([theory.train, theory.test], 1) - infinite
    (narrow, narrow_error), (wide, wide_error) = (
        (n * (f.mean(0) - infinite), n * f.std(0) / np.sqrt(len(f)))
        for n, f in zip((16, 32), found, strict=True)
    )
    value, error = 2 * wide - narrow, np.hypot(2 * wide_error, narrow_error)
    assert np.max(np.abs(value - expected) / error) < 4
    assert np.median(error) < 0.3


@pytest.mark.core
def test_the_law_of_a_shallow_relu_network():
    found = relu_width_correction(3.0, [0.0, 0.25, 0.5, 1.0, np.inf], width=1)
    np.testing.assert_allclose(found, [0, -0.1130, -0.2366, -0.2686, 0], atol=5e-5)
    np.testing.assert_allclose(
        relu_width_correction(3.0, 0.25, width=256), found[1] / 16, rtol=1e-5
    )
    slope = jax.grad(lambda y: relu_width_correction(y, 0.5, width=4))(jnp.asarray(3.0))
    step = 1e-2
    ends = [relu_width_correction(3.0 + side * step, 0.5, width=4) for side in (1, -1)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-2)
    with pytest.raises(ValueError, match="width = 0"):
        relu_width_correction(3.0, 0.5, width=0)
    with pytest.raises(ValueError, match="times"):
        relu_width_correction(3.0, [-1.0], width=2)


@pytest.mark.core
def test_bad_input():
    def message(name="tanh", x_test=X[2:], y=Y, times=1.0):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            finite_width_dynamics(Architecture(name, 2, 5, C_b=0.1), X[:2], x_test, y, times)
        return str(error.value)

    assert "activation = 'relu'" in message("relu")
    assert "x_test.shape = (1, 3)" in message(x_test=np.ones((1, 3)))
    assert "y.shape = (3,)" in message(y=np.ones(3))
    assert "times = -1.0" in message(times=-1.0)
