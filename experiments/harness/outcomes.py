"""What became of experiments: their claims on disk, corrected for their number, and printed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from uncertainties import ufloat

from experiments.harness.claim import Claim
from experiments.harness.statistics import Verdict, after_holm
from nsh._files import atomic


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one experiment: its claims, or the error that ended it.

    Both in ``claims.json``: the newest run ended in the error, the claims are of the one before.
    """

    experiment: str
    claims: Sequence[Claim] = ()
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data; numbers that JSON cannot hold (NaN, infinities) become None."""
        claims = [
            {key: _finite_or_none(value) for key, value in dataclasses.asdict(claim).items()}
            for claim in self.claims
        ]
        for claim in claims:
            if claim["test"] is not None:
                del claim["test"]["holds"]
        return {"experiment": self.experiment, "error": self.error, "claims": claims}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Outcome:
        """What `as_json` gave, with NaN for None."""
        claims = [_claim_from_json(claim) for claim in entry["claims"]]
        return cls(entry["experiment"], claims, entry["error"])


def read_outcomes(path: Path) -> list[Outcome]:
    """What `write_claims` wrote to the JSON file at `path`; nothing if there is none."""
    try:
        return [Outcome.from_json(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []


def write_claims(path: Path, outcomes: Sequence[Outcome], order: Sequence[str]) -> None:
    """Put the outcomes into the JSON file at `path`; entries of other experiments stay.

    So do the claims of an experiment that now ended in an error. All are sorted as in `order`,
    unknown ones last.
    """
    known = {outcome.experiment: outcome for outcome in read_outcomes(path)}
    for new in outcomes:
        before = known.get(new.experiment, new)
        claims = new.claims if new.error is None else before.claims
        known[new.experiment] = dataclasses.replace(new, claims=claims)
    rank = {name: place for place, name in enumerate(order)}
    ordered = sorted(known.values(), key=lambda o: rank.get(o.experiment, len(rank)))
    with atomic(path) as temporary:
        entries = [outcome.as_json() for outcome in ordered]
        text = json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def adjusted(outcomes: Sequence[Outcome]) -> list[list[bool | None]]:
    """Correct all verdicts for the number of tests, by `after_holm`; None for those without one."""
    tests = [claim.test for one in outcomes for claim in one.claims if claim.test is not None]
    kept = iter(after_holm(tests))
    return [[None if c.test is None else next(kept) for c in one.claims] for one in outcomes]


def print_claims(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print all claims, a table per experiment: name, source, what is said, measured, holds."""
    for outcome in outcomes:
        console.print(_table(outcome))


def format_measured(claim: Claim) -> str:
    """The measured value, with its standard error where there is one.

    The error has two significant digits, and the value ends at the same place. Without an error,
    or with one below a millionth of it, the value has four.
    """
    value, error = float(claim.measured), claim.standard_error
    if error is None:
        return f"{value:.4g}"
    if not error > 1e-6 * abs(value):
        return f"{value:.4g} ± {error:.2g}"
    return f"{ufloat(value, error):.2uP}".replace("±", " ± ")


def _table(outcome: Outcome) -> Table:
    title = Text(outcome.experiment, style="bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, leading=1, expand=True)
    table.add_column("claim", ratio=4, overflow="fold")
    table.add_column("source", ratio=3)
    table.add_column("the paper says / the test", ratio=8)
    table.add_column("measured ± SE", no_wrap=True, justify="right")
    table.add_column("holds", width=5, justify="center")
    if outcome.error is not None:
        error = Text("error", style="bold red")
        table.add_row("(did not finish)", "", Text(outcome.error), "", error)
    above = None
    for claim in outcome.claims:
        table.add_row(*_cells(claim, above))
        above = claim
    return table


def _cells(claim: Claim, above: Claim | None) -> tuple[Text, ...]:
    """Without the source, the statement and the test of the claim `above` it, if they are these."""

    def unless_above(field: str, style: str = "") -> Text:
        same = above is not None and getattr(above, field) == getattr(claim, field)
        return Text("" if same else getattr(claim, field), style)

    said = [unless_above("statement"), unless_above("criterion", "italic")]
    verdict = Text("yes", style="green") if claim.holds else Text("NO", style="bold red")
    return (
        Text(claim.name),
        unless_above("source"),
        Text("\n").join(filter(None, said)),
        Text(format_measured(claim)),
        verdict,
    )


def _claim_from_json(entry: Mapping[str, Any]) -> Claim:
    test = entry.get("test")  # not in files of older versions
    verdict = None if test is None else Verdict(holds=entry["holds"], **test)
    return Claim(**{**entry, "measured": _nan_for_none(entry["measured"]), "test": verdict})


def _nan_for_none(value: float | None) -> float:
    return math.nan if value is None else value


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
