"""The README's code is the tour's, which tests/docs runs; what it links to is there."""

import re
from pathlib import Path

from snippets import blocks

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def test_code_is_that_of_the_tour():
    assert blocks(README) == blocks(ROOT / "docs" / "start" / "tour.md")[:2]


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    inside = [target for target in targets if not target.startswith(("http", "#"))]
    assert len(inside) > 10
    for target in inside:
        assert (ROOT / target).is_file(), target
