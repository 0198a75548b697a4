"""Spearman's correlation of many rows at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.stats import rankdata


def rank_correlation(a: ArrayLike, b: ArrayLike) -> Float[np.ndarray, "*rows"]:
    """Spearman's correlation along the last axis; 0 where one of the two is constant."""
    return correlation(rankdata(a, axis=-1), rankdata(b, axis=-1))


def correlation(
    a: Float[np.ndarray, "*#rows n"], b: Float[np.ndarray, "*#rows n"]
) -> Float[np.ndarray, "*rows"]:
    """Pearson's correlation of ranks along the last axis; 0 where one is constant."""
    a, b = (values - values.mean(-1, keepdims=True) for values in (a, b))
    size = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    flat = size < 1e-9 * a.shape[-1] ** 3  # what a regression leaves of constant ranks is rounding
    return np.where(flat, 0, (a * b).sum(-1) / np.where(flat, 1, size))
