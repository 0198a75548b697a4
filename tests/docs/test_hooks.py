"""What the documentation's build does on its own: links, diagrams, pages that stand elsewhere."""

import re
from pathlib import Path

import pytest
from architecture import MAY_IMPORT

from experiments.harness.claim import above, below, claim, within
from experiments.harness.outcomes import Outcome
from nsh.measure import Estimate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def added():
    return {}


def test_broken_links_and_what_comes_from_outside_are_found(hook, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="sub/b.html#there">fine</a><a href="sub/b.html#gone">no</a>'
        '<a href="missing.html">no</a><a href="https://arxiv.org/abs/2112.09741">fine</a>'
        '<img alt="x" src="https://arxiv.org/x.png"><script src="//arxiv.org/x.js"></script>'
        '<img src="data:image/png;base64,AA=="><code>&lt;a href="nowhere"&gt;</code>'
    )
    (tmp_path / "sub" / "b.html").write_text('<p id="there"><a href="../a.html#top">fine</a>')
    found = hook("checks").broken_links(tmp_path)
    assert len(found) == 4
    for wrong in ("#gone: there is no such place", "missing.html leads nowhere",
                  "x.png is fetched from outside", "x.js is fetched from outside"):  # fmt: skip
        assert sum(wrong in complaint for complaint in found) == 1


def test_links_of_pages_that_stand_elsewhere(hook, added):
    text = (
        "![p](docs/pictures/neurashed.gif) [tour](docs/start/tour.md#measure)\n"
        "[`rules`](nsh/neurashed/rules.py), [exact](nsh/neurashed/exact/feature.py) "
        "[the `own` one](experiments/harness/claim.py) [out](https://arxiv.org) [no](docs/no.md)\n"
        "`f[x](nsh/system.py)`\n```python\nf[x](nsh/system.py)\n```\n"
    )
    found = hook("from_repository")._relinked(text, ROOT, "about/changes.md", added.__setitem__)
    assert "![p](../pictures/neurashed.gif) [tour](../start/tour.md#measure)" in found
    assert (
        "[`rules`](../reference/neurashed.md), [exact](../reference/exact.md) the `own` one "
        in found
    )
    assert "[out](https://arxiv.org) [no](docs/no.md)" in found
    assert "`f[x](nsh/system.py)`\n```python\nf[x](nsh/system.py)\n```" in found


@pytest.fixture
def outcomes():
    found = Estimate(2.5, 1.0, 9)
    claims = [
        claim("a | b", "paper <1>").says("it is so").test("that", found, above(0)),
        claim("c", "paper").says("so too").test("that", found, above(1)),
        claim("d", "paper").says("0").test("that", found, within(0, 2)),
        claim("e", "paper").says("one").test("that", 3.0, below(4)),
    ]
    return [Outcome("scaling_law", claims), Outcome("of_nobody", error="RuntimeError: no")]


def test_results_page_counts_claims_and_what_chance_does(hook, outcomes):
    summary = hook("results").summary(outcomes)
    assert "2 experiments test 4 claims. 2 hold and 2 do not." in summary
    assert "3 of the tests compare" in summary
    # chances of 0.0062 and 0.012, against 0.0228 / 3 and 0.0228 / 2, in the order of Holm
    assert "2 of them ask for evidence" in summary
    assert "1 hold. If each truth lay exactly at its bound, 0.0 would" in summary
    assert "1 ask for agreement" in summary
    assert "0 claims that hold are no longer settled, and 1 that fail may" in summary
    assert "ended in an error: of_nobody." in summary


def test_results_page_shows_every_claim(hook, outcomes):
    tables = hook("results").tables(outcomes)
    assert "{ #scaling_law }" in tables
    assert "`make reproduce ONLY=scaling_law`: 2 of 4 claims hold." in tables
    assert "a | b<br><small>paper &lt;1&gt;</small>" in tables
    rows = re.findall(r"<td>([\d.]+(?: ± [\d.]+)?)</td><td>(.*?)</td><td>(.*?)</td>", tables)
    no = "<strong>no</strong>"
    assert rows == [("2.5 ± 1.0", "yes", "yes"), ("2.5 ± 1.0", no, no), ("2.5 ± 1.0", no, "yes"),
                    ("3", "yes", "")]  # fmt: skip


def test_pages_take_values_of_claims_by_name(hook, outcomes):
    page = "{{ value scaling_law: a | b }} {{ holds scaling_law: c }}"
    assert hook("results").with_values(page, outcomes) == "2.5 ± 1.0 **no**"
    row = "| what <!-- scaling_law: c --> | 7 | yes |\n| as it is | 1 | no |"
    filled = "| what <!-- scaling_law: c --> | 2.5 ± 1.0 | **no** |\n| as it is | 1 | no |"
    assert hook("results").with_rows(row, outcomes) == filled
    with pytest.raises(KeyError, match=r"has no such claim"):
        hook("results").with_values("{{ value scaling_law: x }}", outcomes)


def test_pages_ask_for_claims_that_there_are(hook):
    module = hook("results")
    for page in (ROOT / "docs").rglob("*.md"):
        written = module.on_page_markdown(page.read_text("utf-8"))
        assert "{{ value" not in written
        assert "<!-- tables" not in written


def test_diagram_is_the_table_that_imports_are_held_to(hook):
    diagrams = hook("diagrams")
    drawn = diagrams.needed()
    shown = {part for part in MAY_IMPORT if not part.startswith("nsh._")}
    assert set(drawn) == shown
    for part in shown:
        below, todo = set(), set(drawn[part])
        while todo:
            below |= todo
            todo = set().union(*(drawn[other] for other in todo)) - below
        for name in MAY_IMPORT[part]:
            owner = ".".join(name.split(".")[:2])
            assert owner in below or owner not in shown
        # nothing is drawn that may not be imported, by itself or through what lies between
        assert drawn[part] <= {".".join(name.split(".")[:2]) for name in MAY_IMPORT[part]}
    svg = diagrams.diagram(drawn)
    assert svg.count("<path") == sum(map(len, drawn.values()))
    for part in shown:
        assert f">{part[4:]}</text>" in svg


def test_diagram_has_importers_above_and_boxes_apart(hook):
    at = hook("diagrams").places(hook("diagrams").needed())
    for part, others in hook("diagrams").needed().items():
        assert all(at[other][1] < at[part][1] for other in others)
    for place in at.values():
        rivals = [p for p in at.values() if p[1] == place[1] and abs(p[0] - place[0]) < 1]
        assert rivals == [place]


def test_shapes_lose_their_leading_space_in_signatures_only(hook):
    html = (
        '<div class="language-python doc-signature highlight"><span class="s2">" n"</span></div>'
        '<div class="highlight"><span class="s2">" n"</span></div>'
    )
    found = hook("signatures").on_page_content(html)
    assert re.findall(r'"s2">("[^<]*)<', found) == ['"n"', '" n"']


def test_pages_name_no_file_that_is_not_there():
    """Paths in backticks on the pages are paths of the repository."""
    paths = re.compile(r"`((?:experiments|tests|docs|notebooks|nsh)/[\w./]*)`")
    for page in (ROOT / "docs").rglob("*.md"):
        for path in paths.findall(page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page}: {path}"
