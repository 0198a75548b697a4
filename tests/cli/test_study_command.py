"""``nsh study``: exit codes, one line for every failure, signals."""

import contextlib
import errno
import signal
import sys
import threading
from pathlib import Path

import pytest
from studies import write

from nsh import cli, study
from nsh.cli.exits import Terminated
from nsh.study import StoreRefused
from nsh.study import run as run_module

TEXT = """\
seeds = 3
steps = 4
chunk = 1
[system]
name = "studies:for_file"
[record]
every = 2
what = ["studies:number"]
"""


def raising(problem):
    def function(*args, **options):
        problem.__notes__ = ["2 of 6 chunks of members are saved"]
        raise problem

    return function


def test_runs_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, TEXT)
    assert cli.main(["study", str(file)]) == 0
    shown = capsys.readouterr()
    assert "3 runs, 0 of them diverged" in shown.out
    assert "results/small/" in shown.out
    assert (tmp_path / "results" / "small" / "figure.png").exists()
    assert shown.err.startswith("training members ...\n")
    assert cli.main(["study", str(file)]) == 0
    assert "nsh study: 3 of 3 chunks are there already" in capsys.readouterr().err
    file.write_text(TEXT.replace("seeds = 3", "seeds = 2"))
    assert cli.main(["study", str(file)]) == 3
    assert "seeds: 3 there, 2 here" in capsys.readouterr().err
    assert cli.main(["study", str(file), "--out", str(tmp_path / "other")]) == 0


IDLE = """\
seeds = 2
steps = 1
system = "studies:on_a_peak"
record = { every = 1, what = ["studies:root"] }
[tune]
objective = "root"
parameters = ["rate"]
learning_rate = 0.1
iterations = 1
"""


@pytest.mark.long
def test_tuning_that_goes_nowhere_says_so(tmp_path, capsys):
    """|1 - rate|^(1/2) at rate 1: a value, and no slope."""
    file = write(tmp_path, IDLE)
    assert cli.main(["study", str(file), "--out", str(tmp_path / "out")]) == 5
    shown = capsys.readouterr()
    assert shown.out.startswith(
        "nothing was tuned: no run has a finite gradient; 2 runs, 0 of them diverged; "
        "4 of 4 gradients were not finite; data.zarr"
    )
    assert "nsh study: tune: no seed has a finite gradient at 1 of 1 steps" in shown.err
    assert "eps_root" in shown.err
    data = study.open_study(tmp_path / "out")
    assert data["tuning_status"].values.tolist() == [[3, 3], [3, 3]]
    assert data["objective"].values.tolist() == [0, 0]


def test_bad_file_takes_one_line(tmp_path, capsys):
    file = write(tmp_path, TEXT.replace("every", "evry"))
    assert cli.main(["study", str(file), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nsh study: {file}, line 7: record.evry: unknown key")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("problem", "code", "said"),
    [
        (OSError(errno.ENOSPC, "x"), 4, "the disk is full: OUT; 2 of 6 chunks of members are "
         "saved; make room, and the same command computes the rest"),
        (OSError(errno.EDQUOT, "x"), 4, "the disk is full"),
        (KeyboardInterrupt(), 130, "stopped; 2 of 6 chunks of members are saved; the same"),
        (Terminated(), 143, "stopped; 2 of 6"),
        (BlockingIOError("OUT is in use"), 3, "OUT is in use"),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), 3, "a/b cannot be read or written: "
         "Read-only file system; 2 of 6 chunks of members are saved; the same"),
        (ValueError("a = 1: must be 2"), 2, "FILE: a = 1: must be 2"),
        (StoreRefused("it is another's"), 3, "it is another's"),
    ],
)  # fmt: skip
def test_failures_have_codes(tmp_path, capsys, monkeypatch, problem, code, said):
    problem.args = tuple(
        a.replace("OUT", str(tmp_path / "out")) if isinstance(a, str) else a for a in problem.args
    )
    monkeypatch.setattr(study, "run_study", raising(problem))
    file, out = write(tmp_path, TEXT), tmp_path / "out"
    assert cli.main(["study", str(file), "--out", str(out)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nsh study: " + said.replace("OUT", str(out)).replace("FILE", str(file)))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("lost", [False, True])
def test_signals_stop_a_run_even_if_their_exception_is_lost(
    tmp_path, capsys, monkeypatch, number, code, lost
):
    def train_block(*arguments):
        with contextlib.suppress(KeyboardInterrupt) if lost else contextlib.nullcontext():
            signal.raise_signal(number)
        return true_train(*arguments)

    true_train = run_module.train_block
    monkeypatch.setattr(run_module, "train_block", train_block)
    before = signal.getsignal(number)
    out = tmp_path / "out"
    assert cli.main(["study", str(write(tmp_path, TEXT)), "--out", str(out)]) == code
    saved = "1 of 3" if lost else "0 of 3"
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"nsh study: stopped; {saved}")
    assert signal.getsignal(number) == before


def test_other_errors_are_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "run_study", raising(OSError(errno.EIO, "broken disk")))
    with pytest.raises(OSError, match="broken disk"):
        cli.main(["study", str(write(tmp_path, TEXT))])


def test_another_thread_gets_an_exit_code(tmp_path, capsys):
    codes = []
    arguments = ["study", str(write(tmp_path, TEXT)), "--out", str(tmp_path / "out"), "--quiet"]
    thread = threading.Thread(target=lambda: codes.append(cli.main(arguments)))
    thread.start()
    thread.join()
    assert codes == [0]
    assert "3 runs, 0 of them diverged" in capsys.readouterr().out


def test_a_disk_that_cannot_be_written_to_is_refused(tmp_path, capsys, monkeypatch):
    def mkdir(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    file = write(tmp_path, TEXT)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert cli.main(["study", str(file), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.endswith("must be a directory to write to; Read-only file system\n")


OWN = """
from studies import Swelling, for_file, number
def fails():
    return 1 + "a"
def word(now):
    return "high"
def breaks(now):
    return now.state + [
        "a"]
class Late(Swelling):
    def step(self, state, batch, hyper, key):
        return state + "a"
def late():
    return Late(), *for_file()[1:]
"""


@pytest.mark.parametrize(
    ("system", "what", "said"),
    [
        ("own_of_cli:fails", "studies:number", ", line 4: system: own_of_cli:fails fails: "
         "TypeError: unsupported operand type(s) for +: 'int' and 'str' (PATH, line 4)"),
        ("studies:for_file", "own_of_cli:word", "word(...) = 'high': must be an array of numbers"),
        ("studies:for_file", "own_of_cli:breaks", "code of your own fails: TypeError: "),
        ("own_of_cli:late", "studies:number", "code of your own fails: TypeError: "),
    ],
)  # fmt: skip
def test_errors_in_code_of_ones_own_take_one_line(tmp_path, capsys, system, what, said):
    path = tmp_path / "own_of_cli.py"
    path.write_text(OWN)
    text = TEXT.replace("studies:for_file", system).replace("studies:number", what)
    sys.modules.pop("own_of_cli", None)
    file = write(tmp_path, text)
    assert cli.main(["study", str(file), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nsh study: {file}")
    assert said.replace("PATH", str(path)) in line
    assert what.endswith("word") or f"({path}, line " in line


def test_quiet_says_only_where_results_are(tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["study", str(write(tmp_path, TEXT)), "--out", str(out), "--quiet"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.splitlines() == [
        f"3 runs, 0 of them diverged; data.zarr, figure.png and figure.pdf are in {out}/"
    ]


def test_missing_file_is_named_with_one_like_it(tmp_path, capsys):
    write(tmp_path, TEXT)
    assert cli.main(["study", str(tmp_path / "smal.toml")]) == 2
    said = capsys.readouterr().err
    path = tmp_path / "smal.toml"
    assert said == (
        f"nsh study: {path}: cannot be read: No such file or directory; did you mean small.toml?\n"
    )
