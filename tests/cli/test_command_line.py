"""What all commands share: help, errors of one style, exit codes; and completion by shells."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments import EXPERIMENTS
from experiments.harness import command_line
from nsh import __version__, cli
from nsh._extras import extra
from nsh.cli import caching, reproduce
from nsh.cli.exits import EXIT_CODES, PIPE_CLOSED, Failure, needs, readers_may_leave

pytestmark = pytest.mark.core


def shown(arguments, capsys):
    """What help says, at 80 columns."""
    if arguments == ["--help"]:
        assert cli.main(arguments) == 0
    else:
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert not stop.value.code
    return capsys.readouterr().out


def failure(arguments, capsys):
    """Exit code, and the one line on stderr."""
    code = cli.main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    return code, line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--help"],
            [*cli.COMMANDS, "--version", "nsh criticality gelu", "a copy of the repository"],
        ),
        (["study", "--help"], ["nsh study [-h] FILE", "--out DIR", "--quiet", "growth_rate.toml"]),
        (["criticality", "--help"], ["ACTIVATION", "MODULE:FUNCTION", "--out DIR", "jax.nn:mish"]),
        (["reproduce", "--help"], ["NAME|all", "--out DIR", "--quiet", "--full", "--jobs INT"]),
        (["reproduce", "-h"], [f"  {command_line.short_name(m)} " for m in EXPERIMENTS]),
        (["reproduce", "local_elasticity", "--help"], ["Figures 5 and 6", "--network-seeds INT"]),
        (["completion", "--help"], ["bash, zsh or fish", "nsh completion bash > "]),
    ],
)
def test_help_is_plain_fits_the_terminal_and_has_the_exit_codes(
    arguments, words, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(arguments, capsys)
    assert text.startswith("usage: nsh")
    assert text.endswith(f"\n\n{EXIT_CODES}\n")
    for word in words:
        assert word in text
    assert text.isascii()
    assert "\x1b" not in text
    assert "(default: False)" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"nsh {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "nsh: COMMAND is missing: must be one of study, criticality, reproduce, completion"),
        (["--verson"], "nsh: COMMAND = '--verson': must be one of study, criticality, reproduce, "
         "completion"),
        (["studdy", "x"], "nsh: COMMAND = 'studdy': must be one of study, criticality, reproduce, "
         "completion; did you mean study?"),
        (["study"], "nsh study: FILE is missing"),
        (["study", "a", "b"], "nsh study: 'b': no such argument"),
        (["study", "--out", "a", "b", "c"], "nsh study: 'c': no such argument"),
        (["study", "a", "--outt", "b"], "nsh study: --outt: no such option; did you mean --out?"),
        (["study", "a", "--out"], "nsh study: --out: its value is missing, a path"),
        (["study", "--quiet=1", "a"], "nsh study: --quiet = '1': must be given without a value"),
        (["criticality"], "nsh criticality: ACTIVATION is missing"),
        (["criticality", "tanh", "relu"], "nsh criticality: 'relu': no such argument"),
        (["criticality", "tanh", "--quiet"], "nsh criticality: --quiet: no such option"),
        (["reproduce"], "nsh reproduce: NAME is missing, which comes first: all or an experiment "
         "that `nsh reproduce --help` lists"),
        (["reproduce", "local-elastcity"], "nsh reproduce: NAME = 'local-elastcity': must be all "
         "or an experiment that `nsh reproduce --help` lists; did you mean local_elasticity?"),
        (["reproduce", "local_elasticity", "--sedes", "3"], "nsh reproduce: --sedes: no such "
         "option; did you mean --seeds?"),
        (["reproduce", "local_elasticity", "--network_learning_rates", "1", "2"], "nsh reproduce: "
         "--network_learning_rates = '1 2': must be 3 numbers"),
        (["completion", "bassh"], "nsh completion: SHELL = 'bassh': must be one of bash, zsh, "
         "fish; did you mean bash?"),
    ],
)  # fmt: skip
def test_bad_command_lines_take_one_line(arguments, line, capsys):
    assert failure(arguments, capsys) == (2, line)


def test_reproduce_without_the_repository_says_where_it_is(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(reproduce, "ROOT", tmp_path / "elsewhere")
    code, line = failure(["reproduce", "all"], capsys)
    assert code == 3
    assert line.startswith("nsh reproduce: the experiments are in nsh's repository and not in")
    assert "pip install -e '.[experiments]'" in line
    with pytest.raises(SystemExit):  # the rest is there
        cli.main(["completion", "--help"])


def test_missing_extras_are_named_and_other_missing_modules_are_errors():
    install = r"needs xarray, in the extra neurashed\[study\]: pip install '\.\[study\]' in a copy"
    with pytest.raises(Failure, match=f"^{install}") as failed, needs("study"):
        raise ModuleNotFoundError("No module named 'xarray.core'", name="xarray")
    assert failed.value.code == 3
    with (
        pytest.raises(ModuleNotFoundError, match=f"^nsh.study {install}"),
        extra("study", "nsh.study"),
    ):
        raise ModuleNotFoundError("No module named 'xarray.core'", name="xarray")
    for missing in ("nsh.absent", "fcntl"):  # ours, and Python's own that a platform lacks
        with pytest.raises(ModuleNotFoundError, match=r"^No module"), needs("study"):
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)


@pytest.mark.parametrize("arguments", [["--help"], ["study", "--help"], ["--version"]])
def test_a_reader_that_leaves_ends_a_command_quietly(arguments, monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert cli.main(arguments) == 141


def test_programs_are_kept_while_a_command_runs_and_only_there(monkeypatch, tmp_path):
    monkeypatch.setattr(caching.platformdirs, "user_cache_dir", lambda *a, **o: str(tmp_path))
    names = (caching.DIRECTORY, *caching.EVERYTHING)

    def state():
        return [(getattr(jax.config, n), os.environ.get(n.upper())) for n in names]

    before = state()
    with caching.programs_kept(True):  # the tests are told to use none
        assert state() == before
    jax.config.update(caching.ENABLED, True)
    try:
        with caching.programs_kept(False):
            assert state() == before
        with caching.programs_kept(True):
            folder = Path(getattr(jax.config, caching.DIRECTORY))
            assert folder.parent == tmp_path
            assert os.environ[caching.DIRECTORY.upper()] == str(folder)
            with caching.programs_kept(True):  # there is one already
                assert getattr(jax.config, caching.DIRECTORY) == str(folder)
        assert state() == before
        for i in range(4):
            (folder / f"{i}").write_bytes(b"x" * 10)
            os.utime(folder / f"{i}", (i, i))
        monkeypatch.setattr(caching, "LIMIT", 25)
        with caching.programs_kept(True):
            assert {path.name for path in folder.iterdir()} == {"2", "3"}
    finally:
        jax.config.update(caching.ENABLED, False)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_reads_the_help(unbuffered):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "nsh", "--help"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (PIPE_CLOSED, b"")


def test_another_broken_pipe_is_no_reader_that_left():
    with pytest.raises(BrokenPipeError), readers_may_leave():
        raise BrokenPipeError


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The script for bash, as a shell gets it."""
    path = tmp_path_factory.mktemp("completion") / "nsh"
    with path.open("w") as file, contextlib.redirect_stdout(file):
        assert cli.main(["completion", "bash"]) == 0
    return path


def completed(script, *words):
    """What bash offers for the last of some words."""
    commands = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nsh; '
    commands += "printf '%s\\n' \"${COMPREPLY[@]}\"; complete -p nsh"
    run = ["bash", "-c", commands, "bash", "nsh", *words]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[-1] == "complete -o default -F _nsh nsh"
    return set(said[:-1])


@pytest.mark.long
@pytest.mark.thorough
def test_bash_completes_commands_options_and_names(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert completed(script, "") == set(cli.COMMANDS)
    names = {command_line.short_name(module) for module in EXPERIMENTS}
    assert completed(script, "reproduce", "") == names | {"all"}
    assert completed(script, "reproduce", "local_elasticity", "--se") == {"--seed", "--seeds"}
    options = {"--help", "--out", "--full", "--jobs", "--quiet", "--no-cache"}
    assert completed(script, "reproduce", "all", "--") == options
    assert completed(script, "study", "") == {""}  # left to bash
    assert completed(script, "study", "--") == {"--help", "--out", "--quiet", "--no-cache"}
    assert completed(script, "criticality", "ge") == {"gelu"}
    assert completed(script, "completion", "") == {"bash", "zsh", "fish"}


def test_completion_without_the_repository_offers_no_experiments(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(reproduce, "ROOT", tmp_path / "elsewhere")
    assert cli.main(["completion", "bash"]) == 0
    (tmp_path / "nsh").write_text(capsys.readouterr().out)
    assert completed(tmp_path / "nsh", "reproduce", "") == {""}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_scripts_too(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for word in (*cli.COMMANDS, "local_elasticity", "--out"):
        assert word in text
