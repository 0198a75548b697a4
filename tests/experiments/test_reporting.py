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

from experiments.harness import results
from experiments.harness.attempt import Task, attempt
from experiments.harness.claim import (
    Claim,
    above,
    at_least,
    at_most,
    below,
    beyond,
    claim,
    surely_within,
    within,
    within_either,
)
from experiments.harness.dataset import dataset
from experiments.harness.figures import panels
from experiments.harness.outcomes import (
    Outcome,
    format_measured,
    print_claims,
    read_outcomes,
    write_claims,
)
from experiments.harness.statistics import Verdict, after_holm, expected_by_chance
from nsh._files import atomic
from nsh.measure import Estimate
from nsh.study import files, progress

pytestmark = pytest.mark.core


def judged(criterion, mean, error):
    verdict = criterion.judge(mean, error)
    assert isinstance(verdict, Verdict)
    return verdict


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
    with atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt


def test_atomic_leaves_old_file_or_new_one(tmp_path):
    path = tmp_path / "sub" / "data.txt"
    with atomic(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt):
        interrupted_write(path)
    assert path.read_text() == "old"
    with atomic(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_same_figure_gives_same_bytes(tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 2, 4], label="$I(T; Y)$")
    for directory in ("first", "second"):
        files.save_figure(figure, tmp_path / directory)
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
    said = claim("n", "s").says("t")
    claims = [said.test("c", Estimate(1.0, 0.4, 9), above(bound)) for bound in (0, 0.5)]
    claims.append(said.test("c", Estimate(1.0, math.nan, 1), above(0)))
    assert [claim.holds for claim in claims] == [True, False, False]
    assert claims[-1].test is None
    path = tmp_path / "claims.json"
    write_claims(path, [Outcome("a", claims)], ["a"])
    (outcome,) = read_outcomes(path)
    assert [claim.test for claim in outcome.claims] == [claim.test for claim in claims]
    (entry,) = json.loads(path.read_text())
    for written in entry["claims"]:  # as older versions wrote them
        del written["test"]
    path.write_text(json.dumps([entry]))
    (outcome,) = read_outcomes(path)
    assert [claim.test for claim in outcome.claims] == [None] * 3


CRITERIA = {
    above(1): "above 1 by more than 2 SE",
    below(1): "below 1 by more than 2 SE",
    beyond(1, -1, 3): "below 1 by more than 3 SE",
    surely_within(0, 4): "within 4 of 0 by more than 2 SE",
    at_most(1): "not above 1 by more than 2 SE",
    at_least(1, 3): "not below 1 by more than 3 SE",
    within(0): "within 3 SE of 0",
    within(0, 2, 0.3): "within 0.3 + 2 SE of 0",
}


@pytest.mark.parametrize("mean", [-3.0, 0.2, 2.9, 4.5])
def test_verdicts_have_the_tails_of_the_normal_law(mean):
    tail = norm(scale=0.5).sf
    expected = (
        (True, tail(mean - 1), norm.sf(2)),
        (True, tail(1 - mean), norm.sf(2)),
        (True, tail(1 - mean), norm.sf(3)),
        (True, tail(4 - abs(mean)), norm.sf(2)),
        (False, tail(mean - 1), norm.sf(2)),
        (False, tail(1 - mean), norm.sf(3)),
        (False, 2 * tail(abs(mean)), 2 * norm.sf(3)),
        (False, tail(abs(mean) - 0.3), norm.sf(2)),
    )
    for criterion, (asks, p, level) in zip(CRITERIA, expected, strict=True):
        verdict = judged(criterion, mean, 0.5)
        np.testing.assert_allclose([verdict.p, verdict.level], [p, level], rtol=1e-12)
        assert verdict.asks_for_evidence is asks
        # an estimate beyond the bound by so many errors is one of which chance makes few
        assert bool(verdict) == ((p < level) == asks)


def readings(words):
    """Verdicts of a criterion's words, as a reader takes them: of means and errors."""
    bound = float(words.split(" by more")[0].split()[-1])
    by = float(words.partition("by more than ")[2].split()[0]) if "by more" in words else 0.0
    head, margin = words.split(" of ")[0], 0.0
    for term in head.removeprefix("within ").split(" + ") if "within" in words else ():
        number, *unit = term.split()
        by, margin = (float(number), margin) if unit else (by, float(number))

    def reading(mean, error):
        off = abs(mean - bound)
        return {
            "above": mean > bound + by * error,
            "below": mean < bound - by * error,
            "not above": mean <= bound + by * error,
            "not below": mean >= bound - by * error,
            "within": off < margin - by * error
            if "by more" in words
            else off <= margin + by * error,
        }[" ".join(words.split()[: 1 + words.startswith("not")])]

    return reading


def test_words_of_a_criterion_say_what_it_decides():
    rng = np.random.default_rng(0)
    for criterion, words in CRITERIA.items():
        assert criterion.words == words
        reading = readings(words)
        draws = np.stack([rng.normal(scale=3, size=400), rng.exponential(0.4, size=400)], 1)
        verdicts = [bool(judged(criterion, mean, error)) for mean, error in draws]
        assert verdicts == [reading(mean, error) for mean, error in draws]
        assert len(set(verdicts)) == 2


def test_an_exact_number_is_tested_without_errors():
    said = claim("n", "s").says("t")
    for criterion, words, holds in (
        (above(2), "q: above 2", False),
        (at_most(2), "q: at most 2", True),
        (at_least(2), "q: at least 2", True),
        (within(1, tolerance=0.5), "q: within 0.5 of 1", False),
        (at_most(3).of_worst("the largest"), "q: at most 3 (the largest is shown)", True),
        (above(1) & below(2), "q: above 1, and below 2", False),
    ):
        found = said.test("q", 2.0, criterion)
        assert (found.criterion, found.holds) == (words, holds)
        assert (found.measured, found.standard_error, found.test) == (2.0, None, None)


def test_what_is_asked_of_the_worst_or_twice_has_no_chance():
    estimate = Estimate(1.0, 0.4, 9)
    both = claim("n", "s").test("q", estimate, within(1) & above(0))
    worst = claim("n", "s").test("q", estimate, above(0).of_worst())
    assert both.criterion == "q: within 3 SE of 1, and above 0 by more than 2 SE"
    for found in (both, worst):
        assert found.holds is True
        assert found.test is None


def test_an_estimate_without_an_error_passes_no_test():
    for criterion in (above(0), at_most(2), at_least(0), within(1)):
        verdict = judged(criterion, 1.0, math.nan)
        assert not verdict
        assert math.isnan(verdict.p)


def test_an_exact_estimate_is_beyond_its_bound_or_not():
    tests = above(0), above(1), within(1)
    assert [judged(test, 1.0, 0.0).p for test in tests] == [0, 1, 1]
    assert [bool(judged(test, 1.0, 0.0)) for test in tests] == [True, False, True]
    either = within_either(0.99, 3, 0.02)
    assert either.words == "within 3 SE or 0.02 of 0.99"
    assert judged(either, 1.0, 0.0).p == 1
    assert [bool(judged(either, mean, 0.01)) for mean in (1.015, 1.03)] == [True, False]


def test_a_dataset_is_as_its_table_says():
    table = """
        place speed: walk step [1] of the walker
        total: [m]
        step: step [steps]
        size: walk [people]
    """
    values = {"place": np.zeros((2, 3)), "speed": np.ones((2, 3)), "total": 4.0}
    made = dataset(table, values, step=[0, 5, 10], size=[7, 8], walk=["a", "b"])
    assert made.place.dims == made.speed.dims == ("walk", "step")
    assert made.speed.attrs == {"units": "1", "long_name": "of the walker"}
    assert (made.total.dims, made.total.attrs) == ((), {"units": "m"})
    assert made.step.attrs == {"units": "steps"}
    assert made.walk.attrs == {}
    assert (set(made.data_vars), set(made.coords)) == (set(values), {"step", "size", "walk"})
    for wrong, said in (
        ({**values, "rest": 0}, "no row for rest"),
        ({"place": values["place"]}, "no value for speed, total"),
    ):
        with pytest.raises(ValueError, match=said):
            dataset(table, wrong, step=[0, 5, 10], size=[7, 8])
    with pytest.raises(ValueError, match="'place walk' is no row"):
        dataset("place walk", {})


def test_every_panel_has_a_letter_and_a_caption():
    @panels("walk", 2, ("one", "two"), height=2.0)
    def figure(dataset, ax):
        """Walks."""
        for panel in ax:
            panel.plot([0, 1])

    drawn = figure(xr.Dataset(coords={"walk": [0, 1, 2]}))
    assert figure.captions == {"a": "one", "b": "two"}
    assert figure.__doc__ == "Walks."
    assert len(drawn.axes) == 6
    assert [text.get_text() for ax in drawn.axes for text in ax.texts] == ["a", "b"]
    with pytest.raises(ValueError, match="2 for 4 panels"):
        panels(2, 2, ("one", "two"), height=2.0)


def test_chance_decides_as_many_tests_as_expected():
    rng = np.random.default_rng(0)
    tests = [judged(above(0), mean, 1.0) for mean in rng.normal(size=4000)]
    tests += [judged(within(0, 2), mean, 1.0) for mean in rng.normal(size=4000)]
    expected = expected_by_chance(tests)
    assert expected == pytest.approx(4000 * (norm.sf(2) + 2 * norm.sf(2)))
    assert abs(sum(test.beyond for test in tests) - expected) < 4 * np.sqrt(expected)


def test_holm_is_the_closure_of_bonferroni():
    """A finding stays if Bonferroni's test rejects every set of hypotheses that it belongs to."""
    rng, level, seen = np.random.default_rng(1), 0.05, set()
    for _ in range(60):
        means = rng.normal(scale=2, size=5)
        tests = [judged(above(0), m, 1.0) for m in means[:3]]
        tests += [judged(within(0, 2), m, 1.0) for m in means[3:]]
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
