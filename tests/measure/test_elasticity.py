from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from measure_tools import Growing, Linear

from nsh.measure import _tools as tools
from nsh.measure import elasticity, elasticity_contrast, elasticity_matrix

pytestmark = pytest.mark.core
KEY = jax.random.key(0)
matrix_of = jax.jit(elasticity_matrix)


def linear(n=6, seed=0):
    system = Linear(classes=3)
    x = np.random.default_rng(seed).normal(size=(n, 4))
    return system, x, system.prepare(x, np.arange(n) % 3)


def growing(units=(0.0, 1.0, -0.5)):
    system = Growing()
    generator = np.random.default_rng(0)
    x = generator.normal(size=(3, 4))
    examples = system.prepare(x, np.arange(3))
    examples["unit"] = jnp.asarray(units, float)
    weights = generator.normal(size=(3, 4))
    return system, x, weights, examples


def growing_oracle(x, weights, units, growth):
    """Float64 closed form; the state's own scale cancels."""
    matrix = np.zeros((3, 3))
    for i in range(3):
        after = weights.copy()
        after[i] += x[i]
        change = [np.linalg.norm(np.exp(growth) * after @ x[j] - weights @ x[j]) for j in range(3)]
        for j in range(3):
            matrix[i, j] = change[j] / change[i] * np.exp(units[j] - units[i])
    return matrix


def test_linear_classifiers_have_the_closed_form():
    system, x, examples = linear()
    state = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)), float)
    found = matrix_of(system, state, 0.3, examples, KEY)
    gram = np.abs(x @ x.T)
    np.testing.assert_allclose(found, gram / np.diag(gram)[:, None], rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(np.diag(found), 1, rtol=1e-6)


def test_one_pair_and_separate_probes_agree_with_the_matrix():
    system, _, examples = linear()
    state = system.init(KEY, 0.3)
    matrix = matrix_of(system, state, 0.3, examples, KEY)
    probes = jax.tree.map(lambda leaf: leaf[:2], examples)
    part = matrix_of(system, state, 0.3, examples, KEY, probes=probes)
    np.testing.assert_allclose(part, matrix[:, :2], rtol=1e-6)
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], examples) for i in (4, 1))
    one = jax.jit(elasticity)(system, state, 0.3, first, second, KEY)
    np.testing.assert_allclose(one, matrix[4, 1], rtol=1e-6)


def test_chunks_do_not_change_the_matrix(monkeypatch):
    system, _, examples = linear()
    state = system.init(KEY, 0.3)
    whole = matrix_of(system, state, 0.3, examples, KEY)
    monkeypatch.setattr(tools, "_CHUNK", 200)
    parts = jax.jit(lambda state: elasticity_matrix(system, state, 0.3, examples, KEY))(state)
    # small changes are differences of logits of size 1: their rounding is absolute
    np.testing.assert_allclose(whole, parts, rtol=1e-6, atol=1e-6)


def test_an_update_without_effect_gives_a_row_of_zeros_and_finite_slopes():
    system, x, _ = linear()
    x[2] = 0
    examples = system.prepare(x, np.arange(6) % 3)

    @jax.jit
    def matrix_and_slope(state):
        matrix, pull = jax.vjp(
            lambda state: elasticity_matrix(system, state, 0.3, examples, KEY), state
        )
        return matrix, pull(jnp.ones_like(matrix))

    matrix, (slope,) = matrix_and_slope(system.init(KEY, 0.3))
    np.testing.assert_array_equal(matrix[2], 0)
    np.testing.assert_array_equal(matrix[:, 2], 0)
    assert matrix[0, 1] > 0
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("log_scale", [0.0, 100000.0, -100000.0])
@pytest.mark.parametrize("units", [(0.0, 1.0, -0.5), (0.0, 64.0, -8.0)])
def test_scaled_logits_beyond_floating_point(log_scale, units):
    system, x, weights, examples = growing(units)
    state = {"weights": jnp.asarray(weights, float), "log_scale": jnp.asarray(log_scale)}
    found = matrix_of(system, state, 0.5, examples, KEY)
    # Exponents of 1e5 and these units are exact in float32, so nothing is lost to rounding.
    expected = growing_oracle(x, weights, np.array(units), 0.5)
    representable = expected < 1e12
    np.testing.assert_allclose(np.asarray(found)[representable], expected[representable], rtol=1e-4)
    assert np.isfinite(found).all()
    assert (np.asarray(found)[~representable] > 1e11).all()
    np.testing.assert_allclose(np.diag(found), 1, rtol=1e-6)


def test_a_diverged_state_gives_nan_not_zero():
    system, _, examples = linear(3)
    found = matrix_of(system, jnp.full((3, 4), jnp.nan), 0.3, examples, KEY)
    assert np.isnan(found).all()


def test_gradients_three_ways():
    with x64(True):
        system, _, weights, examples = growing()
        state = {"weights": jnp.asarray(weights), "log_scale": jnp.asarray(3.0)}

        def matrix(state, growth):
            return elasticity_matrix(system, state, growth, examples, jax.random.key(0))

        check_three_ways(matrix, state, jnp.asarray(0.5))


def contrast_oracle(matrix, labels, subclasses):
    groups = {"subclass": [], "class": [], "across": []}
    for i in range(len(labels)):
        for j in range(len(labels)):
            if i == j:
                continue
            if labels[i] != labels[j]:
                groups["across"].append(matrix[i, j])
            else:
                groups["subclass" if subclasses[i] == subclasses[j] else "class"].append(
                    matrix[i, j]
                )
    return groups


def test_contrast_matches_plain_loops():
    matrix = np.random.default_rng(0).uniform(size=(9, 9))
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    subclasses = np.array([0, 0, 1, 1, 0, 0, 0, 1, 1])
    groups = contrast_oracle(matrix, labels, subclasses)
    found = jax.jit(elasticity_contrast)(
        jnp.asarray(matrix, float), jnp.asarray(labels), jnp.asarray(subclasses)
    )
    np.testing.assert_allclose(found.within_subclass, np.mean(groups["subclass"]), rtol=1e-5)
    np.testing.assert_allclose(found.within_class, np.mean(groups["class"]), rtol=1e-5)
    np.testing.assert_allclose(found.across_classes, np.mean(groups["across"]), rtol=1e-5)
    within = np.mean(groups["subclass"] + groups["class"])
    np.testing.assert_allclose(found.ratio, within / np.mean(groups["across"]), rtol=1e-5)
    plain = elasticity_contrast(jnp.asarray(matrix, float), jnp.asarray(labels))
    assert np.isnan(plain.within_subclass)
    np.testing.assert_allclose(plain.within_class, within, rtol=1e-5)
    np.testing.assert_allclose(plain.ratio, found.ratio, rtol=1e-6)


def test_contrast_without_such_pairs_is_nan():
    found = elasticity_contrast(jnp.ones((3, 3)), jnp.arange(3))
    assert np.isnan([found.within_subclass, found.within_class, found.ratio]).all()
    np.testing.assert_allclose(found.across_classes, 1)


def test_contrast_refuses_bad_shapes():
    with pytest.raises(ValueError, match=r"labels.shape = \(3,\): must be \(2,\)"):
        tools.checked_labels(jnp.arange(3), 2)
    matrix = jnp.ones((2, 2))
    with pytest.raises(ValueError, match=r"labels\[0\] = -1: must be a class"):
        elasticity_contrast(matrix, jnp.arange(2) - 1)
    found = jax.jit(elasticity_contrast)(matrix, jnp.arange(2) - 1)
    assert np.isnan(jax.tree.leaves(found)).all()


def test_contrast_is_the_mean_in_derivatives_too():
    labels = jnp.array([0, 0, 1])
    slope = jax.grad(lambda m: elasticity_contrast(m, labels).across_classes)(jnp.ones((3, 3)))
    np.testing.assert_allclose(slope, np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]]) / 4, rtol=1e-6)
