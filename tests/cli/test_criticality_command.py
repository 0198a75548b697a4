"""``nsh criticality``: what it prints, draws and answers to bad input."""

import errno

import jax.numpy as jnp
import pytest

from nsh import cli
from nsh.cli import critical_point


def softsign(z):
    return z / (1 + jnp.abs(z))


def jumps(z):
    return jnp.sign(z)


def takes_no_arrays(z):
    return float(z)


def numbers(text):
    """The lines of the answer as name -> value, and the table's rows."""
    lines = [line.strip() for line in text.splitlines()]
    named = [line.split("  ", 1) for line in lines if "  " in line]
    rows = [line.split() for line in lines if line[:1].isdigit()]
    return {name: value.strip() for name, value in named}, rows


def test_prints_and_draws(tmp_path, capsys):
    assert cli.main(["criticality", "gelu", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("gelu: half-stable; at criticality kernels come to K* from above only")
    named, rows = numbers(shown)
    assert named["critical C_b, C_W"] == "0.1729224, 1.983058"
    assert named["fixed point K*"].startswith("3.5615")
    assert named["equal learning rates, weights"] == "L^-1"
    assert len(rows) == len(critical_point.AROUND)
    assert rows[3][2:] == ["1", "1", "infinite", "infinite"]
    assert rows[-1][1] == "infinite"
    for kind in ("png", "pdf"):
        assert (tmp_path / "out" / f"figure.{kind}").stat().st_size > 10_000
    assert "figure.png and figure.pdf are in" in shown


def test_takes_any_function(capsys):
    assert cli.main(["criticality", f"{__name__}:softsign"]) == 0
    shown = capsys.readouterr().out
    named, _ = numbers(shown)
    assert "class K* = 0" in shown
    assert named["K at depth l"] == "(0.626657 / l)^2"  # 2 / (4 sqrt(2 / pi))
    assert named["equal learning rates, biases"] == "l^-2 L^1"
    assert named["equal learning rates, weights"] == "L^1"
    assert "figure" not in shown


def test_looks_in_the_current_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "here_of_cli.py").write_text("def word(z): return 'z'\ndef adds(z): return z + 'a'")
    monkeypatch.chdir(tmp_path)
    for name, said in [("word", "must be an activation, but: "), ("adds", ".py, line 2)")]:
        assert cli.main(["criticality", f"here_of_cli:{name}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


def test_says_where_there_is_none(capsys):
    assert cli.main(["criticality", "sigmoid"]) == 0
    shown = capsys.readouterr().out
    assert "sigmoid: no critical initialisation" in shown
    named, rows = numbers(shown)
    assert not any("learning" in name for name in named)
    assert all("infinite" not in cell for row in rows for cell in row)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gleu", "ACTIVATION = 'gleu': must be MODULE:FUNCTION or one of linear, relu"),
        ("Tanhh", "did you mean tanh?"),
        ("nowhere:tanh", "'nowhere:tanh': must be a function to be imported, but: No module named"),
        ("jax.numpy:tahn", "must be a function to be imported, but: "),
        ("jax.numpy:pi", "'jax.numpy:pi': must be an activation, but: activation = 3.14"),
        ("jax.numpy:sum", "an activation, but: activation sum = (): must be of shape"),
        ("jax.numpy:log", "an activation, but: value of activation log at z"),
        (f"{__name__}:jumps", "an activation, but: activation jumps jumps at z"),
        (f"{__name__}:takes_no_arrays", "must be an activation, but: "),
    ],
)
@pytest.mark.usefixtures("as_users_have_it")
def test_bad_activations_take_one_line(name, said, capsys):
    assert cli.main(["criticality", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nsh criticality: ")
    assert said in line


@pytest.mark.parametrize(
    ("problem", "code", "said"),
    [
        (OSError(errno.ENOSPC, "x"), 4, "the disk is full: DIR"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_failures_have_codes(problem, code, said, capsys, monkeypatch, tmp_path):
    def report(activation, out):
        raise problem

    monkeypatch.setattr(critical_point, "report", report)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["criticality", "tanh", "--out", "DIR"]) == code
    assert capsys.readouterr().err == f"nsh criticality: {said}\n"


def test_other_errors_are_not_hidden(monkeypatch):
    def report(activation, out):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(critical_point, "report", report)
    with pytest.raises(OSError, match="broken disk"):
        cli.main(["criticality", "relu"])


def test_what_is_no_directory_is_refused_at_once(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    for out in (file, file / "below"):
        assert cli.main(["criticality", "tanh", "--out", str(out)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        said = f"nsh criticality: --out = {str(out)!r}: must be a directory to write to; "
        assert line.startswith(said)
