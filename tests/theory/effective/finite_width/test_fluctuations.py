"""The recursions against reference values, a NumPy oracle, finite networks and differences."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways
from preactivations import kernels, mean_and_error, variance_and_error

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.fluctuations import fluctuations
from nsh.theory.effective.means import mean_kernels
from nsh.theory.effective.samples.sampler import output_samples

compiled = jax.jit(fluctuations)
FIELDS = ("K", "Theta", "V", "G1", "A", "B", "D", "F", "P", "Q")
GELU = {"C_b": 0.17292239, "C_W": 1.98305826}

# depth, x2, hyperparameters; n times V, A, B, D, F (and P, Q) of the last layer
REFERENCES = [
    ("relu", 5, 0.5, {"C_W": 2.0, "lambda_b": 0.5}, (20, 87.5, 60, 35, 20)),
    ("relu", 4, 0.5, {"C_W": 2.0, "lambda_b": 0.5}, (15, None, None, None, None, 0, 10)),
    (
        "relu",
        10,
        0.5,
        {"C_W": 2.0, "lambda_b": 0.1, "lambda_W": 0.1},
        (45, 12.45, 12.825, 18, 13.5),
    ),
    ("tanh", 5, 1.0, {"lambda_b": 0.5}, (0.0394, 0.498, 4.105, -0.1248, 0.192)),
    ("tanh", 4, 1.0, {"lambda_b": 0.5}, (None, None, None, None, None, -0.760, -0.340)),
    (
        "tanh",
        4,
        0.7,
        {"C_b": 0.2, "C_W": 1.5, "lambda_b": 0.3, "lambda_W": 1.1},
        (0.2186, 0.729, 4.089, -0.350, 0.350),
    ),
    ("gelu", 5, 1.2, GELU | {"lambda_W": 0.7}, (126.3, 356.5, 193.8, 183.4, 93.1)),
]


@pytest.mark.core
@pytest.mark.parametrize(("activation", "depth", "x2", "hyper", "expected"), REFERENCES)
def test_reference_values(activation, depth, x2, hyper, expected):
    # deeper than asked for, so that one program serves all depths
    found = compiled(Architecture(activation, 10, 50, **hyper), x2)
    for name, value in zip("VABDFPQ", expected, strict=False):
        if value is not None:
            np.testing.assert_allclose(
                50 * getattr(found, name)[depth - 1], value, rtol=3e-3, atol=1e-5, err_msg=name
            )


def test_the_first_layer_is_gaussian():
    found = fluctuations(Architecture("tanh", 1, (), C_b=0.5, C_W=2.0, lambda_W=3.0), 0.25)
    assert [float(getattr(found, name)[0]) for name in FIELDS] == [1.0, 1.75] + [0.0] * 8


class Oracle:
    """The sheet's recursions, term by term, on a fine trapezoid grid in 64-bit NumPy."""

    def __init__(self, s, s1, s2):
        self.s, self.s1, self.s2 = s, s1, s2

    def layers(self, x2, widths, C_b, C_W, lambda_b, lambda_W):
        K, Theta = C_b[0] + C_W[0] * x2, lambda_b[0] + lambda_W[0] * x2
        V = G1 = A = B = D = F = P = Q = 0.0
        rows = [(K, Theta, V, G1, A, B, D, F, P, Q)]
        u = np.linspace(-11, 11, 8001)
        for n, b, W, lb, lW in zip(
            widths, C_b[1:], C_W[1:], lambda_b[1:], lambda_W[1:], strict=True
        ):

            def mean(values):
                return np.sum(values * np.exp(-(u**2) / 2)) * (u[1] - u[0]) / np.sqrt(2 * np.pi)

            z = np.sqrt(K) * u
            s, s1, s2 = self.s(z), self.s1(z), self.s2(z)
            g = mean(s**2)
            parallel = W / (2 * K**2) * mean(s**2 * (z**2 - K))
            perpendicular = W * mean(s1**2)
            h = W / (4 * K**2) * mean(s1**2 * (z**2 - K))
            g2 = mean(s**2 * (z**4 / K**2 - 6 * z**2 / K + 3)) / (4 * K**2)
            Omega = lW * s**2 + W * s1**2 * Theta
            Omega_K = lW * parallel / W + 2 * h * Theta
            bent = W**2 * mean(s * s1**2 * s2) * Theta**2
            new = (
                b + W * g,
                lb + lW * g + perpendicular * Theta,
                W**2 * (mean(s**4) - g**2) / n + parallel**2 * V,
                parallel * G1 + W * g2 * V / 2,
                (mean(Omega**2) - mean(Omega) ** 2) / n
                + perpendicular**2 * A
                + 2 * perpendicular * Omega_K * D
                + Omega_K**2 * V,
                W**2 * mean(s1**4) * Theta**2 / n + perpendicular**2 * B,
                W * (mean(s**2 * Omega) - g * mean(Omega)) / n
                + parallel * (Omega_K * V + perpendicular * D),
                W**2 * mean(s**2 * s1**2) * Theta / n + parallel**2 * F,
                bent / n + perpendicular * (W * mean(s * s2) * B + parallel * P),
                (bent + lW * W * mean(s**2 * s1**2) * Theta) / n
                + parallel * perpendicular * Q
                + (2 * h * Theta * parallel + lW * parallel**2 / W) * F,
            )
            K, Theta, V, G1, A, B, D, F, P, Q = new
            rows.append(new)
        return np.array(rows).T


def test_against_an_oracle_with_every_layer_different():
    oracle = Oracle(
        np.tanh, lambda z: 1 / np.cosh(z) ** 2, lambda z: -2 * np.tanh(z) / np.cosh(z) ** 2
    )
    hyper = {
        "C_b": (0.1, 0.3, 0.05, 0.2),
        "C_W": (1.3, 0.8, 2.0, 1.1),
        "lambda_b": (0.4, 1.0, 0.2, 0.7),
        "lambda_W": (1.1, 0.3, 0.9, 0.5),
    }
    found = fluctuations(
        Architecture("tanh", 4, (7, 20, 11), **{k: jnp.asarray(v) for k, v in hyper.items()}), 0.8
    )
    expected = oracle.layers(0.8, (7, 20, 11), *hyper.values())
    x64 = jax.config.read("jax_enable_x64")
    for name, values in zip(FIELDS, expected, strict=True):
        np.testing.assert_allclose(
            getattr(found, name), values, rtol=1e-10 if x64 else 2e-4, atol=1e-7, err_msg=name
        )


@pytest.mark.parametrize(
    ("activation", "hyper", "K1"), [(np.tanh, {"C_b": 0.1, "C_W": 1.4}, 0.9), (np.sin, {}, 0.7)]
)
def test_finite_networks_have_this_V_and_G1(activation, hyper, K1):
    """E[G] = K + G1 and Var G = V, both to first order: extrapolated from widths n and 2n."""
    n = 16
    found = {}
    for seed, width in enumerate((n, 2 * n)):
        G, _ = kernels(activation, (width,) * 3, K1, **hyper, networks=100_000, seed=seed)
        found[width] = mean_and_error(G), variance_and_error(G)
    x2 = (K1 - hyper.get("C_b", 0.0)) / hyper.get("C_W", 1.0)
    theory = fluctuations(Architecture(activation.__name__, 4, 1, **hyper), x2)
    targets = (float(theory.K[-1]), float(theory.G1[-1])), (0.0, float(theory.V[-1]))
    for (limit, first), narrow, wide in zip(targets, found[n], found[2 * n], strict=True):
        # f(n) = limit + first / n + O(1 / n^2)
        value = 4 * n * (wide[0] - limit) - n * (narrow[0] - limit)
        error = n * np.hypot(4 * wide[1], narrow[1])
        assert abs(value - first) < 4 * error
        assert error < 0.25 * abs(first)


def test_means_agree_and_take_skips():
    architecture = Architecture("gelu", 10, 50, **GELU, lambda_b=0.3, lambda_W=0.8)
    K, Theta = mean_kernels(architecture, 1.1)
    both = compiled(architecture, 1.1)
    np.testing.assert_allclose(K, both.K, rtol=1e-6)
    np.testing.assert_allclose(Theta, both.Theta, rtol=1e-6)
    K, Theta = mean_kernels(Architecture("relu", 6, C_W=1.5, gamma=0.5), 1.0)
    np.testing.assert_allclose(K, 1.5 * np.ones(6), rtol=1e-5)
    np.testing.assert_allclose(Theta, 2 + 1.75 * np.arange(6), rtol=1e-5)


@pytest.mark.long
def test_of_kinked_activations_and_by_every_hyperparameter_it_is_differentiable():
    def last(C_b, C_W, lambda_b, lambda_W, x2):
        architecture = Architecture(
            "elu", 4, (6, 8, 7), C_b=C_b, C_W=C_W, lambda_b=lambda_b, lambda_W=lambda_W
        )
        return fluctuations(architecture, x2)

    full = np.full(4, 1.0)
    check_three_ways(last, 0.2 * full, 1.4 * full, 0.5 * full, full, np.array(0.8))


def test_jit_and_vmap_over_inputs_and_hyperparameters():
    def of(C_W, x2):
        return fluctuations(Architecture("relu", 5, 30, C_W=C_W), x2)

    C_W, x2 = jnp.asarray([1.0, 2.0, 2.5]), jnp.asarray([0.5, 1.0, 2.0])
    many = jax.jit(jax.vmap(of))(C_W, x2)
    assert many.V.shape == (3, 5)
    one = of(2.0, 1.0)
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(many, name)[1], getattr(one, name), rtol=1e-4, atol=1e-6, err_msg=name
        )


def test_a_known_architecture_inside_jit():
    # operations inside trace even what is known outside: checks must not use any
    known = Architecture("tanh", 3, 10)

    def of_both(x2):
        samples = output_samples(known, x2, jax.random.key(0), seeds=2)
        return fluctuations(known, x2).V, samples.outputs

    V, outputs = jax.eval_shape(of_both, jnp.ones(()))
    assert V.shape == (3,)
    assert outputs.shape == (2, 2)


@np.errstate(over="ignore")
@pytest.mark.parametrize("C_W", [0.05, 30.0])
def test_deep_off_criticality_there_are_limits(C_W):
    """Of relu: V = 5 (l - 1) K^2 / n as far as floats reach, then 0 or infinity, never NaN."""
    found = compiled(Architecture("relu", 300, 10, C_W=C_W), 0.5)
    layer = np.arange(300)
    exact = layer / 2 * (C_W / 2 * (C_W / 2) ** layer) ** 2
    limits = jnp.finfo(found.V.dtype)
    within = (exact > 1e3 * float(limits.tiny)) & (exact < float(limits.max) / 1e3)
    np.testing.assert_allclose(found.V[within], exact[within], rtol=1e-3)
    for name in FIELDS:
        assert not np.any(np.isnan(getattr(found, name))), name
    end = 0.0 if C_W < 2 else np.inf
    assert [found.K[-1], found.V[-1], found.D[-1], found.P[-1]] == [end, end, end, 0.0]


@pytest.mark.core
def test_bad_input():
    def message(x2: Any = 1.0, widths: int | None = 10, **hyper):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            fluctuations(Architecture("relu", 3, widths, **hyper), x2)
        return str(error.value)

    assert "x2 = -1.0" in message(-1.0)
    assert "x2 = nan" in message(float("nan"))
    assert "x2 = inf" in message(float("inf"))
    assert "x2.shape = (2,)" in message(jnp.ones(2))
    assert "C_b + C_W x2 of layer 1 = 0.0" in message(0.0)
    assert "widths" in message(widths=None)
    assert "gamma = 0.5" in message(gamma=0.5)
    assert "residual_vertex" in message(gamma=0.5)


def test_traced_bad_input_is_nan_not_a_number():
    @jax.jit
    def of(gamma, x2):
        return fluctuations(Architecture("relu", 3, 10, gamma=gamma), x2).V

    assert np.isnan(of(0.5, 1.0)).all()
    assert np.isnan(of(0.0, -0.5)[1:]).all()
    assert np.isfinite(of(0.0, 0.5)).all()
