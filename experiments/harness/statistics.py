"""Means over seeds with their standard errors, and their tests, which say what chance can do.

A test compares an estimate with a bound, in standard errors, and becomes a `Verdict`: whether the
claim holds, and the chance that an estimate falls as far beyond the bound if the truth lies at it.
With hundreds of tests some verdicts are due to chance. `expected_by_chance` says how many, and
`after_holm` says which verdicts remain when the number of tests is taken into account.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

TWO_ERRORS = math.erfc(2 / math.sqrt(2)) / 2
"""The chance that a normal estimate exceeds its mean by 2 standard errors."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a claim holds by a test of one estimate; never where that has no standard error."""

    holds: bool
    asks_for_evidence: bool
    """True: it holds where the estimate is beyond the bound. False: where it is not."""
    level: float
    """Chance of an estimate beyond the bound, and the errors allowed, if the truth is the bound."""
    p: float
    """Chance of an estimate as far beyond the bound as this one, if the truth is the bound."""

    def __bool__(self) -> bool:
        """Whether the claim holds."""
        return self.holds

    @property
    def beyond(self) -> bool:
        """Whether the estimate was found beyond the bound: what chance may have done."""
        return self.holds == self.asks_for_evidence


class Estimate(NamedTuple):
    """A mean over seeds and its standard error."""

    mean: float
    error: float

    def above(self, bound: float, errors: float = 2.0) -> Verdict:
        """Whether the mean exceeds `bound` by more than so many standard errors."""
        return self._evidence(self.mean - bound, errors)

    def below(self, bound: float, errors: float = 2.0) -> Verdict:
        """Whether the mean falls below `bound` by more than so many standard errors."""
        return self._evidence(bound - self.mean, errors)

    def beyond(self, bound: float, sign: float, errors: float = 2.0) -> Verdict:
        """`above` if `sign` is positive, else `below`."""
        return (self.above if sign > 0 else self.below)(bound, errors)

    def surely_within(self, bound: float, tolerance: float, errors: float = 2.0) -> Verdict:
        """Whether the mean is nearer to `bound` than `tolerance` by so many standard errors."""
        return self._evidence(tolerance - abs(self.mean - bound), errors)

    def at_most(self, bound: float, errors: float = 2.0) -> Verdict:
        """Whether the mean does not exceed `bound` by more than so many standard errors."""
        return self._no_evidence(self.mean - bound, errors)

    def at_least(self, bound: float, errors: float = 2.0) -> Verdict:
        """Whether the mean does not fall below `bound` by more than so many standard errors."""
        return self._no_evidence(bound - self.mean, errors)

    def within(self, bound: float, errors: float = 3.0, tolerance: float = 0.0) -> Verdict:
        """Whether the mean is at most `tolerance` + so many standard errors away from `bound`."""
        sides = 1 if tolerance else 2  # beyond an interval, the far end has no part in it
        return self._no_evidence(abs(self.mean - bound) - tolerance, errors, sides)

    def within_either(self, bound: float, errors: float, tolerance: float) -> Verdict:
        """Whether the mean is within so many standard errors of `bound`, or within `tolerance`."""
        found = self.within(bound, errors)
        close = abs(self.mean - bound) <= tolerance
        return dataclasses.replace(found, holds=True, p=1.0) if close else found

    def _evidence(self, excess: float, errors: float) -> Verdict:
        holds = bool(excess > errors * self.error)
        return Verdict(holds, True, _tail(errors), self._p(excess, 1))

    def _no_evidence(self, excess: float, errors: float, sides: int = 1) -> Verdict:
        holds = bool(excess <= errors * self.error)
        return Verdict(holds, False, min(sides * _tail(errors), 1.0), self._p(excess, sides))

    def _p(self, excess: float, sides: int) -> float:
        if self.error > 0:
            return min(sides * _tail(excess / self.error), 1.0)
        return math.nan if math.isnan(self.error) else float(not excess > 0)


def _tail(errors: float) -> float:
    return math.erfc(errors / math.sqrt(2)) / 2


def over_seeds(values: ArrayLike) -> Estimate:
    """Mean of one number per seed, with standard error std / sqrt(seeds)."""
    numbers = np.asarray(values, np.float64)
    error = numbers.std(ddof=1) / np.sqrt(numbers.size) if numbers.size > 1 else np.nan
    return Estimate(float(numbers.mean()), float(error))


def expected_by_chance(verdicts: Sequence[Verdict]) -> float:
    """How many estimates would be found beyond their bounds if each truth lay at its bound."""
    return math.fsum(verdict.level for verdict in verdicts)


def after_holm(verdicts: Sequence[Verdict], level: float = TWO_ERRORS) -> list[bool]:
    """Whether each claim holds when the number of tests is taken into account.

    Holm's step-down correction (Scandinavian Journal of Statistics 6, 65-70, 1979): the chance
    that any estimate is taken to be beyond its bound by accident is at most `level`, however the
    tests depend on each other. It takes findings back and adds none.
    """
    p = np.array([verdict.p for verdict in verdicts])
    order = np.argsort(p)  # NaN last
    small = p[order] <= level / np.arange(len(p), 0, -1)
    found = np.zeros(len(p), bool)
    found[order] = np.logical_and.accumulate(small)
    return [
        (verdict.beyond and bool(kept)) == verdict.asks_for_evidence
        for verdict, kept in zip(verdicts, found, strict=True)
    ]
