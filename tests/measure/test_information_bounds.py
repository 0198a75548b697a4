from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from measure_tools import gaussian_mixture_information

from nsh.measure import information_bounds

pytestmark = pytest.mark.core


def squared(points):
    points = np.asarray(points, np.float64)
    return jnp.asarray(((points[:, None] - points[None]) ** 2).sum(-1), float)


def mixture_oracle(distances, members, divisor):
    total = 0.0
    for i in members:
        overlap = sum(np.exp(-distances[i, j] / divisor) for j in members)
        total -= np.log2(overlap / len(members))
    return total / len(members)


def test_formulas_match_plain_loops():
    points = np.random.default_rng(0).normal(size=(7, 3))
    labels = np.array([0, 0, 0, 2, 2, 3, 3])
    found = information_bounds(squared(points), jnp.asarray(labels), classes=5)
    distances = np.asarray(squared(points), np.float64)
    lower, upper = (mixture_oracle(distances, range(7), c) for c in (8, 2))
    groups = [np.flatnonzero(labels == y) for y in (0, 2, 3)]
    within = [sum(len(g) / 7 * mixture_oracle(distances, g, c) for g in groups) for c in (8, 2)]
    entropy = -sum(len(g) / 7 * np.log2(len(g) / 7) for g in groups)
    np.testing.assert_allclose(found.input_lower, lower, rtol=1e-5)
    np.testing.assert_allclose(found.input_upper, upper, rtol=1e-5)
    np.testing.assert_allclose(found.label_lower, max(0, lower - within[1]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.label_upper, min(upper - within[0], entropy), rtol=1e-5)


@pytest.mark.parametrize("spread", [0.1, 0.7, 1.5, 3.0, 8.0])
def test_bounds_hold_the_exact_information_between_them(spread):
    centres, labels = spread * np.array([0.0, 1.0, 1.5, 4.0, 6.0]), [0, 0, 1, 1, 1]
    exact_input, exact_label = gaussian_mixture_information(centres, labels)
    found = information_bounds(squared(centres[:, None]), jnp.array(labels), classes=2)
    assert found.input_lower - 1e-5 <= exact_input <= found.input_upper + 1e-5
    assert found.label_lower - 1e-5 <= exact_label <= found.label_upper + 1e-5


def test_limits_are_exact():
    labels = jnp.array([0, 0, 1, 1])
    near = information_bounds(jnp.zeros((4, 4)), labels, classes=2)
    far = information_bounds(1e12 * (1 - jnp.eye(4)), labels, classes=2)
    np.testing.assert_allclose(jax.tree.leaves(near), 0, atol=1e-6)
    np.testing.assert_allclose(jax.tree.leaves(far), [2, 2, 1, 1], rtol=1e-6)


def test_collapsed_classes_leave_the_label_alone():
    points = np.array([[0.0], [0.0], [1e4], [1e4]])
    found = information_bounds(squared(points), jnp.array([0, 0, 1, 1]), classes=2)
    np.testing.assert_allclose(jax.tree.leaves(found), 1, rtol=1e-6)


def test_traced_labels_out_of_range_give_nan():
    squared = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    found = jax.jit(functools.partial(information_bounds, classes=2))
    assert np.isfinite(jax.tree.leaves(found(squared, jnp.array([0, 1])))).all()
    assert np.isnan(jax.tree.leaves(found(squared, jnp.array([0, 2])))).all()


def test_gradients_three_ways():
    with x64(True):
        points = np.random.default_rng(1).normal(size=(6, 2)) * 3
        labels = jnp.arange(6) % 2

        def bounds(distances):
            found = information_bounds(distances, labels, classes=2)
            return found.input_lower, found.input_upper, found.label_upper

        check_three_ways(bounds, squared(points))
