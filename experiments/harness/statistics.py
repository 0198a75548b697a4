"""Tests of estimates, which say what chance can do.

A test compares an estimate with a bound, in standard errors, and becomes a `Verdict`: whether the
claim holds, and the chance that an estimate falls as far beyond the bound if the truth lies at it.
With hundreds of tests some verdicts are due to chance. `expected_by_chance` says how many, and
`after_holm` says which verdicts remain when the number of tests is taken into account.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

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


def judged(
    excess: float, error: float, errors: float, asks_for_evidence: bool, sides: int = 1
) -> Verdict:
    """Decide by how far an estimate with a standard error lies beyond its bound.

    It is found beyond where `excess` is more than so many `errors`; `sides` is 2 where the bound
    is one number that the estimate may miss on both sides.
    """
    holds = excess > errors * error if asks_for_evidence else excess <= errors * error
    level = min(sides * _tail(errors), 1.0)
    if error > 0:
        p = min(sides * _tail(excess / error), 1.0)
    else:
        p = math.nan if math.isnan(error) else float(not excess > 0)
    return Verdict(bool(holds), asks_for_evidence, level, p)


def _tail(errors: float) -> float:
    return math.erfc(errors / math.sqrt(2)) / 2


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
