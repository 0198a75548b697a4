"""Binomial and multinomial variates against scipy's laws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from untyped import stats

from nsh.training.binomial import LARGEST_N, OFFSET, SCALE
from nsh.training.multinomial import multinomial, successive

DRAWS, LANES = 200_000, 4000
LAWS = [
    (1, 0.3), (2, 0.5), (10, 0.3), (30, 0.001), (100, 0.05), (100, 0.5), (1000, 0.01),
    (1000, 0.5), (10**6, 1e-7), (10**6, 1e-5), (10**6, 1 / 7), (10**9, 1e-9), (10**9, 0.3),
]  # fmt: skip


# runs long enough here for it to pay to compile it as users do
AS_USERS = {
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
    "xla_cpu_use_fusion_emitters": True,
}


@partial(jax.jit, compiler_options=AS_USERS)
def binomials(key, n, p):
    def one(i):
        return successive(jax.random.fold_in(key, i), n, p[None])[0]

    return jax.lax.map(one, jnp.arange(DRAWS, dtype=jnp.int32), batch_size=LANES)


@jax.jit
def binomials_of_each(key, n, p):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n.size, dtype=jnp.int32))
    return jax.vmap(lambda key, n: successive(key, n, p[None])[0])(keys, n)


def chi_square(drawn, n, p, bins=300):
    """p-value of counts against Binomial(n, p), in at most `bins` bins of like probability."""
    spread = 9 * np.sqrt(n * p * (1 - p)) + 12
    support = np.arange(max(int(n * p - spread), 0), min(int(n * p + spread), n) + 1)
    assert support[0] <= drawn.min()
    assert drawn.max() <= support[-1]
    expected = stats.binom.pmf(support, n, p) * drawn.size
    least = max(drawn.size / bins, 20)
    _, place = np.unique((np.cumsum(expected) - expected / 2) // least, return_inverse=True)
    observed = np.bincount(drawn - support[0], minlength=support.size)
    pairs = [np.bincount(place, weights) for weights in (observed, expected)]
    keep = pairs[1] >= 5
    if keep.sum() < 2:
        return 1.0
    observed, expected = (pair[keep] for pair in pairs)
    return stats.chisquare(observed, expected * (observed.sum() / expected.sum())).pvalue


@pytest.mark.parametrize(("n", "p"), LAWS)
def test_binomial_law(n, p, key):
    drawn = np.asarray(binomials(key, jnp.asarray(n, jnp.int32), jnp.asarray(p, float)))
    assert chi_square(drawn, n, p) > 1e-3
    error = np.sqrt(n * p * (1 - p) / DRAWS)
    assert abs(drawn.mean() - n * p) <= 4 * error


@pytest.mark.long
def test_two_million_draws_of_a_million(key):
    # enough to tell jax.random.binomial in 32-bit floats from the law: its p-values are < 1e-7
    n, p = 10**6, 0.5
    given = jnp.asarray(n, jnp.int32), jnp.asarray(p, float)
    drawn = np.concatenate([binomials(part, *given) for part in jax.random.split(key, 10)])
    assert chi_square(drawn, n, p) > 1e-3
    even = stats.binomtest(int((drawn % 2 == 0).sum()), drawn.size, 0.5)  # no gaps or combs
    assert even.pvalue > 1e-3


@pytest.mark.long
@pytest.mark.parametrize("p", [1 / 3, 0.25, 0.5])
def test_another_n_in_each_lane(p, key):
    # among them such that n p, or (n + 1) p, is whole but for rounding
    n = np.arange(DRAWS, dtype=np.int32) % 61
    drawn = np.asarray(binomials_of_each(key, jnp.asarray(n), jnp.asarray(p, float)), float)
    sums = np.bincount(n, drawn - n * p)[1:]
    z = sums / np.sqrt(np.bincount(n, n * p * (1 - p))[1:])
    assert stats.chi2.sf(np.sum(z**2), z.size) > 1e-3
    assert np.all(drawn[n == 0] == 0)


@pytest.mark.long
@pytest.mark.parametrize("n", [50, 10**6])
def test_equal_shares(n, key):
    draws, categories = 50_000, 8

    def one(i):
        p = np.full(categories, 1 / categories)
        return multinomial(jax.random.fold_in(key, i), jnp.asarray(n, jnp.int32), p)

    drawn = np.asarray(jax.jit(jax.vmap(one))(jnp.arange(draws, dtype=jnp.int32)), float)
    z = (drawn[:, 1:].sum(axis=0) - draws * n / 8) / np.sqrt(draws * n)
    covariance = np.eye(7) / 8 - 1 / 64
    assert stats.chi2.sf(z @ np.linalg.solve(covariance, z), 7) > 1e-3
    deviation = (drawn - n / 8)[:, 1:] / np.sqrt(n)
    np.testing.assert_allclose(np.cov(deviation.T), covariance, atol=4 / 8 / np.sqrt(draws))


def test_the_region_of_proposals_covers_the_law():
    for n in [1, 2, 3, 5, 8, 13, 30, 100, 1000, 20_000]:
        for p in {min(q, 0.5) for q in [1e-9, 1 / n, 2.5 / n, 0.1, 0.25, 0.5]}:
            k = np.arange(n + 1)
            mode = np.floor((n + 1) * p)
            root = np.exp((stats.binom.logpmf(k, n, p) - stats.binom.logpmf(mode, n, p)) / 2)
            width = SCALE * np.sqrt(n * p * (1 - p) + 0.5) + OFFSET
            for end in (k, k + 1):
                assert np.all(root * abs(end - n * p - 0.5) <= width * (1 + 1e-6))


@pytest.mark.long
def test_multinomial_moments_and_pmf(key):
    p, n, draws = np.array([0.5, 0.1, 0.0, 0.37, 0.03]), 3, 100_000

    def one(i):
        return multinomial(jax.random.fold_in(key, i), jnp.asarray(n, jnp.int32), p)

    drawn = np.asarray(jax.jit(jax.vmap(one))(jnp.arange(draws, dtype=jnp.int32)))
    cases, observed = np.unique(drawn, axis=0, return_counts=True)
    expected = draws * stats.multinomial.pmf(cases, n, p)
    assert expected.sum() > draws * (1 - 1e-3)  # all cases but the rarest have come up
    often = expected > 5
    observed, expected = observed[often], expected[often]
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    n=st.sampled_from([0, 1, 2, 7, 1000, 2**24 + 1, LARGEST_N]),
    weights=st.lists(st.sampled_from([0.0, 1e-30, 1e-6, 0.3, 1.0, 5.0]), min_size=4, max_size=4),
    seed=st.integers(0, 99),
)
def test_counts_add_up(n, weights, seed):
    weights = np.array(weights)
    p = weights / weights.sum() if weights.any() else np.array([0.0, 0.0, 1.0, 0.0])
    counts = np.asarray(multinomial(jax.random.key(seed), jnp.asarray(n, jnp.int32), p), np.int64)
    assert counts.min() >= 0
    assert counts.sum() == n
    assert np.all(counts[p == 0] == 0)
    assert np.all(counts[p == 1] == n)
    assert np.all(abs(counts - n * p) <= 8 * np.sqrt(n * p * (1 - p)) + 20)


def test_a_lane_does_not_depend_on_the_others(key):
    p = np.array([0.2, 0.5, 0.2, 0.1])
    n = jnp.asarray([10, 10**6, 0, 10**6], jnp.int32)
    keys = jax.random.split(key, 4)
    together = jax.vmap(lambda key, n: multinomial(key, n, p))(keys, n)
    alone = [multinomial(keys[i], n[i], p) for i in range(4)]
    np.testing.assert_array_equal(together, np.stack(alone))
