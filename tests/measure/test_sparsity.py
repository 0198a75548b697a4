from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_tools import normal

from nsh.measure import (
    active_units,
    effective_features,
    effective_number,
    pathway_overlap,
    surviving_fraction,
)

pytestmark = pytest.mark.core
INF = float("inf")
value_and_slope = jax.jit(jax.value_and_grad(effective_number))
share_of = jax.jit(surviving_fraction)


def participation_ratio(strengths):
    strengths = np.asarray(strengths, np.float64)
    return strengths.sum(-1) ** 2 / (strengths**2).sum(-1)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(strengths=st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4), shift=st.integers(-4, 4))
def test_effective_number_is_the_participation_ratio_at_any_size(strengths, shift):
    logs = jnp.log(jnp.array(strengths))
    expected = participation_ratio(strengths)
    np.testing.assert_allclose(value_and_slope(logs)[0], expected, rtol=1e-4)
    shifted, _ = value_and_slope(logs + 1024.0 * shift)
    np.testing.assert_allclose(shifted, expected, rtol=2e-3)


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ([3.0, 3.0, 3.0, 3.0], 4),
        ([1e6, 1e6, 0.0, -1e6], 2),
        ([5.0, 5.0, 5.0, -INF], 3),
        ([-INF, -INF, 7.0, -INF], 1),
        ([-INF, -INF, -INF, -INF], 0),
    ],
)
def test_effective_number_counts_equal_strengths(logs, expected):
    logs = jnp.array(logs)
    value, slope = value_and_slope(logs)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_effective_number_keeps_leading_axes():
    logs = normal(0, 2, 3, 5)
    expected = participation_ratio(np.exp(logs))
    np.testing.assert_allclose(jax.jit(effective_number)(logs), expected, rtol=1e-4)
    mapped = jax.jit(jax.vmap(effective_number))(logs)
    np.testing.assert_allclose(mapped, expected, rtol=1e-4)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e36])
def test_effective_features_in_any_unit(size):
    features = np.random.default_rng(0).normal(size=(7, 5)).clip(-1, 1)
    found = jax.jit(effective_features)(jnp.asarray(features * size, float))
    expected = participation_ratio(np.abs(features).mean(0))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_silent_features_count_nothing():
    silent = jnp.zeros((3, 4))
    value, slope = jax.jit(jax.value_and_grad(effective_features))(silent)
    assert value == 0
    assert np.isfinite(slope).all()
    assert share_of(silent) == 0
    assert not active_units(silent).any()


def test_gradients_three_ways():
    with x64(True):
        check_three_ways(effective_number, normal(0, 3, 5))
        check_three_ways(effective_features, normal(1, 4, 5))


def test_surviving_share_counts_units_above_the_threshold():
    features = jnp.array([[100.0, 1.0, 0.9, 0.0], [-100.0, -1.2, 0.9, 0.0]])
    assert share_of(features) == 0.5
    assert share_of(features, 0.0) == 0.75
    assert share_of(features, 1.0) == 0.25
    shares = jax.jit(jax.vmap(surviving_fraction, (None, 0)))(features, jnp.array([0.009, 0.5]))
    np.testing.assert_array_equal(shares, [0.75, 0.25])
    assert share_of(features * 1e34) == 0.5


def test_active_units_compare_within_an_example():
    features = jnp.array([[100.0, 2.0, 0.5], [0.1, -0.2, 0.0]])
    np.testing.assert_array_equal(active_units(features), [[1, 1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(jax.jit(active_units)(features, 0.6), [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_bad_thresholds_are_refused(threshold):
    for function in (surviving_fraction, active_units):
        with pytest.raises(ValueError, match=rf"threshold = {threshold}: must be a number in 0..1"):
            function(jnp.ones((2, 2)), threshold)


def test_pathway_overlap_matches_sets():
    generator = np.random.default_rng(0)
    active, labels = generator.random((8, 6)) < 0.4, np.arange(8) % 3
    active[:2] = False
    within, across = [], []
    for i in range(8):
        for j in range(8):
            one, two = (set(np.flatnonzero(active[k])) for k in (i, j))
            if i != j:
                jaccard = len(one & two) / len(one | two) if one | two else 1.0
                (within if labels[i] == labels[j] else across).append(jaccard)
    found = jax.jit(pathway_overlap)(jnp.asarray(active), jnp.asarray(labels))
    np.testing.assert_allclose(found.within, np.mean(within), rtol=1e-5)
    np.testing.assert_allclose(found.across, np.mean(across), rtol=1e-5)


@pytest.mark.thorough
def test_nan_is_not_a_silent_unit():
    features = jnp.array([[1.0, jnp.nan, 0.5], [2.0, 1.0, 0.0]])
    assert np.isnan(surviving_fraction(features))
    assert np.isnan(effective_features(features))
    with pytest.raises(ValueError, match=r"features\[0, 1\] = nan: must be a number"):
        active_units(features)
    np.testing.assert_array_equal(jax.jit(active_units)(features).sum(1), [0, 2])


def test_pathway_overlap_of_bad_labels():
    active = jnp.array([[1, 1], [1, 0], [0, 1]], bool)
    found = jax.jit(pathway_overlap)(active, jnp.array([0, 0, -1]))
    assert np.isnan([found.within, found.across]).all()
    with pytest.raises(ValueError, match=r"labels\[2\] = -1: must be a class"):
        pathway_overlap(active, jnp.array([0, 0, -1]))


def test_pathway_overlap_extremes():
    active = jnp.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]], bool)
    found = pathway_overlap(active, jnp.array([0, 0, 1]))
    np.testing.assert_array_equal([found.within, found.across], [1, 0])
    assert np.isnan(pathway_overlap(active, jnp.arange(3)).within)
