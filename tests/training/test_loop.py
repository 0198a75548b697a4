"""The training loop: what is recorded, when, and that recording changes nothing."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import split

from nsh import (
    Affine,
    Epochs,
    FullBatch,
    Geometric,
    Neurashed,
    Rules,
    Run,
    SaveAt,
    TrainingProblem,
    WithReplacement,
    ensemble,
    train,
)
from nsh.neurashed import Uniform, figure4
from nsh.training import start

pytestmark = pytest.mark.core

GRAPH, INPUTS = figure4()
MODEL = Neurashed(GRAPH)
EXAMPLES = MODEL.prepare(INPUTS.x, INPUTS.y)
RULES = Rules(Geometric(1.1), Geometric(0.9))
STEPS = 10


def run(save=SaveAt(), steps=STEPS, key=0, **options):  # noqa: B008, an immutable value
    problem, options = split(MODEL, EXAMPLES, RULES, **{"steps": steps, "save": save, **options})
    return train(problem, jax.random.key(key), **options)


@pytest.fixture(scope="module")
def full():
    """A record of every step, checked against plain stepping."""
    recorded = run(SaveAt(every=1))
    np.testing.assert_array_equal(recorded.times, np.arange(STEPS + 1))
    np.testing.assert_array_equal(recorded.saved.iteration, np.arange(STEPS + 1))
    assert eqx.tree_equal(jax.tree.map(lambda leaf: leaf[-1], recorded.saved), recorded.state)
    return recorded


def more(save, name):
    return pytest.param(save, id=name, marks=pytest.mark.thorough)


@pytest.mark.long
def test_recording_changes_nothing_in_long_runs():
    """Sums are settled after the same steps, wherever recordings fall."""
    rules = Rules(Affine(1.1, 0.01), Geometric(0.9))
    alone, *recorded = (
        train(
            TrainingProblem(MODEL, EXAMPLES, rules, steps=250, save=save), jax.random.key(0)
        ).state
        for save in (SaveAt(), SaveAt(every=7), SaveAt(times=(100, 101, 150)))
    )
    assert all(eqx.tree_equal(alone, other) for other in recorded)


@pytest.mark.long
@pytest.mark.parametrize(
    "save",
    [
        pytest.param(SaveAt(every=3), id="every 3"),  # one step is left over
        pytest.param(SaveAt(times=(0, 1, 4, 5, 10)), id="irregular"),
        pytest.param(SaveAt(times=()), id="no steps"),
        more(SaveAt(), "never"),
        more(SaveAt(every=STEPS), "ends"),
        more(SaveAt(every=STEPS + 1), "start"),  # the start alone
        more(SaveAt(times=[2, 3, 4, 8]), "not the end"),
    ],
)
def test_recordings_are_rows_of_the_full_record(save, full):
    sparse = run(save)
    assert eqx.tree_equal(sparse.state, full.state)  # bitwise
    rows = np.asarray(save.times_within(STEPS), int)
    np.testing.assert_array_equal(sparse.times, rows)
    wanted = jax.tree.map(lambda leaf: leaf[rows], full.saved) if len(rows) else None
    assert eqx.tree_equal(sparse.saved, wanted)
    assert sparse.status == 0


@pytest.mark.long
def test_the_start_of_a_run_is_given_by_its_key():
    """By its own key, which `train` splits, and for seeds of an ensemble by theirs."""
    model = Neurashed(GRAPH, amplification_init=Uniform(0.1, 10.0))
    key = jax.random.key(3)
    problem = TrainingProblem(model, EXAMPLES, RULES, steps=1, save=SaveAt(times=(0,)))
    recorded = train(problem, key).saved
    given = start(model, RULES, key)
    for found, wanted in zip(jax.tree.leaves(given), jax.tree.leaves(recorded), strict=True):
        np.testing.assert_allclose(found, wanted[0], rtol=1e-6)
    other = model.init(key, RULES).log_amplification
    assert np.abs(other - given.log_amplification).max() > 0.1
    problem = TrainingProblem(model, EXAMPLES, RULES, steps=0)
    seeds = ensemble(problem, key, seeds=2).state
    of_seed = start(model, RULES, jax.random.fold_in(key, 1))
    np.testing.assert_allclose(
        of_seed.log_amplification, seeds.log_amplification[1], rtol=1e-6, atol=1e-6
    )
    with pytest.raises(ValueError, match="generator of key = 'rbg'"):
        start(model, RULES, jax.random.key(0, impl="rbg"))


@pytest.mark.thorough
def test_steps_are_applied_one_after_the_other():
    recorded = run(SaveAt(every=1), sampler=FullBatch())
    start = jax.tree.map(lambda leaf: leaf[0], recorded.saved)
    for t in range(1, 4):
        start = MODEL.step(start, EXAMPLES, RULES, jax.random.key(9))
        np.testing.assert_allclose(
            recorded.saved.log_amplification[t], start.log_amplification, rtol=1e-6
        )


def test_numbers_of_steps_may_be_numpys():
    save = SaveAt(lambda now: now.step, times=np.array([1, 3]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Equinox warns of arrays in static fields
        sampler, every = Epochs(np.int64(2)), SaveAt(every=np.int64(2))
        recorded = run(save, 3, sampler=sampler)
    assert recorded.saved.tolist() == [1, 3]
    assert every.times_within(5) == (0, 2, 4)


def test_no_steps():
    nothing = run(SaveAt(every=4), steps=0)
    np.testing.assert_array_equal(nothing.times, [0])
    assert nothing.state.iteration == 0
    assert eqx.tree_equal(jax.tree.map(lambda leaf: leaf[0], nothing.saved), nothing.state)


@pytest.mark.thorough
def test_longer_runs_begin_as_shorter_ones(full):
    longer = run(SaveAt(times=(STEPS,)), steps=STEPS + 7)
    assert eqx.tree_equal(jax.tree.map(lambda leaf: leaf[0], longer.saved), full.state)


def test_other_hyperparameters_compile_nothing():
    traces = []

    def what(now):
        traces.append(now)
        return {
            "step": now.step,
            "factor": now.hyper.growth.factor,
            "nodes": now.system.graph.nodes,
        }

    save, recorded, counts = SaveAt(what, every=5), [], []
    for factor in (1.1, 1.2, 1.3):
        for key in (0, 1):
            rules = Rules(Geometric(factor), Geometric(0.5 * factor))
            problem = TrainingProblem(MODEL, EXAMPLES, rules, steps=STEPS, save=save)
            one = train(problem, jax.random.key(key))
            recorded.append(one.saved)
            counts.append(len(traces))
    assert counts[0] > 0
    assert counts == [counts[0]] * 6
    for saved, factor in zip(recorded, np.repeat([1.1, 1.2, 1.3], 2), strict=True):
        np.testing.assert_array_equal(saved["step"], [0, 5, 10])
        np.testing.assert_allclose(saved["factor"], factor, rtol=1e-6)
        np.testing.assert_array_equal(saved["nodes"], 19)


def test_jit_and_vmap():
    keys = jax.random.split(jax.random.key(3), 4)

    def final(key, factor):
        rules = Rules(Geometric(factor), Geometric(0.9))
        sampler = WithReplacement(2)
        problem = TrainingProblem(MODEL, EXAMPLES, rules, steps=STEPS, sampler=sampler)
        done = train(problem, key)
        return done.state.log_amplification

    factors = jnp.array([1.1, 1.2, 1.3, 1.4])
    alone = jax.jit(final)
    one_by_one = jnp.stack([alone(*pair) for pair in zip(keys, factors, strict=True)])
    together = jax.jit(jax.vmap(final))(keys, factors)
    np.testing.assert_allclose(together, one_by_one, rtol=1e-5)


def test_results_print_small_numbers_and_the_shapes_of_large_arrays():
    made = Run({"w": jnp.zeros((3, 6)), "k": jax.random.key(0)}, None, np.array([0, 4]),
               jnp.array([0, 1, 0], jnp.int32))  # fmt: skip
    kind = jnp.zeros(()).dtype.itemsize * 8
    text = " ".join(repr(made).split())
    assert "times=[0, 4]" in text
    assert "status=[0, 1, 0]" in text
    assert f"f{kind}[3,6]" in text
    assert repr(RULES) == "Rules(growth=Geometric(factor=1.1), decay=Geometric(factor=0.9))"
    jax.eval_shape(lambda run: (repr(run), run.status)[1], made)  # what has no numbers yet
