"""What is drawn of many seeds: mean, standard error, range, and how many there were."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from nsh._checks import require, require_all


class OverSeeds(NamedTuple):
    """Statistics over seeds at each place, of the seeds that are not NaN there.

    `standard_error` = sample standard deviation / sqrt(`seeds`), NaN below two seeds; the others
    are NaN where no seed is left. `low`, `high`: 10% and 90% quantiles. `total`: seeds given.
    """

    mean: Float[np.ndarray, " places"]
    standard_error: Float[np.ndarray, " places"]
    low: Float[np.ndarray, " places"]
    high: Float[np.ndarray, " places"]
    seeds: Int[np.ndarray, " places"]
    total: int

    def labelled(self, label: str) -> str:
        """`label`, which says so where seeds are missing."""
        fewest = int(self.seeds.min())
        if fewest == self.total:
            return label
        most = int(self.seeds.max())
        counts = f"{fewest}" if fewest == most else f"{fewest}–{most}"
        return f"{label} ({counts} of {self.total} seeds)"


def over_seeds(values: ArrayLike, places: int, field: str) -> OverSeeds:
    """Statistics of values[seeds, places]; NaN: that seed is missing there.

    Raises `ValueError` on another shape, on an infinite value, and if all is NaN.
    """
    array = np.asarray(values)
    require(array.dtype.kind in "biuf", f"{field}.dtype", str(array.dtype), "bool, int or float")
    allowed = f"(seeds, {places}) with at least one seed"
    right = array.ndim == 2 and array.shape[0] > 0 and array.shape[1] == places
    require(right, f"{field}.shape", array.shape, allowed)
    array = array.astype(float)
    require_all(~np.isinf(array), field, array, "finite, or NaN for a missing seed")
    there = ~np.isnan(array)
    require(there.any(), field, "NaN everywhere", "a number for at least one seed")
    seeds = there.sum(axis=0)
    mean = _divide(np.where(there, array, 0).sum(axis=0), seeds)
    squares = np.where(there, array - mean, 0) ** 2
    standard_error = np.sqrt(_divide(_divide(squares.sum(axis=0), seeds - 1), seeds))
    some = seeds > 0
    low, high = np.full((2, places), np.nan)
    low[some], high[some] = np.nanquantile(array[:, some], [0.1, 0.9], axis=0)
    return OverSeeds(mean, standard_error, low, high, seeds, len(array))


def _divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
