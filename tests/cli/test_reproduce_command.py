"""``nsh reproduce``: how it ends, and what it says; the experiments themselves are not run."""

import errno
import re

import pytest

from experiments.harness import reproduce
from experiments.harness.claim import Claim
from experiments.harness.outcomes import Outcome
from nsh import cli
from nsh.cli.exits import EXIT_CODES, Terminated


@pytest.fixture
def ends(monkeypatch):
    """Makes experiments end at once, in a certain way."""

    def in_this_way(outcome):
        def attempt(task, progress):
            with progress(task.label, None):
                if isinstance(outcome, BaseException):
                    raise outcome
                return outcome

        monkeypatch.setattr(reproduce, "attempt", attempt)

    return in_this_way


NAME = "local_elasticity"
CLAIM = Claim("a name", "a source", "It is so.", "is it?", 1.0, None, False)


@pytest.mark.parametrize(
    ("end", "code"), [(Outcome(NAME, [CLAIM]), 0), (Outcome(NAME, error="out of luck"), 1)]
)
def test_claims_that_fail_are_no_errors_but_experiments_that_do_are(
    ends, tmp_path, capsys, end, code
):
    ends(end)
    assert cli.main(["reproduce", NAME, "--out", str(tmp_path / "out")]) == code
    shown = capsys.readouterr()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"claims.json", "report.html"}
    assert shown.out.splitlines()[-1].startswith(f"Data and figures are in {tmp_path / 'out'}/")
    assert shown.err.startswith(f"[1/1] {NAME} ...\n[1/1] {NAME}: done")


def test_quiet_shows_no_progress(ends, tmp_path, capsys):
    ends(Outcome(NAME, [CLAIM]))
    assert cli.main(["reproduce", NAME, "--quiet", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "It is so." in shown.out


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (OSError(errno.ENOSPC, "x"), 4, "the disk is full: OUT"),
        (KeyboardInterrupt(), 130, "stopped"),
        (Terminated(), 143, "stopped"),
    ],
)
def test_failures_have_codes(ends, tmp_path, capsys, end, code, said):
    ends(end)
    out = str(tmp_path / "out")
    assert cli.main(["reproduce", NAME, "--out", out]) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"nsh reproduce: {said.replace('OUT', out)}"


def test_a_bad_directory_is_refused_before_anything_runs(tmp_path, capsys):
    (tmp_path / "out").touch()
    assert cli.main(["reproduce", NAME, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nsh reproduce: --out = ")
    assert line.endswith(": must be a directory to write to; File exists")


def test_the_table_of_exit_codes_is_complete():
    listed = [int(code) for code in re.findall(r"^  (\d+)", EXIT_CODES, re.MULTILINE)]
    assert listed == [0, 1, 2, 3, 4, 5, 130, 141, 143]
