"""Means over seeds with their standard errors, and differences in units of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Estimate(NamedTuple):
    """A mean over seeds and its standard error."""

    mean: float
    error: float

    def above(self, bound: float, errors: float = 2.0) -> bool:
        """Whether the mean exceeds `bound` by more than so many standard errors."""
        return self.mean - bound > errors * self.error


def over_seeds(values: ArrayLike) -> Estimate:
    """Mean of one number per seed, with standard error std / sqrt(seeds)."""
    numbers = np.asarray(values, np.float64)
    error = numbers.std(ddof=1) / np.sqrt(numbers.size) if numbers.size > 1 else np.nan
    return Estimate(float(numbers.mean()), float(error))
