"""A claim is data: what a paper says, what was measured, and whether it holds.

A `Criterion` makes both the words of a test and its verdict, so that these cannot differ:

    claim("rises", "a paper, Figure 2")
    .says("what rises")
    .test("rate, last minus first", rates, above(0))

has the criterion "rate, last minus first: above 0 by more than 2 SE".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from experiments.harness.statistics import Verdict, judged
from nsh.measure import Estimate, estimate


@dataclasses.dataclass(frozen=True)
class Claim:
    """One statement of a paper put to the test.

    NumPy and JAX scalars are accepted for the numbers and kept as plain Python ones; a `Verdict`
    is accepted for `holds` and kept as `test`.
    """

    name: str
    source: str
    """Paper, section or figure."""
    statement: str
    """What the paper says."""
    criterion: str
    """The test in words, with its tolerance."""
    measured: float | np.floating
    standard_error: float | np.floating | None
    """Over seeds; None where there is no sampling."""
    holds: bool | np.bool_ | Verdict
    test: Verdict | None = None
    """What chance can do to the verdict; None where that is not known."""

    def __post_init__(self) -> None:
        """Make the numbers plain, so that they can be written as JSON."""
        error = self.standard_error
        if isinstance(self.holds, Verdict) and math.isfinite(self.holds.p):
            object.__setattr__(self, "test", self.holds)
        object.__setattr__(self, "measured", float(self.measured))
        object.__setattr__(self, "standard_error", None if error is None else float(error))
        object.__setattr__(self, "holds", bool(self.holds))


class Statement(NamedTuple):
    """A claim to be tested."""

    name: str
    source: str
    statement: str = ""

    def says(self, statement: str) -> Statement:
        """Set what the paper says."""
        return self._replace(statement=statement)

    def test(self, quantity: str, found: Estimate | ArrayLike, criterion: Criterion) -> Claim:
        """Put the statement to the test.

        `found`: an estimate, or the numbers of all seeds, or one exact number.
        """
        mean, error = _mean_and_error(found)
        words = criterion.exact if error is None else criterion.words
        verdict = criterion.judge(mean, error)
        return Claim(*self, f"{quantity}: {words}", mean, error, verdict)


def claim(name: str, source: str) -> Statement:
    """Begin a claim: its name in tables, and who says it."""
    return Statement(name, source)


@dataclasses.dataclass(frozen=True)
class Criterion:
    """What an estimate must fulfil: in words, and as a decision."""

    words: str
    exact: str
    """Words for a number without an error."""
    judge: Callable[[float, float | None], Verdict | bool]
    """The decision on a mean and its standard error, which is None for an exact number."""

    def __and__(self, other: Criterion) -> Criterion:
        """Ask for both."""
        return Criterion(
            f"{self.words}, and {other.words}",
            f"{self.exact}, and {other.exact}",
            lambda mean, error: bool(self.judge(mean, error) and other.judge(mean, error)),
        )

    def of_worst(self, which: str = "the worst") -> Criterion:
        """Ask it of the worst of several estimates, which leaves chance's part in it unknown."""
        shown = f" ({which} is shown)"
        return Criterion(
            self.words + shown,
            self.exact + shown,
            lambda mean, error: bool(self.judge(mean, error)),
        )


def also(quantity: str, found: Estimate | ArrayLike, criterion: Criterion) -> Criterion:
    """Ask a criterion of something else that was measured, for use with ``&``."""
    mean, error = _mean_and_error(found)
    words = f"{quantity} {criterion.exact if error is None else criterion.words}"
    return Criterion(words, words, lambda *_: bool(criterion.judge(mean, error)))


def above(bound: float, errors: float = 2.0) -> Criterion:
    """Exceed `bound` by more than so many standard errors."""
    return _evidence(f"above {bound:.4g}", lambda mean: mean - bound, errors)


def below(bound: float, errors: float = 2.0) -> Criterion:
    """Fall below `bound` by more than so many standard errors."""
    return _evidence(f"below {bound:.4g}", lambda mean: bound - mean, errors)


def beyond(bound: float, sign: float, errors: float = 2.0) -> Criterion:
    """`above` if `sign` is positive, else `below`."""
    return (above if sign > 0 else below)(bound, errors)


def surely_within(bound: float, tolerance: float, errors: float = 2.0) -> Criterion:
    """Be nearer to `bound` than `tolerance` by more than so many standard errors."""
    words = f"within {tolerance:.4g} of {bound:.4g}"
    return _evidence(words, lambda mean: tolerance - abs(mean - bound), errors)


def at_most(bound: float, errors: float = 2.0) -> Criterion:
    """Do not exceed `bound` by more than so many standard errors."""
    words = f"not above {bound:.4g}{_by(errors)}"
    return _no_evidence(words, f"at most {bound:.4g}", lambda mean: mean - bound, errors)


def at_least(bound: float, errors: float = 2.0) -> Criterion:
    """Do not fall below `bound` by more than so many standard errors."""
    words = f"not below {bound:.4g}{_by(errors)}"
    return _no_evidence(words, f"at least {bound:.4g}", lambda mean: bound - mean, errors)


def within(bound: float, errors: float = 3.0, tolerance: float = 0.0) -> Criterion:
    """Be at most `tolerance` plus so many standard errors away from `bound`."""
    margins = [f"{tolerance:.4g}"] * bool(tolerance) + [f"{errors:g} SE"] * bool(errors)
    words, exact = (f"within {text} of {bound:.4g}" for text in (" + ".join(margins), margins[0]))
    sides = 1 if tolerance else 2  # beyond an interval, the far end has no part in it
    return _no_evidence(words, exact, lambda mean: abs(mean - bound) - tolerance, errors, sides)


def within_either(bound: float, errors: float, tolerance: float) -> Criterion:
    """Be within so many standard errors of `bound`, or within `tolerance`."""
    near = within(bound, errors)

    def judge(mean: float, error: float | None) -> Verdict | bool:
        verdict, close = near.judge(mean, error), abs(mean - bound) <= tolerance
        if close and isinstance(verdict, Verdict):
            return dataclasses.replace(verdict, holds=True, p=1.0)
        return close or verdict

    words = f"within {errors:g} SE or {tolerance:.4g} of {bound:.4g}"
    return Criterion(words, f"within {tolerance:.4g} of {bound:.4g}", judge)


def _by(errors: float) -> str:
    return f" by more than {errors:g} SE" if errors else ""


def _evidence(words: str, excess: Callable[[float], float], errors: float) -> Criterion:
    def judge(mean: float, error: float | None) -> Verdict | bool:
        return excess(mean) > 0 if error is None else judged(excess(mean), error, errors, True)

    return Criterion(words + _by(errors), words, judge)


def _no_evidence(
    words: str, exact: str, excess: Callable[[float], float], errors: float, sides: int = 1
) -> Criterion:
    def judge(mean: float, error: float | None) -> Verdict | bool:
        return (
            excess(mean) <= 0
            if error is None
            else judged(excess(mean), error, errors, False, sides)
        )

    return Criterion(words, exact, judge)


def _mean_and_error(found: Estimate | ArrayLike) -> tuple[float, float | None]:
    if isinstance(found, Estimate):
        return float(found.mean), float(found.standard_error)
    numbers = np.asarray(found, np.float64)
    return (float(numbers), None) if numbers.ndim == 0 else _mean_and_error(estimate(numbers))
