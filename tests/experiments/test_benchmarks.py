"""The benchmarks: contenders agree, absent ones are said to be, and ratios are what they claim."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import ensembles, harness, numpy_peers, report
from experiments.benchmarks.__main__ import Config, cases, main
from experiments.benchmarks.case import Case, Contender, Target
from experiments.harness.results import ROOT
from nsh import Neurashed, TrainingProblem, train
from nsh.neurashed import Constant
from nsh.study.progress import silent
from nsh.training import FixedBatches


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """One quick case through the command line, without an interpreter for peers."""
    directory = tmp_path_factory.mktemp("benchmarks")
    status = main(["--quick", "--only", "million-seeds", "--results", str(directory)])
    return status, directory / "benchmarks"


@pytest.mark.long
def test_command_writes_what_it_found(quick):
    status, directory = quick
    assert status == 0
    assert {path.name for path in directory.iterdir()} == {
        "benchmarks.json", "figure.png", "figure.pdf"
    }  # fmt: skip
    found = json.loads((directory / "benchmarks.json").read_text())
    assert "CPU cores" in found["devices"][0]
    (case,) = found["cases"]
    assert case["name"] == "million-seeds"
    absolute, ratio = case["targets"]
    drawn, scan = case["contenders"]["direct sample"], case["contenders"]["step after step"]
    assert absolute["values"] == drawn["seconds"]
    assert absolute["holds"]
    expected = [a / b for a, b in zip(scan["seconds"], drawn["seconds"], strict=True)]
    assert ratio["values"] == expected
    assert ratio["holds"] is None
    assert scan["scale"] == (8 / 2) * (50 / 5)
    assert scan["compile_seconds"] > scan["first_seconds"]
    assert scan["temporary_bytes"] > 0


def test_absent_contenders_are_no_failure():
    contenders = (
        Contender("no peers", "experiments.benchmarks.torch_peers:neurashed", peer="peers"),
        Contender("broken", "experiments.benchmarks.numpy_peers:no_such_work"),
    )  # fmt: skip
    targets = (Target("no peers", "broken", reach=2.0), Target("broken"))
    case = Case("a case", "what is timed", contenders, targets)
    result = harness.measure(case, {}, 2, silent)
    found = report.entry(case, result)
    assert "no interpreter" in found["contenders"]["no peers"]["absent"]
    assert "no_such_work" in found["contenders"]["broken"]["absent"]
    assert [target["median"] for target in found["targets"]] == [None, None]
    assert report.figure([found]).axes


@pytest.mark.long
def test_numpy_and_nsh_train_to_the_same_state():
    sizes = {"samples": 12, "shared": (6, 4, 3), "specific": (3, 2, 1)}
    arrays = ensembles.data(batch=2, **sizes)
    node = np.zeros((ensembles.CHECKED_SEEDS, arrays["log_growth"].size), np.float32)
    edge = np.zeros((ensembles.CHECKED_SEEDS, arrays["class_sources"].size), np.float32)
    indices = arrays["check_indices"]
    node, edge = numpy_peers.train(arrays, node, edge, len(indices), lambda step: indices[step])
    system, examples, rules = ensembles.task(**sizes)
    known = Neurashed(system.graph, Constant(1.0), Constant(1.0))
    for seed in range(ensembles.CHECKED_SEEDS):
        sampler = FixedBatches(jnp.asarray(indices[:, seed], jnp.int32))
        problem = TrainingProblem(known, examples, rules, steps=len(indices), sampler=sampler)
        run = train(problem, jax.random.key(0))
        np.testing.assert_allclose(run.state.log_amplification, node[seed], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(run.state.log_weight, edge[seed], rtol=1e-4, atol=1e-5)
    assert np.ptp(node) > 0.1


def test_results_that_differ_are_seen():
    ones = {"a": np.array([1.0, -4.0])}
    assert harness.largest_difference(ones, {"a": np.array([1.0, -4.0])}) == 0
    assert harness.largest_difference(ones, {"a": np.array([2.0, -4.0])}) == 0.25
    with pytest.raises(ValueError, match="results of"):
        harness.largest_difference(ones, {"b": np.ones(1)})


@pytest.mark.parametrize(
    ("at", "reach", "value", "holds"),
    [("least", 5.0, 5.0, True), ("least", 5.0, 4.9, False), ("most", 1.5, 1.6, False),
     ("most", 1.5, 1.5, True), ("most", None, 7.0, None)],
)  # fmt: skip
def test_targets_are_held_to_their_side(at, reach, value, holds):
    assert Target("a", "b", at, reach).holds(value) is holds


def test_memory_ratio_prefers_the_planned_bytes():
    result = {"contenders": {
        "a": {"temporary_bytes": 300, "peak_bytes": 999}, "b": {"temporary_bytes": None,
        "peak_bytes": 100}, "c": {}}}  # fmt: skip
    assert harness.ratios(result, "a", "b", "bytes") == [3.0]
    assert harness.ratios(result, "c", None, "bytes") == []


def test_every_case_of_the_table_is_there_once():
    names = [case.name for case in cases(Config())]
    assert len(names) == len(set(names)) == 28
    with pytest.raises(SystemExit, match="no such case"):
        cases(Config(only=("nothing",)))


def test_peers_need_no_jax():
    program = (
        "import sys; import experiments.benchmarks.worker, experiments.benchmarks.numpy_peers;"
        "assert not {'jax', 'nsh'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
