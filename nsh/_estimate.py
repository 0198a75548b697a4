"""Means with their standard errors: one class for all that is averaged over seeds or networks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Int, PyTree
from numpy.typing import ArrayLike

from nsh._shown import Shown


class Estimate(Shown):
    """A mean and its standard error, leaves [*grid, *leaf], of `count` [*grid] values.

    `standard_error` = sample standard deviation / sqrt(`count`); NaN below two values.

    Example:
        >>> from nsh.measure import Estimate
        >>> Estimate(mean=0.25, standard_error=0.125, count=16)
        Estimate(mean=0.25, standard_error=0.125, count=16)
    """

    mean: PyTree
    standard_error: PyTree
    count: Int[Array, "*grid"] | Int[np.ndarray, "*grid"] | int


def estimate(values: ArrayLike, axis: int | None = None) -> Estimate:
    """Average NumPy values over an axis, or over all entries, in 64-bit floats on the host.

    Give one value for each seed: the standard error takes values to be independent. Within
    compiled code, `nsh.training.mean_over_seeds` does the same.

    Example:
        >>> from nsh.measure import estimate
        >>> found = estimate([1.0, 2.0, 4.0, 5.0])
        >>> print(f"{found.mean:.3f} +- {found.standard_error:.3f} of {found.count}")
        3.000 +- 0.913 of 4
    """
    numbers = np.asarray(values, np.float64)
    count = numbers.size if axis is None else numbers.shape[axis]
    mean = numbers.mean(axis)
    if count < 2:
        return Estimate(mean, np.full(np.shape(mean), np.nan)[()], count)
    return Estimate(mean, numbers.std(axis, ddof=1) / np.sqrt(count), count)
