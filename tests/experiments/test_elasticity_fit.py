"""Rank correlations against SciPy and plain least squares."""

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from experiments.elasticity_fit.correlations import rank_correlations, same_class, same_pixels

pytestmark = pytest.mark.core

N, SEEDS = 9, 3


def test_rank_correlations():
    rng = np.random.default_rng(0)
    x, y = rng.random((N, 2, 2)), np.arange(N) % 3
    wanted = rng.random((SEEDS, N, N))
    found = np.round(wanted + 0.5 * rng.normal(size=wanted.shape), 1)  # with ties
    got = rank_correlations(found, wanted, x, y)
    apart, same = ~np.eye(N, dtype=bool), y[:, None] == y
    given = [np.ones(apart.sum()), same[apart], rankdata(same_pixels(x)[apart])]
    given = np.stack(given, axis=1)

    def left(matrix):
        ranks = rankdata(matrix[apart])
        return ranks - given @ np.linalg.lstsq(given, ranks)[0]

    for seed, (a, b) in enumerate(zip(found, wanted, strict=True)):
        for row, pairs in enumerate((apart, apart & same, apart & ~same)):
            assert got[row, seed] == pytest.approx(spearmanr(a[pairs], b[pairs])[0])
        assert got[3, seed] == pytest.approx(np.corrcoef(left(a), left(b))[0, 1])


def test_what_is_given_correlates_with_nothing_once_it_is_taken_out():
    rng = np.random.default_rng(1)
    x, y = rng.random((N, 4)), np.arange(N) % 3
    wanted = rng.random((SEEDS, N, N))
    for given in (same_class(y), same_pixels(x)):
        assert (rank_correlations(given[None], wanted, x, y)[3] == 0).all()
    # being of the same class is the same for all pairs of one kind
    assert (rank_correlations(same_class(y)[None], wanted, x, y)[1:3] == 0).all()
