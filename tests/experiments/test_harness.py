"""The harness of the experiments, with fake experiments."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import xarray as xr

from experiments import EXPERIMENTS, ORDER
from experiments.harness import results
from experiments.harness.command_line import main
from nsh.cli.exits import Failure

pytestmark = pytest.mark.core

FAKE = '''
"""A fake experiment.

More about it.
"""
from __future__ import annotations
import dataclasses
from typing import Literal
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from experiments.harness.claim import Claim


@dataclasses.dataclass(frozen=True)
class Config:
    """What can be chosen."""

    seeds: int = 4
    """Members of the ensemble."""
    rate: float = 0.5
    """Learning rate."""
    sizes: tuple[int, ...] = (1, 2)
    """Batch sizes."""
    reading: Literal["any", "all"] = "any"
    """Reading of the edge."""
    centred: bool = False
    """Whether to centre."""


FULL = Config(seeds=64, rate=0.25, sizes=(8, 16, 32))


def run(config, progress):
    if "{failure}":
        raise RuntimeError("{failure}")
    with progress("counting", total=config.seeds) as advance:
        for _ in range(config.seeds):
            advance(1)
    values = np.arange(config.seeds)
    return xr.Dataset({{"value": ("seed", values), "even": ("seed", values % 2 == 0)}})


def figure(dataset):
    figure = Figure()
    figure.subplots().plot(dataset["value"])
    return figure


def claims(dataset):
    mean = dataset["value"].mean()
    return [
        Claim("{name} good", "a paper, Fig. 1", "It is so.", "mean >= 0", mean, None, mean >= 0),
        Claim("{name} bad", "a paper, Fig. 2", "It is [so].", "mean < 0", mean, np.float32(0.5),
              mean < 0),
    ]
'''


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A maker of importable fake experiments, which are forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(name, failure="", source=FAKE):
        (tmp_path / f"{name}.py").write_text(source.format(name=name, failure=failure))
        made.append(name)
        return name

    yield make
    for name in made:
        sys.modules.pop(name, None)


def read_claims(directory):
    return json.loads((directory / "claims.json").read_text())


def configuration(directory, name):
    with xr.open_dataset(directory / name / f"{name}.nc", engine="h5netcdf") as dataset:
        return json.loads(dataset.attrs["configuration"])


def test_failing_claim_is_shown_and_hides_nothing(fake, tmp_path, capsys):
    out = tmp_path / "out"
    modules = [fake("fake_one"), fake("fake_two")]
    assert main(["all", "--out", str(out)], modules) == 0
    entries = read_claims(out)
    assert [entry["experiment"] for entry in entries] == modules
    for entry in entries:
        assert entry["error"] is None
        assert [claim["holds"] for claim in entry["claims"]] == [True, False]
        assert entry["claims"][1]["measured"] == 1.5
        assert entry["claims"][1]["standard_error"] == 0.5
    table = capsys.readouterr().out
    for shown in ("fake_one", "fake_two", "yes", "NO", "[so]", "1.50 ± 0.50"):
        assert shown in table
    for name in modules:
        files = {path.name for path in (out / name).iterdir()}
        assert files == {f"{name}.nc", "figure.png", "figure.pdf"}


def test_raising_experiment_is_reported_and_hides_nothing(fake, tmp_path, capsys):
    out = tmp_path / "out"
    modules = [
        fake("fake_raises", failure="out of luck"),
        fake("fake_broken", source="1 / 0"),
        fake("fake_fine"),
    ]
    assert main(["all", "--out", str(out)], modules) == 1
    raised, broken, fine = read_claims(out)
    error = "RuntimeError: out of luck"
    assert raised == {"experiment": "fake_raises", "error": error, "claims": []}
    assert broken["error"].startswith("ZeroDivisionError")
    assert fine["error"] is None
    assert len(fine["claims"]) == 2
    printed = capsys.readouterr()
    assert "Traceback" in printed.err
    assert "out of luck" in printed.err
    assert "error" in printed.out
    assert "out of luck" in printed.out


def test_command_line_sets_every_field(fake, tmp_path):
    out = tmp_path / "out"
    sizes = ["--sizes", "5", "6", "7"]
    given = ["--seeds", "3", "--rate", "0.125", *sizes, "--reading", "all", "--centred"]
    assert main([fake("fake_one"), *given, "--out", str(out)], ["fake_one"]) == 0
    assert configuration(out, "fake_one") == {
        "seeds": 3,
        "rate": 0.125,
        "sizes": [5, 6, 7],
        "reading": "all",
        "centred": True,
    }


def test_all_sets_fields_of_each(fake, tmp_path):
    out = tmp_path / "out"
    modules = [fake("fake_one"), fake("fake_two")]
    assert main(["all", "--fake_two.seeds", "7", "--out", str(out)], modules) == 0
    assert configuration(out, "fake_one")["seeds"] == 4
    assert configuration(out, "fake_two")["seeds"] == 7


@pytest.mark.parametrize(("given", "seeds", "rate"), [([], 64, 0.25), (["--seeds", "3"], 3, 0.25)])
def test_full_starts_from_full_sizes(fake, tmp_path, given, seeds, rate):
    out = tmp_path / "out"
    assert main([fake("fake_one"), "--full", *given, "--out", str(out)], ["fake_one"]) == 0
    found = configuration(out, "fake_one")
    assert (found["seeds"], found["rate"], found["sizes"]) == (seeds, rate, [8, 16, 32])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fake-one"], "; did you mean fake_one?"),
        (["fake_one", "--seeds", "many"], "--seeds = 'many': must be an integer"),
        (["fake_one", "--rate=x"], "--rate = 'x': must be a number"),
        (["fake_one", "--sizes", "1", "x"], "--sizes = '1 x': must be integers"),
        (["fake_one", "--reading", "alle"], "must be one of any, all; did you mean all?"),
        (["fake_one", "--centred=no"], "--centred = 'no': must be given without a value"),
        (["fake_one", "--jobs", "0"], "--jobs = 0: must be an integer >= 1"),
        (["fake_one", "--seeds", "-3"], "--seeds = -3: must be an integer >= 1"),
        (["all", "--fake-one.sizes", "1", "0"], "--fake-one.sizes = 0: must be an integer >= 1"),
        (["all", "--fake-one.sedes", "1"], "; did you mean --fake-one.seeds?"),
        (["all", "--fake_one.seeds", "x"], "--fake_one.seeds = 'x': must be an integer"),
    ],
)
def test_bad_command_line_is_refused(fake, arguments, said, tmp_path):
    fake("fake_one")
    with pytest.raises(Failure) as failure:
        main([*arguments, "--out", str(tmp_path / "out")], ["fake_one"])
    assert failure.value.code == 2
    assert said in str(failure.value)
    assert not (tmp_path / "out").exists()


def test_help_lists_experiments_without_importing_them(fake, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"], [fake("fake_one"), fake("fake_broken", source="1 / 0")])
    assert stop.value.code == 0
    assert "fake_one" not in sys.modules
    shown = capsys.readouterr().out
    assert "A fake experiment." in shown
    assert "fake_broken" in shown


def test_help_of_one_explains_its_fields(fake, capsys):
    with pytest.raises(SystemExit):
        main([fake("fake_one"), "--help"], ["fake_one"])
    shown = capsys.readouterr().out
    for text in ("--seeds", "Members of the ensemble.", "--full", "--out", "--centred"):
        assert text in shown


def test_one_experiment_updates_only_its_entry(fake, tmp_path):
    out = tmp_path / "out"
    modules = [fake("fake_one"), fake("fake_two")]
    main(["all", "--out", str(out)], modules)
    before = read_claims(out)
    main(["fake_one", "--seeds", "9", "--out", str(out)], modules)
    after = read_claims(out)
    assert after[0]["claims"][0]["measured"] == 4.0
    assert before[0]["claims"][0]["measured"] == 1.5
    assert after[1] == before[1]
    assert len(after) == 2


def test_dataset_round_trip_and_provenance(fake, tmp_path):
    out = tmp_path / "out"
    main([fake("fake_one"), "--out", str(out)], ["fake_one"])
    loaded = xr.load_dataset(out / "fake_one" / "fake_one.nc", engine="h5netcdf")
    np.testing.assert_array_equal(loaded["value"], [0, 1, 2, 3])
    np.testing.assert_array_equal(loaded["even"], [True, False, True, False])
    assert loaded["value"].dtype == np.int64
    assert loaded["even"].dtype == np.bool_
    assert json.loads(loaded.attrs["seeds"]) == {"seeds": 4}
    versions = json.loads(loaded.attrs["versions"])
    packages = {"python", "jax", "jaxlib", "equinox", "optax", "numpy", "neurashed"}
    assert set(versions) == packages | {"nsh's source"}
    assert versions["numpy"] == np.__version__
    assert loaded.attrs["wall_time_seconds"] >= 0
    assert loaded.attrs["started_utc"].endswith("+00:00")
    assert "cores" in loaded.attrs["device"]
    assert loaded.attrs["git_commit"]


@pytest.mark.long
@pytest.mark.thorough
def test_run_as_a_command_keeps_stderr_plain(fake, tmp_path):
    fake("fake_one")
    fake("fake_two")
    program = textwrap.dedent("""
        import runpy
        import experiments
        experiments.EXPERIMENTS = ("fake_one", "fake_two")
        sys.argv = ["nsh", "reproduce", "all", "--jobs", "2"]
        runpy.run_module("nsh", run_name="__main__", alter_sys=True)
    """)
    path = [str(tmp_path), str(results.ROOT)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path}\n{program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    for line in ("[1/2] fake_one: done", "[2/2] fake_two: done"):
        assert line in done.stderr
    assert [entry["error"] for entry in read_claims(tmp_path / "results")] == [None, None]


def test_experiments_are_listed_once():
    assert len(set(EXPERIMENTS)) == len(EXPERIMENTS)
    assert {name.removeprefix("experiments.") for name in EXPERIMENTS} >= set(ORDER)


@pytest.mark.long
@pytest.mark.thorough
def test_side_by_side_a_process_that_dies_hides_nothing(fake, tmp_path, capfd):
    out, dies = tmp_path / "out", FAKE.replace("raise RuntimeError", "import os; os._exit")
    modules = [
        fake("fake_one"),
        fake("fake_dies", failure="7", source=dies.replace('"{failure}")\n', "{failure})\n")),
        fake("fake_raises", failure="out of luck"),
        fake("fake_two"),
    ]
    assert main(["all", "--jobs", "2", "--out", str(out)], modules) == 1
    one, died, raised, two = read_claims(out)
    assert died["error"] == "ChildProcessError: its process ended with 7"
    assert raised["error"] == "RuntimeError: out of luck"
    assert configuration(out, "fake_two")["seeds"] == 4
    alone = tmp_path / "alone"
    main(["all", "--out", str(alone), "--jobs", "1"], [modules[0], modules[3]])
    assert read_claims(alone) == [one, two]
    shown = capfd.readouterr().err
    for line in ("[1/4] fake_one: done", "counting: done", "[2/4] fake_dies: stopped"):
        assert line in shown
