"""Mini-batches drawn with replacement as sets of distinct samples, and their probabilities."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from nsh._checks import require

# 4,096 samples one at a time, 12 of them in mini-batches of any size
MOST_SETS = 4096


def distinct_batches(
    samples: int, size: int
) -> tuple[Int[np.ndarray, "sets most"], Float[np.ndarray, " sets"]]:
    """Every set of samples that `size` independent uniform draws can give, with its probability.

    A set of s samples has probability (number of ways to map the `size` draws onto all of it) /
    ``samples ** size``, by inclusion and exclusion ``sum_j (-1)^(s-j) C(s, j) (j/samples)^size``,
    in integers, since the terms cancel. A set is filled up to min(samples, size) entries by
    repeating one of its samples. Raises `ValueError` if there are too many sets.
    """
    sizes = range(1, min(samples, size) + 1)
    count = sum(math.comb(samples, s) for s in sizes)
    field = f"distinct mini-batches of {size} of {samples} samples"
    require(count <= MOST_SETS, field, count, f"at most {MOST_SETS}")
    sets, probabilities = [], []
    for s in sizes:
        ways = sum((-1) ** (s - j) * math.comb(s, j) * j**size for j in range(s + 1))
        chosen = np.array(list(combinations(range(samples), s)), np.int32)
        sets.append(np.pad(chosen, [(0, 0), (0, sizes[-1] - s)], mode="edge"))
        probabilities.append(np.full(len(chosen), float(Fraction(ways, samples**size))))
    return np.concatenate(sets), np.concatenate(probabilities)
