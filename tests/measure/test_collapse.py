from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from measure_tools import Linear

from nsh.measure import neural_collapse, readout, system_collapse

pytestmark = pytest.mark.core
K, D, EACH = 4, 6, 5
LABELS = jnp.arange(K * EACH) % K
compiled = jax.jit(neural_collapse, static_argnames="classes")


def simplex():
    """Class means and classifier at complete collapse, rotated into D dimensions."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
    return (np.eye(K) - 1 / K) @ rotation[:K]


def random_case(seed=0, spread=0.5):
    generator = np.random.default_rng(seed)
    means = generator.normal(size=(K, D))
    features = means[np.asarray(LABELS)] + spread * generator.normal(size=(K * EACH, D))
    return features, generator.normal(size=(K, D)), generator.normal(size=K)


def oracle(h, y, weights, bias):
    """The paper's formulas with full covariance matrices, in float64."""
    centres = np.array([h[y == c].mean(0) for c in range(K)])
    mean = centres.mean(0)
    within = sum(np.cov(h[y == c].T, bias=True) for c in range(K)) / K
    between = sum(np.outer(m - mean, m - mean) for m in centres) / K
    nc1 = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / K
    norms = [np.linalg.norm(m - mean) for m in centres]
    cosines = [
        np.dot(centres[a] - mean, centres[b] - mean) / norms[a] / norms[b]
        for a in range(K) for b in range(K) if a != b
    ]  # fmt: skip
    m = centres - mean
    nc3 = np.linalg.norm(weights / np.linalg.norm(weights) - m / np.linalg.norm(m))
    nearest = [np.argmin([np.linalg.norm(x - c) for c in centres]) for x in h]
    decided = [np.argmax(weights @ x + bias) for x in h]
    angles = np.mean(np.abs(np.array(cosines) + 1 / (K - 1)))
    return nc1, np.std(norms) / np.mean(norms), angles, nc3, np.mean(np.not_equal(nearest, decided))


def values(found):
    return [found.nc1, found.nc2_norms, found.nc2_angles, found.nc3, found.nc4]


def arrays(*numbers):
    return [jnp.asarray(n, float) for n in numbers]


def test_complete_collapse_is_zero_in_all():
    offset = np.arange(D) * 3.0
    features, weights = arrays(simplex()[np.asarray(LABELS)] + offset, 7 * simplex())
    found = compiled(features, LABELS, weights, weights @ jnp.asarray(-offset, float), classes=K)
    np.testing.assert_allclose(values(found), 0, atol=2e-6)


@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_random_data_match_the_papers_formulas(spread):
    case = random_case(spread=spread)
    features, weights, bias = arrays(*case)
    found = compiled(features, LABELS, weights, bias, classes=K)
    expected = oracle(case[0], np.asarray(LABELS), *case[1:])
    np.testing.assert_allclose(values(found), expected, rtol=2e-4)
    assert 0 < expected[-1] < 1


def test_unbalanced_classes_weigh_the_same():
    features, weights, bias = random_case()
    labels = np.array([0] * 9 + [1] * 6 + [2] * 3 + [3] * 2)
    found = compiled(*arrays(features), jnp.asarray(labels), *arrays(weights, bias), classes=K)
    np.testing.assert_allclose(values(found), oracle(features, labels, weights, bias), rtol=2e-4)


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_no_unit_matters(size):
    features, weights, _ = arrays(*random_case())
    plain = compiled(features, LABELS, weights, classes=K)
    other = compiled(features * size, LABELS, weights / size, classes=K)
    np.testing.assert_allclose(values(plain), values(other), rtol=1e-4)


def test_fewer_dimensions_than_classes():
    features, weights, bias = random_case()
    features, weights = features[:, :2], weights[:, :2]
    found = compiled(*arrays(features), LABELS, *arrays(weights, bias), classes=K)
    expected = oracle(features, np.asarray(LABELS), weights, bias)
    np.testing.assert_allclose(values(found), expected, rtol=2e-4)


def test_coinciding_means_give_nan_not_collapse():
    found = compiled(jnp.ones((K * EACH, D)), LABELS, jnp.ones((K, D)), classes=K)
    assert np.isnan(values(found)[:4]).all()


def test_readout_recovers_an_affine_layer():
    features, weights, bias = random_case()
    logits = features @ weights.T + bias
    found, offset = jax.jit(readout)(*arrays(features, logits))
    np.testing.assert_allclose(found, weights, atol=2e-5)
    np.testing.assert_allclose(offset, bias, atol=2e-5)


def test_readout_is_of_least_norm_where_features_leave_it_open():
    features, weights, bias = random_case()
    features[:, 4] = features[:, 0] + features[:, 1]
    features[:, 5] = 3.0
    logits = features @ weights.T + bias
    found, offset = readout(*arrays(features, logits))
    centred = features - features.mean(0)
    expected = np.linalg.lstsq(centred, logits - logits.mean(0), rcond=1e-10)[0].T
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(features @ found.T + offset[None], logits, atol=1e-4)


class LastLayer(Linear):
    """A linear system that shows its input as its only, and so its top, level."""

    def features(self, state, example):  # pyright: ignore[reportIncompatibleMethodOverride]
        return (example["x"],)


def test_a_systems_last_layer_is_read_off():
    features, weights, _ = random_case()
    system = LastLayer(classes=K)
    examples = system.prepare(features, LABELS)
    (state,) = arrays(weights)
    found = jax.jit(system_collapse, static_argnames="classes")(
        system, state, examples, LABELS, classes=K
    )
    expected = oracle(features, np.asarray(LABELS), weights, np.zeros(K))
    np.testing.assert_allclose(values(found), expected, rtol=3e-4)


@pytest.mark.long
def test_gradients_three_ways():
    with x64(True):
        features, weights, _ = arrays(*random_case())

        def signs(features, weights):
            return values(neural_collapse(features, LABELS, weights, classes=K))[:4]

        check_three_ways(signs, features, weights)
        check_three_ways(readout, features, features @ weights.T + features[:, :K] ** 2)


def test_slopes_are_finite_at_complete_collapse():
    features, weights = arrays(simplex()[np.asarray(LABELS)], simplex())

    def total(features, weights):
        return sum(values(neural_collapse(features, LABELS, weights, classes=K)))

    slopes = jax.jit(jax.grad(total, argnums=(0, 1)))(features, weights)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_seeds_by_vmap():
    cases = [random_case(seed) for seed in range(3)]
    features, weights, _ = arrays(*(np.stack(part) for part in zip(*cases, strict=True)))
    together = jax.vmap(lambda f, w: compiled(f, LABELS, w, classes=K))(features, weights)
    alone = compiled(features[1], LABELS, weights[1], classes=K)
    np.testing.assert_allclose([v[1] for v in values(together)], values(alone), rtol=1e-4)


def test_bad_input_is_refused():
    features, weights = jnp.ones((4, 2)), jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"without class \[2\].*at least one of every class"):
        neural_collapse(features, jnp.array([0, 1, 0, 1]), weights, classes=3)
    with pytest.raises(ValueError, match=r"classes = 1: must be an integer >= 2"):
        neural_collapse(features, jnp.zeros(4, int), weights[:1], classes=1)
    with pytest.raises(ValueError, match=r"weights.shape = \(3, 2\): must be \(2, 2\)"):
        neural_collapse(features, jnp.arange(4) % 2, weights, classes=2)


def test_what_is_no_collapse_is_not_a_number():
    """Traced labels out of range or without a class, and features that are NaN: all five."""
    features, weights, _ = arrays(*random_case())

    @jax.jit
    def signs(features, labels):
        return values(neural_collapse(features, labels, weights, classes=K))

    assert np.isfinite(signs(features, LABELS)).all()
    assert np.isnan(signs(features, LABELS.at[0].set(K))).all()
    assert np.isnan(signs(features, LABELS.at[0].set(-1))).all()
    assert np.isnan(signs(features, jnp.minimum(LABELS, K - 2))).all()
    assert np.isnan(signs(features.at[0, 0].set(jnp.nan), LABELS)).all()
