from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from untyped import stats

from nsh.measure import _tools as tools
from nsh.measure import (
    accuracy,
    brier_score,
    class_accuracy,
    cross_entropy,
    estimate,
    exact_match,
    expected_calibration_error,
    gaussian_negative_log_likelihood,
    label_accuracy,
    r_squared,
    root_mean_squared_error,
)

pytestmark = pytest.mark.core
ALL = (cross_entropy, accuracy, expected_calibration_error, brier_score)


def case(n=40, classes=3):
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, classes)) * 2, generator.integers(0, classes, n)


def probabilities(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def measured(function, logits, labels, **options):
    labels = jnp.asarray(labels)
    return jax.jit(lambda x: function(x, labels, **options))(jnp.asarray(logits, float))


def test_scores_match_plain_loops():
    logits, labels = case()
    p = probabilities(logits)
    n = len(labels)
    loss = -sum(np.log(p[i, labels[i]]) for i in range(n)) / n
    hits = sum(p[i].argmax() == labels[i] for i in range(n)) / n
    brier = sum(((p[i] - np.eye(3)[labels[i]]) ** 2).sum() for i in range(n)) / n
    np.testing.assert_allclose(measured(cross_entropy, logits, labels), loss, rtol=1e-5)
    np.testing.assert_allclose(measured(accuracy, logits, labels), hits, rtol=1e-6)
    np.testing.assert_allclose(measured(brier_score, logits, labels), brier, rtol=1e-5)
    right = p.argmax(1) == labels
    each = [right[labels == c].mean() for c in range(3)]
    np.testing.assert_allclose(measured(class_accuracy, logits, labels), each, rtol=1e-6)
    absent = measured(class_accuracy, logits, np.minimum(labels, 1))
    np.testing.assert_array_equal(np.isnan(absent), [False, False, True])


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_error_matches_plain_loops(bins):
    logits, labels = case()
    p = probabilities(logits)
    error = 0.0
    for b in range(bins):
        inside = [i for i in range(len(p)) if b / bins < p[i].max() <= (b + 1) / bins]
        if inside:
            confidence = np.mean([p[i].max() for i in inside])
            right = np.mean([p[i].argmax() == labels[i] for i in inside])
            error += len(inside) / len(p) * abs(right - confidence)
    found = measured(expected_calibration_error, logits, labels, bins=bins)
    np.testing.assert_allclose(found, error, rtol=1e-5)


def test_calibrated_and_overconfident_predictions():
    logits = np.log([[0.75, 0.25]] * 4)
    assert measured(expected_calibration_error, logits, [0, 0, 0, 1]) < 1e-6
    sure = 100 * np.eye(2)[[0, 0, 0, 0]]
    wrong_half = measured(expected_calibration_error, sure, [0, 0, 1, 1])
    np.testing.assert_allclose(wrong_half, 0.5, rtol=1e-6)


def test_huge_logits_stay_finite_and_right():
    logits = np.array([[1e12, 1e12, 0.0], [1e12, 0.0, -1e12]])
    np.testing.assert_allclose(measured(cross_entropy, logits[:1], [1]), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(measured(cross_entropy, logits[1:], [1]), 1e12, rtol=1e-6)
    for function in ALL:
        assert np.isfinite(measured(function, logits, [2, 2]))
    slope = jax.jit(jax.grad(cross_entropy))(jnp.asarray(logits, float), jnp.array([2, 2]))
    np.testing.assert_allclose(slope, [[0.25, 0.25, -0.5], [0.5, 0, -0.5]], atol=1e-6)


def test_gradients_three_ways():
    with x64(True):
        logits, labels = case(n=5)
        for function in (cross_entropy, brier_score):
            check_three_ways(lambda x, f=function: f(x, jnp.asarray(labels)), jnp.asarray(logits))


@pytest.mark.parametrize("function", ALL)
def test_jit_and_vmap(function):
    logits, labels = case()
    stack = jnp.asarray(np.stack([logits, -logits]), float)
    found = jax.jit(jax.vmap(function, (0, None)))(stack, jnp.asarray(labels))
    np.testing.assert_allclose(found[1], measured(function, -logits, labels), rtol=1e-5)


@pytest.mark.parametrize("function", ALL)
def test_traced_labels_outside_the_classes_give_nan(function):
    """The value, and its slope where there is one, tell what no exception can inside `jit`."""
    logits = jnp.asarray(case(n=2)[0], float)
    slope = jax.jit(jax.value_and_grad(function))
    for labels, inside in (([0, 2], True), ([0, 3], False), ([-1, 0], False)):
        for dtype in (jnp.int32, jnp.int8):
            value, derivative = slope(logits, jnp.array(labels, dtype))
            assert np.isfinite(value) == inside
            if function in (cross_entropy, brier_score):
                assert np.isfinite(derivative).all() == inside
    assert np.isnan(jax.jit(function)(logits.at[1, 0].set(jnp.nan), jnp.array([0, 1])))


@pytest.mark.parametrize("function", ALL)
def test_labels_outside_the_classes_are_refused(function):
    with pytest.raises(ValueError, match=r"labels\[1\] = 3: must be a class in 0..2"):
        measured(function, np.zeros((2, 3)), [0, 3])
    with pytest.raises(ValueError, match=r"bins = 0: must be an integer >= 1"):
        measured(expected_calibration_error, np.zeros((2, 3)), [0, 1], bins=0)


def test_logits_of_an_ensemble_are_refused():
    with pytest.raises(ValueError, match=r"shape = \(5, 1, 3\): must be two axes, .*; for an ens"):
        tools.checked_predictions(jnp.zeros((5, 1, 3)), jnp.zeros(5, int))


def regression_case():
    generator = np.random.default_rng(1)
    y = generator.normal(size=(30, 2)) * [1.0, 50.0] + [0.0, 7.0]
    f = y + generator.normal(size=(30, 2)) * [0.5, 80.0]
    return jnp.asarray(f, float), jnp.asarray(y, float)


@pytest.mark.thorough
def test_scores_of_real_targets_match_other_formulas():
    given = regression_case()
    f, y = (np.asarray(values, np.float64) for values in given)
    fitted = np.polyval(np.polyfit(f[:, 0], y[:, 0], 1), f[:, 0])
    correlation = np.corrcoef(f[:, 0], y[:, 0])[0, 1]  # R² of a fitted line is its square
    np.testing.assert_allclose(jax.jit(r_squared)(fitted, y[:, 0]), correlation**2, rtol=1e-5)
    f, y = given
    each = [float(r_squared(f[:, k], y[:, k])) for k in range(2)]
    assert each[0] > 0 > each[1]
    np.testing.assert_allclose(r_squared(f, y), np.mean(each), rtol=1e-5)
    f, y = (np.asarray(values, np.float64) for values in given)
    rmse = np.sqrt(np.mean((f - y) ** 2))
    np.testing.assert_allclose(root_mean_squared_error(*given), rmse, rtol=1e-6)
    sigma = np.array([0.7, 90.0])
    worse = -stats.norm.logpdf(y, f, sigma).sum(1).mean()
    nll = jax.jit(gaussian_negative_log_likelihood)
    np.testing.assert_allclose(nll(*given, sigma**2), worse, rtol=1e-5)
    likely = -stats.norm.logpdf(y, f, np.sqrt(np.mean((f - y) ** 2, axis=0))).sum(1).mean()
    np.testing.assert_allclose(nll(*given), likely, rtol=1e-5)
    assert likely < worse
    f, y = given
    np.testing.assert_array_equal(nll(f[:, :1], y[:, 0]), nll(f[:, 0], y[:, 0]))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_no_unit_of_targets_matters(size):
    f, y = regression_case()
    tiny = [values * size for values in (f, y)]
    np.testing.assert_allclose(r_squared(*tiny), r_squared(f, y), rtol=1e-4)
    expected = root_mean_squared_error(f, y) * size
    np.testing.assert_allclose(root_mean_squared_error(*tiny), expected, rtol=1e-4)


def test_scores_of_real_targets_have_slopes_and_edges():
    f, y = regression_case()
    with x64(True):
        for function in (r_squared, root_mean_squared_error, gaussian_negative_log_likelihood):
            check_three_ways(
                lambda x, f=function: f(x, jnp.asarray(y[:4], float)), jnp.asarray(f[:4], float)
            )
    assert r_squared(y, y) == 1
    assert np.isneginf(gaussian_negative_log_likelihood(y, y))
    np.testing.assert_array_equal(jax.grad(root_mean_squared_error)(y, y), 0)
    assert np.isnan(jax.jit(r_squared)(f, y * 0 + 0.1))  # 0.1 and its mean differ by rounding
    unknown = f.at[0, 1].set(jnp.nan)
    for function in (r_squared, root_mean_squared_error, gaussian_negative_log_likelihood):
        assert np.isnan(function(unknown, y))


def test_scores_of_several_labels_match_plain_loops():
    logits = jnp.array([[2.0, -1.0, 0.0], [1.0, 1.0, -3.0], [-1.0, 2.0, 5.0]])
    targets = jnp.array([[1, 0, 0], [1, 0, 0], [1, 0, 0]])
    assert np.isclose(jax.jit(label_accuracy)(logits, targets), 5 / 9, rtol=1e-6)
    assert np.isclose(jax.jit(exact_match)(logits, targets), 1 / 3, rtol=1e-6)
    for function in (label_accuracy, exact_match):
        assert np.isnan(jax.jit(function)(logits, targets * 2))
        assert np.isnan(function(logits * np.nan, targets))


def test_an_estimate_is_a_mean_with_its_standard_error():
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for axis in (0, 1, None):
        found = estimate(values, axis)
        exact = values.astype(np.float64)
        np.testing.assert_allclose(found.mean, exact.mean(axis), rtol=1e-14)
        np.testing.assert_allclose(found.standard_error, stats.sem(exact, axis), rtol=1e-14)  # pyright: ignore[reportArgumentType]
        assert found.count == (values.size if axis is None else values.shape[axis])
    one = estimate(values[:1], 0)
    np.testing.assert_array_equal(one.mean, values[0])
    assert np.isnan(one.standard_error).all()
    assert one.standard_error.shape == (3,)
    assert np.isnan(estimate([2.0]).standard_error)
