from __future__ import annotations

import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_tools import normal

from nsh.measure import _tools as tools
from nsh.measure import binned_information

pytestmark = pytest.mark.core
compiled = jax.jit(binned_information, static_argnames=("classes", "bins"))


def entropy(symbols):
    shares = np.array(list(Counter(symbols).values())) / len(symbols)
    return -np.sum(shares * np.log2(shares))


def oracle(features, labels, bins):
    """Bins by rank: a value's bin is how many edges it reaches; entropies from counts."""
    pooled = sorted(features.ravel())
    edges = [pooled[k * len(pooled) // bins] for k in range(1, bins)]
    rows = [tuple(sum(value >= edge for edge in edges) for value in row) for row in features]
    joint = entropy(list(zip(rows, labels, strict=True)))
    return entropy(rows), entropy(rows) + entropy(labels) - joint


@pytest.mark.long
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    n=st.sampled_from([4, 9]), d=st.sampled_from([1, 2]), bins=st.sampled_from([3, 30]),
    levels=st.sampled_from([2, 5, 1000]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_matches_counting_by_hand(n, d, bins, levels, seed):
    generator = np.random.default_rng(seed)
    features = generator.integers(0, levels, (n, d)).astype(np.float32)
    labels = generator.integers(0, 3, n)
    found = compiled(jnp.asarray(features), jnp.asarray(labels), classes=3, bins=bins)
    np.testing.assert_allclose(found, oracle(features, labels.tolist(), bins), atol=2e-6)


def test_two_bins_split_at_the_median():
    features = jnp.array([[1.0], [2.0], [30.0], [400.0]])
    found = compiled(features, jnp.array([0, 0, 1, 1]), classes=2, bins=2)
    np.testing.assert_allclose(found, [1, 1], rtol=1e-6)
    crossed = compiled(features, jnp.array([0, 1, 0, 1]), classes=2, bins=2)
    np.testing.assert_allclose(crossed, [1, 0], atol=1e-6)


def test_ties_share_a_bin_and_constants_tell_nothing():
    ties = jnp.array([[0.0], [0.0], [0.0], [0.1], [0.1], [0.1]])
    labels = jnp.arange(6) % 2
    np.testing.assert_allclose(compiled(ties, labels, classes=2)[0], 1, rtol=1e-6)
    found = compiled(jnp.full((6, 2), 0.1), labels, classes=2)
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_growth_and_saturation_are_not_compression():
    features = normal(0, 20, 2)
    labels = jnp.arange(20) % 2
    plain = compiled(features, labels, classes=2, bins=4)
    for transformed in (features * 1e30, features**3, jnp.tanh(features)):
        changed = compiled(transformed, labels, classes=2, bins=4)
        np.testing.assert_array_equal(plain, changed)


@pytest.mark.long
def test_vmap_jit_and_chunks_agree(monkeypatch):
    features, labels = normal(0, 2, 12, 3), jnp.arange(12) % 3
    one = [binned_information(f, labels, classes=3, bins=3) for f in features]
    monkeypatch.setattr(tools, "_CHUNK", 100)
    both = jax.jit(jax.vmap(lambda f: binned_information(f, labels, classes=3, bins=3)))(features)
    np.testing.assert_allclose(jnp.array(both).T, jnp.array(one), rtol=1e-6)


def test_its_derivative_is_zero_as_documented():
    features, labels = normal(0, 6, 2), jnp.arange(6) % 2
    slope = jax.grad(lambda f: sum(binned_information(f, labels, classes=2)))(features)
    np.testing.assert_array_equal(slope, 0)


def test_nan_and_traced_labels_out_of_range_give_nan():
    features, labels = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0, 1, 1])
    found = jax.jit(functools.partial(binned_information, classes=2))
    assert np.isfinite(found(features, labels)).all()
    assert np.isnan(found(features, labels + 1)).all()
    assert np.isnan(found(features.at[0, 0].set(jnp.nan), labels)).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"bins = 1: must be an integer >= 2"):
        binned_information(jnp.ones((2, 1)), jnp.arange(2), classes=2, bins=1)
    with pytest.raises(ValueError, match=r"labels\[0\] = -1: must be a class in 0..1"):
        binned_information(jnp.ones((2, 1)), jnp.array([-1, 0]), classes=2)
