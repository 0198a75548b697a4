"""Which members (grid points x seeds) are trained, and written, together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Blocks:
    """Members [*grid, seeds] cut into blocks of one `size`, those at the ends being cut short.

    Each block is one chunk of every array in the store, so that writing one touches no other.
    """

    shape: tuple[int, ...]
    size: tuple[int, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], members: int, whole: int = 0) -> Blocks:
        """Blocks of about `members`: all along the last axes, then some, then one at a time.

        The last `whole` axes are never cut.
        """
        size, left = [], max(members, 1)
        for place, length in enumerate(reversed(shape)):
            size.append(length if place < whole else min(length, left))
            left = max(left // length, 1) if size[-1] == length else 1
        return cls(shape, tuple(reversed(size)))

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(math.ceil(n / s) for n, s in zip(self.shape, self.size, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return itertools.product(*map(range, self.counts))

    def region(self, block: tuple[int, ...]) -> tuple[slice, ...]:
        """The members of a block."""
        return tuple(
            slice(i * s, min((i + 1) * s, n))
            for i, s, n in zip(block, self.size, self.shape, strict=True)
        )

    def members(self, block: tuple[int, ...]) -> int:
        """Number of members of a block."""
        return math.prod(part.stop - part.start for part in self.region(block))
