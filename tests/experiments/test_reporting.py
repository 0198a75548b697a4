"""The parts of the harness: provenance, files, claims and their table, progress."""

import dataclasses
import io
import itertools
import json
import math
import subprocess
import sys
import types

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from rich.console import Console
from scipy.stats import norm

from experiments.harness import progress, results
from experiments.harness.attempt import Task, attempt
from experiments.harness.claim import (
    Claim,
    Outcome,
    format_measured,
    print_claims,
    read_outcomes,
    write_claims,
)
from experiments.harness.statistics import Estimate, after_holm, expected_by_chance

pytestmark = pytest.mark.core


def test_git_commit_says_when_the_tree_is_dirty(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert results.git_commit(tmp_path) == "unknown"
    git("init", "-q")
    assert results.git_commit(tmp_path) == "unknown"
    git("commit", "-q", "--allow-empty", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert results.git_commit(tmp_path) == head
    (tmp_path / "new").touch()
    assert results.git_commit(tmp_path) == head + "+dirty"


def interrupted_write(path):
    with results.atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt


def test_atomic_leaves_old_file_or_new_one(tmp_path):
    path = tmp_path / "sub" / "data.txt"
    with results.atomic(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt):
        interrupted_write(path)
    assert path.read_text() == "old"
    with results.atomic(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_same_figure_gives_same_bytes(tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 2, 4], label="$I(T; Y)$")
    for directory in ("first", "second"):
        results.save_figure(figure, tmp_path / directory)
    for name in ("figure.png", "figure.pdf"):
        first = (tmp_path / "first" / name).read_bytes()
        assert first == (tmp_path / "second" / name).read_bytes()
        assert b"CreationDate" not in first


def test_claim_keeps_plain_numbers_and_json_stays_valid(tmp_path):
    claim = Claim("n", "s", "t", "c", np.float32("nan"), np.float64("inf"), np.bool_(False))
    assert type(claim.measured) is type(claim.standard_error) is float
    assert claim.holds is False
    write_claims(tmp_path / "claims.json", [Outcome("b", [claim]), Outcome("a")], ["a", "b"])
    first, second = json.loads(
        (tmp_path / "claims.json").read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    assert first == {"experiment": "a", "error": None, "claims": []}
    assert second["claims"][0]["measured"] is None
    assert second["claims"][0]["standard_error"] is None
    assert second["claims"][0]["criterion"] == "c"


def test_a_verdict_says_what_chance_can_do_and_is_kept(tmp_path):
    found = Estimate(1.0, 0.4)
    claims = [
        Claim("n", "s", "t", "c", *found, test) for test in (found.above(0), found.above(0.5))
    ]
    claims.append(Claim("n", "s", "t", "c", 1.0, math.nan, Estimate(1.0, math.nan).above(0)))
    assert [claim.holds for claim in claims] == [True, False, False]
    assert claims[-1].test is None
    path = tmp_path / "claims.json"
    write_claims(path, [Outcome("a", claims)], ["a"])
    (outcome,) = read_outcomes(path)
    assert [claim.test for claim in outcome.claims] == [claim.test for claim in claims]
    (entry,) = json.loads(path.read_text())
    for claim in entry["claims"]:  # as older versions wrote them
        del claim["test"]
    path.write_text(json.dumps([entry]))
    (outcome,) = read_outcomes(path)
    assert [claim.test for claim in outcome.claims] == [None] * 3


@pytest.mark.parametrize("mean", [-3.0, 0.2, 2.9, 4.5])
def test_verdicts_have_the_tails_of_the_normal_law(mean):
    found, tail = Estimate(mean, 0.5), norm(scale=0.5).sf
    for verdict, asks, p, level in (
        (found.above(1), True, tail(mean - 1), norm.sf(2)),
        (found.below(1), True, tail(1 - mean), norm.sf(2)),
        (found.beyond(1, -1, 3), True, tail(1 - mean), norm.sf(3)),
        (found.surely_within(0, 4), True, tail(4 - abs(mean)), norm.sf(2)),
        (found.at_most(1), False, tail(mean - 1), norm.sf(2)),
        (found.at_least(1, 3), False, tail(1 - mean), norm.sf(3)),
        (found.within(0), False, 2 * tail(abs(mean)), 2 * norm.sf(3)),
        (found.within(0, 2, 0.3), False, tail(abs(mean) - 0.3), norm.sf(2)),
    ):
        np.testing.assert_allclose([verdict.p, verdict.level], [p, level], rtol=1e-12)
        assert verdict.asks_for_evidence is asks
        # an estimate beyond the bound by so many errors is one of which chance makes few
        assert bool(verdict) == ((p < level) == asks)


def test_an_estimate_without_an_error_passes_no_test():
    found = Estimate(1.0, math.nan)
    for verdict in (found.above(0), found.at_most(2), found.at_least(0), found.within(1)):
        assert not verdict
        assert math.isnan(verdict.p)


def test_an_exact_estimate_is_beyond_its_bound_or_not():
    exact = Estimate(1.0, 0.0)
    assert (exact.above(0).p, exact.above(1).p, exact.within(1).p) == (0, 1, 1)
    assert not exact.above(1)
    assert exact.within(1)
    assert exact.within_either(0.99, 3, 0.02).p == 1


def test_chance_decides_as_many_tests_as_expected():
    rng = np.random.default_rng(0)
    tests = [Estimate(mean, 1.0).above(0) for mean in rng.normal(size=4000)]
    tests += [Estimate(mean, 1.0).within(0, 2) for mean in rng.normal(size=4000)]
    expected = expected_by_chance(tests)
    assert expected == pytest.approx(4000 * (norm.sf(2) + 2 * norm.sf(2)))
    assert abs(sum(test.beyond for test in tests) - expected) < 4 * np.sqrt(expected)


def test_holm_is_the_closure_of_bonferroni():
    """A finding stays if Bonferroni's test rejects every set of hypotheses that it belongs to."""
    rng, level, seen = np.random.default_rng(1), 0.05, set()
    for _ in range(60):
        means = rng.normal(scale=2, size=5)
        tests = [Estimate(m, 1.0).above(0) for m in means[:3]]
        tests += [Estimate(m, 1.0).within(0, 2) for m in means[3:]]
        sets = [s for n in range(1, 6) for s in itertools.combinations(range(5), n)]
        for i, (test, holds) in enumerate(zip(tests, after_holm(tests, level), strict=True)):
            rejected = all(min(tests[j].p for j in s) <= level / len(s) for s in sets if i in s)
            assert holds == ((test.beyond and rejected) == test.asks_for_evidence)
            seen.add((test.asks_for_evidence, bool(test), holds))
    assert len(seen) == 6  # verdicts that stay, and findings of both kinds that are taken back


def test_an_error_leaves_the_results_of_the_run_before(tmp_path, monkeypatch):
    def out_of_luck(*arguments):
        raise RuntimeError("out of luck")

    def attempted():
        config = dataclasses.make_dataclass("Config", [])()
        outcome = attempt(Task("label", "it", "it", config, tmp_path), progress.silent)
        write_claims(tmp_path / "claims.json", [outcome], ["it"])
        (entry,) = json.loads((tmp_path / "claims.json").read_text())
        return entry, {path: path.read_bytes() for path in (tmp_path / "it").iterdir()}

    module = types.SimpleNamespace(
        run=lambda config, progress: xr.Dataset(),
        figure=lambda dataset: Figure(),
        claims=lambda dataset: [Claim("n", "s", "t", "c", 1.0, None, True)],
    )
    monkeypatch.setitem(sys.modules, "it", module)
    entry, files = attempted()
    assert len(files) == 3
    for part in ("figure", "claims"):  # the data are there by then, and are kept
        monkeypatch.setattr(module, part, out_of_luck)
        after, saved = attempted()
        assert after == entry | {"error": "RuntimeError: out of luck"}
        assert saved.keys() == files.keys()
    monkeypatch.setattr(module, "run", out_of_luck)
    assert attempted() == (after, saved)


def test_table_fits_100_columns_and_loses_no_word():
    statement = "Information about the input rises first and is then forgotten " * 4
    claim = Claim("compression after fitting", "Su 2021, Section 3, Figure 4", statement,
                  "mean >= 1.8 bits", 1.8732, 0.0041, True)  # fmt: skip
    stream = io.StringIO()
    console = Console(file=stream, width=100)
    print_claims([Outcome("information_bottleneck", [claim])], console)
    shown = stream.getvalue()
    assert max(map(len, shown.splitlines())) <= 100
    assert shown.count("forgotten") == 4
    assert "information_bottleneck" in " ".join(shown.split())
    assert "1.8732 ± 0.0041" in shown


def test_table_repeats_no_source_or_text():
    said = ("a paper, Figure 4", "It is so.", "mean >= 0")
    claims = [Claim(name, *said, 1.0, 0.5, True) for name in ("first", "second")]
    claims.append(dataclasses.replace(claims[0], name="third", criterion="mean >= 1"))
    stream = io.StringIO()
    print_claims([Outcome("one", claims)], Console(file=stream, width=100))
    shown = stream.getvalue()
    for text in ("a paper", "It is so.", "mean >= 0", "mean >= 1", "first", "second", "third"):
        assert shown.count(text) == 1
    assert shown.count("1.00 ± 0.50") == 3


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.4142, 0.06, "0.414 ± 0.060"),
        (0.0006568, 0.00029, "0.00066 ± 0.00029"),
        (-1.5, 0.0996, "-1.50 ± 0.10"),
        (-0.0001, 0.5, "-0.00 ± 0.50"),
        (1234567.0, 123.0, "(1.23457 ± 0.00012)×10⁶"),
        (3.2e9, 1e8, "(3.20 ± 0.10)×10⁹"),
        (1.2e-7, 3.4e-9, "(1.200 ± 0.034)×10⁻⁷"),
        (2.34567, 0.0, "2.346 ± 0"),
        (0.0, 0.0, "0 ± 0"),
        (1.0, 1e-12, "1 ± 1e-12"),
        (1.0, np.nan, "1 ± nan"),
        (np.nan, 0.1, "nan ± 0.1"),
        (2.34567, None, "2.346"),
    ],
)
def test_values_end_where_their_errors_do(value, error, shown):
    assert format_measured(Claim("n", "s", "t", "c", value, error, True)) == shown


def run_task(stream, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with progress.shown_on(stream) as show, show("[1/1] outer", None):
        with show("MLP [tanh]", total=4) as advance:
            advance(3)
            advance(1)
        with pytest.raises(ValueError, match="inside"), show("fails", total=2):
            raise ValueError("inside")


def test_progress_in_a_log_is_plain_lines(monkeypatch):
    stream = io.StringIO()
    run_task(stream, monkeypatch)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["[1/1] outer ...", "MLP [tanh] ..."]
    assert lines[2].startswith("MLP [tanh]: done, 0.")
    assert lines[4].startswith("fails: stopped, 0.")
    assert lines[5].startswith("[1/1] outer: done, 0.")
    assert len(lines) == 6
    assert all(character.isprintable() for line in lines for character in line)


def test_progress_on_a_terminal_shows_counts_and_time_left(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    run_task(stream, monkeypatch)
    shown = stream.getvalue()
    assert "\x1b[" in shown
    for text in ("MLP [tanh]", "4/4", "left"):
        assert text in shown


def test_silent_progress_shows_nothing(capsys):
    with progress.silent("label", total=3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")
