"""Probabilities of distinct mini-batches against enumeration of all draws."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsh import Epochs, FullBatch, WithReplacement


@pytest.mark.parametrize(("samples", "size"), [(3, 4), (4, 3), (5, 1), (1, 6), (2, 2)])
def test_against_all_sequences_of_draws(samples, size):
    drawn = product(range(samples), repeat=size)
    wanted = Counter(frozenset(batch) for batch in drawn)
    batches, p = WithReplacement(size).distribution(samples)
    found = {frozenset(row.tolist()): q for row, q in zip(batches, p, strict=True)}
    assert len(found) == len(p)  # no set twice
    assert found.keys() == wanted.keys()
    for batch, count in wanted.items():
        np.testing.assert_allclose(found[batch], count / samples**size, rtol=1e-15)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(samples=st.integers(1, 9), size=st.integers(1, 2000))
def test_a_law_for_any_size(samples, size):
    batches, p = WithReplacement(size).distribution(samples)
    assert batches.shape == (len(p), min(samples, size))
    assert np.all((p >= 0) & (p <= 1))
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-12)
    sizes = np.array([len(set(row)) for row in batches.tolist()])
    # all single samples alike, the mean number of distinct samples as known
    np.testing.assert_allclose(p[sizes == 1], float(samples) ** (1 - size) / samples, rtol=1e-12)
    distinct = samples * -math.expm1(size * math.log1p(-1 / samples)) if samples > 1 else 1
    np.testing.assert_allclose(p @ sizes, distinct, rtol=1e-12)


def test_the_full_batch_is_one_and_epochs_have_no_law():
    batches, p = FullBatch().distribution(10)
    assert batches.shape == (1, 0)
    assert p == 1
    with pytest.raises(ValueError, match="Epochs are not independent"):
        Epochs(2).distribution(10)


@pytest.mark.parametrize(("samples", "size"), [(4097, 1), (13, 13), (100, 3)])
def test_too_many(samples, size):
    with pytest.raises(ValueError, match=f"of {size} of {samples} examples = .*at most 4096"):
        WithReplacement(size).distribution(samples)
    assert len(WithReplacement(1).distribution(4096)[1]) == 4096
