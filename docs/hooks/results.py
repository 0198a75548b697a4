"""The results pages, written from `docs/claims.json`: no number of them is typed by hand.

As a script it writes the numbers of the README's table: ``make claims``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # the experiments are no installed package
    sys.path.append(str(ROOT))

from experiments import EXPERIMENTS  # noqa: E402
from experiments.harness.claim import Claim  # noqa: E402
from experiments.harness.command_line import docstring, short_name  # noqa: E402
from experiments.harness.outcomes import (  # noqa: E402
    Outcome,
    adjusted,
    format_measured,
    read_outcomes,
)
from experiments.harness.statistics import after_holm, expected_by_chance  # noqa: E402

CLAIMS = ROOT / "docs" / "claims.json"
SUMMARY, TABLES = "<!-- summary of the claims -->", "<!-- tables of the claims -->"
README = ROOT / "README.md"
ROW = re.compile(r"<!-- (\w+): (.+?) --> \|.*\|$", re.MULTILINE)
VALUE = re.compile(r"\{\{ (value|holds) (\w+): (.+?) \}\}")
HEAD = "<tr><th>claim</th><th>what is said, and <em>the test</em></th><th>measured ± SE</th><th>holds</th><th>after Holm</th></tr>"  # noqa: E501


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in what a page asks for: the summary, the tables, or single values and verdicts."""
    if not (SUMMARY in markdown or TABLES in markdown or VALUE.search(markdown)):
        return markdown
    outcomes = read_outcomes(CLAIMS)
    for marker, written in ((SUMMARY, summary), (TABLES, tables)):
        if marker in markdown:
            markdown = markdown.replace(marker, written(outcomes))
    return with_values(markdown, outcomes)


def with_values(markdown: str, outcomes: Sequence[Outcome]) -> str:
    """Replace ``{{ value experiment: claim }}`` and ``{{ holds experiment: claim }}``."""

    def found(match: re.Match[str]) -> str:
        what, experiment, name = match.groups()
        claim = _claim(outcomes, experiment, name)
        return format_measured(claim) if what == "value" else verdict(bool(claim.holds))

    return VALUE.sub(found, markdown)


def with_rows(markdown: str, outcomes: Sequence[Outcome]) -> str:
    """Fill the last two columns of rows with ``<!-- experiment: claim -->`` before them."""

    def found(match: re.Match[str]) -> str:
        claim = _claim(outcomes, *match.groups())
        name = f"<!-- {match[1]}: {match[2]} -->"
        return f"{name} | {format_measured(claim)} | {verdict(bool(claim.holds))} |"

    return ROW.sub(found, markdown)


def _claim(outcomes: Sequence[Outcome], experiment: str, name: str) -> Claim:
    for outcome in outcomes:
        for claim in outcome.claims:
            if (outcome.experiment, claim.name) == (experiment, name):
                return claim
    raise KeyError(f"{experiment}: {name}: docs/claims.json has no such claim")


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many claims hold, how many tests chance could have decided, and what Holm leaves."""
    claims = [claim for outcome in outcomes for claim in outcome.claims]
    tests = [claim.test for claim in claims if claim.test is not None]
    evidence = [test for test in tests if test.asks_for_evidence]
    agreement = [test for test in tests if not test.asks_for_evidence]
    kept = after_holm(tests)
    lost = sum(test.holds and not after for test, after in zip(tests, kept, strict=True))
    won = sum(after and not test.holds for test, after in zip(tests, kept, strict=True))
    holding = sum(bool(claim.holds) for claim in claims)
    errors = [outcome.experiment for outcome in outcomes if outcome.error is not None]
    lines = [
        f"{len(outcomes)} experiments test {len(claims)} claims. "
        f"{holding} hold and {len(claims) - holding} do not.",
        "",
        f"{len(tests)} of the tests compare an estimate with a bound, in standard errors.",
        "",
        f"- {len(evidence)} of them ask for evidence: the estimate must lie beyond the bound. "
        f"{sum(test.holds for test in evidence)} hold. If each truth lay exactly at its bound, "
        f"{expected_by_chance(evidence):.1f} would hold by chance.",
        f"- {len(agreement)} ask for agreement: the estimate must not lie beyond the bound. "
        f"{sum(not test.holds for test in agreement)} fail. If each truth lay exactly at its "
        f"bound, {expected_by_chance(agreement):.1f} would fail by chance.",
        f"- After [Holm's correction](#chance) for all {len(tests)} tests, {lost} claims that hold "
        f"are no longer settled, and {won} that fail may have failed by chance.",
    ]
    if errors:
        lines += ["", f"The newest run of these ended in an error: {', '.join(errors)}."]
    return "\n".join(lines)


def tables(outcomes: Sequence[Outcome]) -> str:
    """A heading and a table for each experiment."""
    modules = {short_name(module): module for module in EXPERIMENTS}
    parts = []
    for outcome, verdicts in zip(outcomes, adjusted(outcomes), strict=True):
        name = outcome.experiment
        title = docstring(modules[name]).partition("\n")[0] if name in modules else name
        holding = sum(bool(claim.holds) for claim in outcome.claims)
        rows = "".join(map(_row, outcome.claims, verdicts))
        parts.append(
            f"## {title.rstrip('.')} {{ #{name} }}\n\n"
            f"`make reproduce ONLY={name}`: {holding} of {len(outcome.claims)} claims hold.\n\n"
            f'<div class="nsh-claims"><table><thead>{HEAD}</thead><tbody>{rows}</tbody></table>'
            "</div>\n"
        )
    return "\n".join(parts)


def verdict(holds: bool) -> str:
    """Write a verdict: yes, or a bold no."""
    return "yes" if holds else "**no**"


def _row(claim: Claim, after: bool | None) -> str:
    def cell(holds: bool | None) -> str:
        return "" if holds is None else "yes" if holds else "<strong>no</strong>"

    said = f"{escape(claim.statement)}<br><em>{escape(claim.criterion)}</em>"
    cells = (
        f"{escape(claim.name)}<br><small>{escape(claim.source)}</small>",
        said,
        escape(format_measured(claim)),
        cell(bool(claim.holds)),
        cell(after),
    )
    return "<tr>" + "".join(f"<td>{text}</td>" for text in cells) + "</tr>"


if __name__ == "__main__":
    README.write_text(with_rows(README.read_text("utf-8"), read_outcomes(CLAIMS)), "utf-8")
