"""What a call would do is what it does, and nothing is compiled to say it."""

from typing import Any, cast

import jax
import numpy as np
import pytest

from nsh import Additive, Epochs, Geometric, Neurashed, Rules, SaveAt, TrainingProblem, hyper_grid
from nsh.neurashed import figure4, figure4_rules
from nsh.training import DirectSample, ParallelInTime, Sequential, ensemble, explain

GRAPH, INPUTS = figure4()
SYSTEM = Neurashed(GRAPH)
EXAMPLES = SYSTEM.prepare(INPUTS.x, INPUTS.y)


def lines(*arguments, **options):
    return dict(line.split(": ", 1) for line in explain(*arguments, **options).splitlines())


def test_sizes_are_those_of_the_run():
    def make(factor):
        return Rules(Geometric(factor), Geometric(0.9))

    grid = hyper_grid(make, factor=[1.1, 1.2, 1.3])
    problem = TrainingProblem(
        SYSTEM, EXAMPLES, grid, steps=6, sampler=Epochs(3), save=SaveAt(every=2), grid_ndim=1
    )
    told = lines(problem, seeds=5, vmap_size=2, chunk=4)
    run = ensemble(problem, jax.random.key(0), seeds=5, vmap_size=2, chunk=4)
    assert (
        told["problem"] == "Neurashed on 8 examples, 6 steps, 3 examples at each (Epochs(size=3))"
    )
    assert told["members"].startswith(
        f"5 seeds at 3 points = {run.status.size}, vmapped by 2, in 4"
    )
    size = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(run.saved))
    assert told["recorded"].startswith(f"{size / run.status.size / len(run.times):.0f} bytes at 4")
    assert f"{size / 1000:.3g} KB in all" in told["recorded"]


@pytest.mark.usefixtures("as_users_have_it")
def test_methods_that_fit_are_those_that_run():
    told = lines(TrainingProblem(SYSTEM, EXAMPLES, figure4_rules(GRAPH), steps=3))
    assert told["method"] == f"{Sequential()!r} fits"
    assert told["others"] == "ParallelInTime() fits; ClosedForm() fits; DirectSample() fits"
    rules = Rules(Additive(0.1), Additive(-0.1))
    recording = TrainingProblem(SYSTEM, EXAMPLES, rules, steps=3, save=SaveAt(every=1))
    for method in (DirectSample(), ParallelInTime()):
        fits = lines(recording, method=method)["method"].endswith(" fits")
        try:
            ensemble(recording, jax.random.key(0), seeds=1, method=method)
        except ValueError:
            assert not fits
        else:
            assert fits
    with pytest.raises(ValueError, match="method = 3: must be"):
        explain(recording, method=cast(Any, 3))


def test_nothing_is_trained_or_compiled(caplog):
    problem = TrainingProblem(SYSTEM, EXAMPLES, figure4_rules(GRAPH), steps=10**9)
    explain(problem, seeds=10**6)
    with jax.log_compiles():
        explain(problem, seeds=10**6)
    assert [r for r in caplog.records if r.message.startswith("Finished XLA comp")] == []
