"""The README's code runs, its numbers are those of the newest results, its links lead somewhere."""

import re
from pathlib import Path

from snippets import blocks, names_of

from experiments.harness.outcomes import format_measured, read_outcomes

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def test_code_answers_its_question():
    assert len(blocks(README)) == 1
    ratio = names_of(README)["ratio"]
    assert ratio.count == 16
    # 1 is what the same movement within and across classes gives
    assert ratio.mean - 1 > 4 * ratio.standard_error > 0


def test_results_are_the_newest():
    text = README.read_text(encoding="utf-8")
    rows = re.findall(r"<!-- (\w+): (.+?) --> \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    assert len(rows) == 5
    claims = {
        (outcome.experiment, claim.name): claim
        for outcome in read_outcomes(ROOT / "docs" / "claims.json")
        for claim in outcome.claims
    }
    for experiment, name, value, holds in rows:
        claim = claims[experiment, name]
        assert value == format_measured(claim), "make claims"
        assert holds == ("yes" if claim.holds else "**no**"), "make claims"


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    inside = [target for target in targets if not target.startswith(("http", "#"))]
    assert len(inside) > 10
    for target in inside:
        assert (ROOT / target).is_file(), target
