"""Numbers to the bits of level 1: above or below each threshold."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Bool

from nsh._checks import require, require_numeric
from nsh._types import ArrayLike


@dataclasses.dataclass(frozen=True)
class Binarise:
    """``x[n, *shape] -> bool[n, width]``: first which inputs reach each threshold, then which not.

    The second half is there because firing only ever adds to a score: what is missing in an image
    can tell classes apart only as a feature of its own. Bit ``t P + p`` of either half: input p of
    the P (flattened) and threshold t. Raises `ValueError` on another shape, and on NaN.
    """

    shape: tuple[int, ...]
    thresholds: tuple[float, ...]

    @property
    def inputs(self) -> int:
        """Number of inputs of a sample."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Number of bits of an encoded sample."""
        return 2 * len(self.thresholds) * self.inputs

    def __call__(self, x: ArrayLike) -> Bool[np.ndarray, "n width"]:
        """The bits of each sample."""
        x = require_numeric("x", x)
        expected = f"(n, {', '.join(map(str, self.shape))})"
        require(x.ndim > 0 and x.shape[1:] == self.shape, "x.shape", x.shape, expected)
        flat = x.reshape(len(x), -1)
        reached = np.concatenate([flat >= threshold for threshold in self.thresholds], axis=1)
        return np.concatenate([reached, ~reached], axis=1)
