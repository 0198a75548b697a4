"""Rank correlations of elasticity matrices: over which pairs of probes, and what is given."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

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
        _correlation(_ranks(found, pairs), _ranks(wanted, pairs))
        for pairs in (apart, apart & same, apart & ~same)
    ]
    given = np.stack([np.ones(apart.sum()), same[apart], rankdata(same_pixels(x)[apart])], axis=1)
    basis, _ = np.linalg.qr(given)
    left = [
        ranks - ranks @ basis @ basis.T for ranks in (_ranks(found, apart), _ranks(wanted, apart))
    ]
    return np.stack([*rows, _correlation(*left)])


def _ranks(
    matrices: Float[np.ndarray, "seeds n n"], pairs: Bool[np.ndarray, "n n"]
) -> Float[np.ndarray, "seeds pairs"]:
    ranks = rankdata(matrices[:, pairs], axis=1)
    return ranks - ranks.mean(axis=1, keepdims=True)


def _correlation(
    a: Float[np.ndarray, "#seeds pairs"], b: Float[np.ndarray, "seeds pairs"]
) -> Float[np.ndarray, " seeds"]:
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    # what a regression leaves of a flat matrix is rounding
    flat = size < 1e-9 * a.shape[1] ** 3
    return np.where(flat, 0, (a * b).sum(axis=1) / np.where(flat, 1, size))
