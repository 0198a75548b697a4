"""Rank correlations of elasticity matrices: over which pairs of probes, and what is given."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from experiments.rank_correlation import correlation, rank_correlation

PAIRS = ("all", "within class", "across classes", "given class and pixels")


def same_pixels(x: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n n"]:
    """Cosine of the images of all pairs."""
    flat = x.reshape(len(x), -1)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit @ unit.T


def same_class(y: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    """1 for pairs of the same class, else 0."""
    return (y[:, None] == y).astype(float)


def rank_correlations(
    found: Float[np.ndarray, "#seeds n n"], wanted: Float[np.ndarray, "seeds n n"],
    x: Float[np.ndarray, "n ..."], y: Int[np.ndarray, " n"],
) -> Float[np.ndarray, "pairs seeds"]:  # fmt: skip
    """Spearman's correlation of each seed's two matrices, for each of `PAIRS`; 0 if one is flat.

    "given class and pixels": of what a linear regression on being of the same class and on the rank
    of `same_pixels` leaves of the ranks, over all pairs of different probes.
    """
    apart = ~np.eye(len(y), dtype=bool)
    same = same_class(y).astype(bool)
    rows = [
        rank_correlation(found[:, pairs], wanted[:, pairs])
        for pairs in (apart, apart & same, apart & ~same)
    ]
    given = np.stack([np.ones(apart.sum()), same[apart], rankdata(same_pixels(x)[apart])], axis=1)
    basis, _ = np.linalg.qr(given)
    ranks = [rankdata(matrices[:, apart], axis=1) for matrices in (found, wanted)]
    left = [each - each @ basis @ basis.T for each in ranks]
    return np.stack([*rows, correlation(*left)])
