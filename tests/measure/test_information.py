from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_tools import KEY, Linear, gaussian_mixture_information, measure, normal, on_a_line

from nsh.measure import Noise, information, level_information
from nsh.measure import _tools as tools
from nsh.measure.bounds import Bounds
from nsh.measure.information import _consistent

pytestmark = pytest.mark.core
UNIT = Noise(fixed=1.0, relative=0.0)


@pytest.mark.parametrize("distance", [0.3, 1.0, 2.5, 5.0])
def test_two_gaussians_match_quadrature(distance):
    exact, _ = gaussian_mixture_information([0, distance], [0, 1])
    found = measure(on_a_line([0, distance]), [0, 1], UNIT, samples=4000)
    assert abs(found.input - exact) < 4 * found.input_error + 1e-5
    assert abs(found.label - exact) < 4 * found.label_error + 1e-5
    assert 0 < found.input_error < 0.02
    assert found.consistent


def test_classes_match_quadrature_even_unequal_and_with_an_empty_one():
    centres, labels = [0.0, 1.0, 1.5, 4.0, 6.0], [0, 0, 2, 2, 2]
    exact_input, exact_label = gaussian_mixture_information(centres, labels)
    found = measure(on_a_line(centres), labels, UNIT, classes=4, samples=2000)
    assert abs(found.input - exact_input) < 4 * found.input_error
    assert abs(found.label - exact_label) < 4 * found.label_error
    assert found.label_error < 0.02
    assert found.consistent
    assert not found.saturated


@pytest.mark.thorough
def test_several_dimensions_match_an_independent_simulation():
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(6, 3)) * 1.5, np.array([0, 1, 2, 0, 1, 2])
    sigma = np.hypot(0.3, 0.1 * np.abs(features).max())
    gains = []
    for _ in range(1000):
        for i in range(6):
            t = features[i] + sigma * generator.normal(size=3)
            density = np.exp(-np.sum((t - features) ** 2, axis=1) / 2 / sigma**2)
            own_class = density[labels == labels[i]].mean()
            gains.append([np.log2(x / density.mean()) for x in (density[i], own_class)])
    mean, error = np.mean(gains, axis=0), np.std(gains, axis=0) / np.sqrt(len(gains))
    noise = Noise(fixed=0.3, relative=0.1)
    found = measure(jnp.asarray(features, float), labels, noise, samples=500)
    assert abs(found.input - mean[0]) < 4 * np.hypot(error[0], found.input_error)
    assert abs(found.label - mean[1]) < 4 * np.hypot(error[1], found.label_error)


def test_identical_features_tell_nothing():
    found = measure(jnp.full((8, 2), 7.0), np.arange(8) % 3, Noise())
    np.testing.assert_allclose([found.input, found.label], 0, atol=1e-5)
    np.testing.assert_allclose([found.input_error, found.label_error], 0, atol=1e-6)
    assert found.consistent
    assert not found.saturated


def test_features_far_apart_tell_everything_and_say_so():
    found = measure(on_a_line(range(8)) * 1e3, np.arange(8) // 4, UNIT)
    np.testing.assert_allclose([found.input, found.label], [3, 1], rtol=1e-6)
    assert found.saturated
    assert found.consistent


def test_repeated_inputs_limit_the_information():
    values = jnp.repeat(on_a_line(range(4)) * 1e6, 2, axis=0)
    found = measure(values, np.arange(8) % 2, UNIT)
    np.testing.assert_allclose([found.input, found.label], [2, 0], atol=1e-5)
    assert not found.saturated


@pytest.mark.thorough
def test_standard_errors_are_calibrated():
    centres, labels = [0.0, 1.0, 3.0], [0, 0, 1]
    exact = gaussian_mixture_information(centres, labels)

    @jax.vmap
    def draw(key):
        return measure(on_a_line(centres), labels, UNIT, key, classes=2, samples=50)

    found = draw(jax.random.split(jax.random.key(3), 400))
    for estimate, error, truth in (
        (found.input, found.input_error, exact[0]),
        (found.label, found.label_error, exact[1]),
    ):
        scores = np.asarray((estimate - truth) / error)
        assert abs(scores.mean()) < 4 / np.sqrt(400)
        assert abs(scores.std() - 1) < 4 / np.sqrt(2 * 400)
    assert np.mean(found.consistent) > 0.98


@pytest.mark.parametrize("log_unit", [-9.0, 3.0, 20.0])
def test_only_true_size_matters_not_the_unit(log_unit):
    features, labels = on_a_line(np.linspace(0.1, 1.2, 8)), np.arange(8) % 2
    noise = Noise(fixed=0.3, relative=0.1)
    plain = measure(features, labels, noise)
    moved = measure(features * np.exp(-log_unit), labels, noise, log_unit=log_unit)
    np.testing.assert_allclose(plain.input, moved.input, rtol=1e-4)
    np.testing.assert_allclose(plain.label, moved.label, rtol=1e-4)
    other = measure(features * np.exp(-log_unit), labels, noise)
    assert abs(plain.input - other.input) > 0.1


@jax.jit
def slopes(features, noise, log_unit):
    def total(features, noise, log_unit):
        found = measure(features, np.arange(8) % 2, noise, log_unit=log_unit, samples=4)
        return sum(leaf for leaf in jax.tree.leaves(found) if leaf.dtype != bool)

    return jax.grad(total, argnums=(0, 1, 2))(features, noise, log_unit)


@pytest.mark.parametrize(
    ("size", "noise", "log_unit", "expected"),
    [
        (1.0, Noise(), 1e5, None),
        (1.0, Noise(), -1e5, 0.0),
        (1.0, Noise(0.0, 0.0), 0.0, 3.0),
        (0.0, Noise(0.0, 0.0), 0.0, 0.0),
        (0.0, Noise(), -1e5, 0.0),
        (1e-30, Noise(), 0.0, 0.0),
        (1e-30, Noise(0.0, 0.0), 0.0, 3.0),
        (1e30, Noise(), 0.0, None),
    ],
)
def test_values_and_gradients_stay_finite_at_any_size(size, noise, log_unit, expected):
    features, labels = on_a_line(np.arange(8.0)) * size, np.arange(8) % 2
    found = measure(features, labels, noise, log_unit=log_unit)
    if expected is None:
        # The relative part alone is left.
        expected = measure(on_a_line(np.arange(8.0)), labels, Noise(0.0, noise.relative)).input
    np.testing.assert_allclose(found.input, expected, atol=1e-5)
    assert found.consistent
    finite = [np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)]
    finite += [
        np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes(features, noise, log_unit))
    ]
    assert all(finite)


def test_one_key_makes_smooth_curves():
    features, labels = normal(1, 8, 2), np.arange(8) % 2
    first = measure(features, labels, UNIT)
    nearby = measure(features * 1.0001, labels, UNIT)
    other = measure(features, labels, UNIT, key=jax.random.key(7))
    assert abs(first.input - nearby.input) < 0.02 * first.input_error
    assert abs(first.input - other.input) > 0.02 * first.input_error


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    scale=st.floats(-3, 3),
    relative=st.floats(0, 1),
    fixed=st.floats(1e-6, 1),
    seed=st.integers(0, 1000),
)
def test_estimates_and_bounds_are_consistent(scale, relative, fixed, seed):
    key = jax.random.key(seed)
    features = normal(seed, 8, 2) * 10**scale
    found = measure(features, np.arange(8) % 3, Noise(fixed, relative), key)
    assert found.consistent
    assert found.input_lower <= found.input_upper + 1e-5
    assert found.label_lower <= found.label_upper + 1e-5


def test_an_impossible_result_is_not_consistent():
    number = jnp.asarray
    bounds = Bounds(number(0.0), number(2.0), number(0.0), number(1.0))
    error = number(0.01)

    def verdict(input_bits, label_bits):
        return bool(_consistent(number(input_bits), error, number(label_bits), error, bounds, 4))

    assert verdict(1.5, 0.9)
    assert not verdict(0.5, 0.9)
    assert not verdict(2.5, 0.9)
    assert not verdict(1.5, 1.1)
    assert not verdict(1.5, -0.1)
    assert not verdict(float("nan"), 0.9)


@pytest.mark.long
def test_gradients_three_ways():
    with x64(True):
        features = normal(0, 5, 3)
        arguments = (features, Noise(jnp.asarray(0.3), jnp.asarray(0.2)), jnp.asarray(0.4))

        def bits(features, noise, log_unit):
            found = measure(
                features, np.arange(5) % 2, noise, jax.random.key(0), log_unit, samples=16
            )
            errors = found.input_error, found.label_error
            return found.input, found.label, found.input_lower, found.label_lower, errors

        check_three_ways(bits, *arguments)


@pytest.mark.long
@pytest.mark.thorough
def test_a_level_of_a_system():
    system, labels = Linear(classes=3), jnp.arange(6) % 3
    examples = system.prepare(normal(0, 6, 4), labels)
    state = jnp.ones((3, 4))
    options = {"classes": 3, "noise": Noise(0.1, 0.1), "samples": 8}
    key = jax.random.key(1)

    @jax.jit
    def second_level(state):
        return level_information(system, state, examples, labels, key, level=2, **options)

    found = second_level(state)
    outer = (examples["x"][:, :, None] * examples["x"][:, None, :]).reshape(6, 16)
    expected = measure(outer, labels, options["noise"], key, samples=8)
    np.testing.assert_allclose(found.input, expected.input, rtol=1e-6)
    with pytest.raises(ValueError, match=r"level = 3: must be an integer in 1..2"):
        level_information(system, state, examples, labels, key, level=3, **options)


def test_traced_labels_out_of_range_give_nan():
    found = measure(on_a_line([0, 3]), [0, 2], UNIT, classes=2, samples=2)
    numbers = [leaf for leaf in jax.tree.leaves(found) if leaf.dtype != bool]
    assert len(numbers) == 8
    assert np.isnan(numbers).all()
    assert not found.consistent
    assert not found.saturated


def test_bad_input_is_refused():
    features, key = on_a_line([0, 1]), KEY
    with pytest.raises(ValueError, match=r"labels\[1\] = 2: must be a class in 0..1"):
        information(features, jnp.array([0, 2]), key, noise=UNIT, classes=2)
    with pytest.raises(ValueError, match=r"samples = 1: must be an integer >= 2"):
        information(features, jnp.arange(2), key, noise=UNIT, classes=2, samples=1)
    with pytest.raises(ValueError, match=r"labels.shape = \(3,\): must be \(2,\)"):
        tools.checked_labels(jnp.arange(3), 2, 2)
    with pytest.raises(ValueError, match=r"labels.dtype = 'float32': must be an integer type"):
        tools.checked_labels(jnp.zeros(2, jnp.float32), 2, 2)
    with pytest.raises(ValueError, match=r"classes = 0: must be an integer >= 1"):
        tools.checked_labels(jnp.arange(2), 2, 0)
