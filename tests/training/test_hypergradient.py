"""Gradients of runs by hyperparameters: exact, the same by every mode, within memory, by choice."""

import dataclasses
from functools import partial

import descent
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import QUICKLY, x64
from jax.flatten_util import ravel_pytree
from problems import split

from nsh import (
    Geometric,
    Neurashed,
    Rules,
    Run,
    SaveAt,
    TrainingProblem,
    WithReplacement,
    ensemble,
    hyper_grid,
)
from nsh.networks import MLP, Network
from nsh.neurashed import Constant, figure4, unpack
from nsh.training import (
    ClosedForm,
    FullBatch,
    ParallelInTime,
    Sequential,
    hypergradient,
    sensitivity,
)

KEY = jax.random.key(2)
WAYS = {
    "closed form": {"mode": "closed form"},
    "forward": {"mode": "forward"},
    "reverse": {"mode": "reverse"},
    "sqrt": {"mode": "reverse", "method": Sequential("sqrt")},
    "parallel": {"mode": "reverse", "method": ParallelInTime()},
}


def figure4_system():
    graph, inputs = figure4()
    system = Neurashed(graph, Constant(0.5), Constant(0.5))
    return system, system.prepare(inputs.x, inputs.y)


def slopes_of(ways, objective, system, examples, hyper, **options):
    """Value and gradient as vectors [seeds, P] by each way, and the function of P numbers."""
    flat, unravel = ravel_pytree(hyper)
    problem, options = split(system, examples, hyper, **options)

    def value(numbers):
        run = ensemble(dataclasses.replace(problem, hyper=unravel(numbers)), KEY, **options)
        parts = (run.state, run.saved, run.status)
        return jax.vmap(lambda x, y, z: objective(Run(x, y, run.times, z)))(*parts)

    found = {}
    for name, way in ways.items():
        got = hypergradient(objective, problem, KEY, **options, **way)
        leaves = [leaf.reshape(options["seeds"], -1) for leaf in jax.tree.leaves(got.gradient)]
        found[name] = (got.value, np.concatenate(leaves, axis=1))
    return found, jax.jit(value, compiler_options=QUICKLY), flat


def check_all_agree(found, value, flat, eps=1e-6, tolerance=1e-7):
    first = next(iter(found.values()))[1]
    assert (np.abs(first).max(axis=0) > 1e-6).all(), "a hyperparameter that moves nothing"
    for values, gradient in found.values():
        np.testing.assert_allclose(values, value(flat), rtol=1e-10)
        np.testing.assert_allclose(gradient, first, rtol=1e-9, atol=1e-12)
    direction = np.random.default_rng(0).normal(size=flat.shape)
    change = (value(flat + eps * direction) - value(flat - eps * direction)) / (2 * eps)
    np.testing.assert_allclose(first @ direction, change, rtol=tolerance, atol=tolerance)


def log_size(run):
    weights = jnp.linspace(0.5, 1.5, run.state.log_weight.size)
    return jnp.mean(run.state.log_amplification**2) + jnp.sum(weights * run.state.log_weight)


@pytest.mark.long
def test_all_modes_agree_with_each_other_and_with_differences():
    with x64(True):
        system, examples = figure4_system()
        rules = Rules(
            Geometric(np.linspace(1.1, 1.5, 19)), Geometric(0.9), Geometric(1.3), Geometric(0.7)
        )
        options = {"seeds": 2, "steps": 10, "vmap_size": 2, "sampler": WithReplacement(2)}
        check_all_agree(*slopes_of(WAYS, log_size, system, examples, rules, **options))


def saved_size(run):
    return jnp.sum(run.saved * jnp.asarray(run.times + 1, run.saved.dtype))


@pytest.mark.long
def test_modes_agree_on_what_is_recorded():
    with x64(True):
        system, examples = figure4_system()
        rules = Rules(Geometric(1.3), Geometric(0.9), Geometric(1.1), Geometric(0.7))
        save = SaveAt(lambda now: jnp.mean(now.state.log_amplification), every=2)
        options = {"seeds": 1, "steps": 5, "vmap_size": 1, "save": save}
        found = slopes_of(
            {name: WAYS[name] for name in ("forward", "sqrt", "closed form")},
            lambda run: saved_size(run) + jnp.sum(run.state.log_weight),
            system, examples, rules, **options,
        )  # fmt: skip
        check_all_agree(*found)


def make_mlp(key):
    return MLP((3, 4, 2), key=key)


@pytest.mark.long
def test_real_networks():
    with x64(True):
        system, random = Network(make_mlp, optax.sgd), np.random.default_rng(0)
        examples = system.prepare(random.normal(size=(8, 3)), random.integers(0, 2, 8))

        def error(run):
            logits = jax.vmap(lambda one: system.outputs(run.state, one))(examples)
            return jnp.mean(system_loss(logits, examples.y))

        system_loss = optax.losses.softmax_cross_entropy_with_integer_labels
        hyper = {"optimiser": {"learning_rate": jnp.array(0.2), "momentum": jnp.array(0.6)}}
        options = {"seeds": 2, "steps": 9, "vmap_size": 1, "sampler": FullBatch()}
        ways = {name: WAYS[name] for name in ("forward", "sqrt")}
        check_all_agree(*slopes_of(ways, error, system, examples, hyper, **options))


@pytest.mark.long
def test_slopes_of_mean_growth_are_those_of_the_exact_law():
    system, examples = figure4_system()
    fires = np.asarray(unpack(examples.words, 19))
    node = int(np.argmin(np.abs(fires.mean(axis=0) - 0.5)))
    q, steps, growth, decay = fires[:, node].mean(), 50, 1.1, 0.8
    assert 0 < q < 1
    rules = Rules(Geometric(growth), Geometric(decay))
    problem = TrainingProblem(system, examples, rules, steps=steps)
    found = hypergradient(lambda run: run.state.log_amplification[node], problem, KEY, seeds=256)
    assert found.mode == "closed form"
    plain, by_log = sensitivity(found), sensitivity(found, relative_to=rules)
    wanted = {"growth": (steps * q, growth), "decay": (steps * (1 - q), decay)}
    for name, (firings, factor) in wanted.items():
        mean, error = (getattr(s, name).factor for s in (by_log.mean, by_log.standard_error))
        # times that a node fires are binomial
        np.testing.assert_allclose(error, np.sqrt(steps * q * (1 - q) / 256), rtol=0.2)
        assert abs(mean - firings) < 4 * error
        np.testing.assert_allclose(getattr(plain.mean, name).factor, mean / factor, rtol=1e-6)
    assert plain.count == 256


def descended(objective=descent.loss, hyper=None, system=descent.SYSTEM, **options):
    hyper = descent.hyper() if hyper is None else hyper
    options = {"seeds": 3, "steps": 20, **options}
    problem, options = split(system, descent.EXAMPLES, hyper, **options)
    return hypergradient(objective, problem, KEY, **options)


def test_slope_of_gradient_descent_by_its_rate():
    rates = jnp.array([0.1, 0.3], float)
    found = descended(hyper=hyper_grid(descent.hyper, rate=rates, quartic=[0.0]), grid_ndim=2)
    problem = TrainingProblem(descent.SYSTEM, descent.EXAMPLES, descent.hyper(), steps=0)
    start = ensemble(problem, KEY, seeds=3).state
    shrink = 1 - 2 * np.asarray(rates)[:, None]
    value = np.asarray(start)[:, 0] ** 2 / 2 * shrink**40
    np.testing.assert_allclose(found.value[:, 0], value, rtol=1e-4)
    np.testing.assert_allclose(found.gradient["rate"][:, 0], -80 * value / shrink, rtol=1e-4)
    assert found.gradient["quartic"].shape == (2, 1, 3)


@pytest.mark.long
def test_a_seed_that_runs_away_harms_no_other():
    calm, wild = (descended(hyper=descent.hyper(0.1, q), seeds=32, steps=40) for q in (0.0, 1.5))
    gone = np.asarray(wild.status) == 1
    assert 0 < gone.sum() < 32
    np.testing.assert_array_equal(wild.valid, ~gone)
    assert np.isfinite(wild.gradient["rate"][~gone]).all()
    assert np.asarray(calm.valid).all()
    first = int(np.argmin(gone))
    few = descended(hyper=descent.hyper(0.1, 1.5), seeds=1, first_seed=first, steps=40)
    np.testing.assert_array_equal(few.gradient["rate"][0], wild.gradient["rate"][~gone][0])
    summary = sensitivity(wild)
    assert int(summary.count) == 32 - gone.sum()
    np.testing.assert_allclose(
        summary.mean["rate"], np.mean(wild.gradient["rate"][~gone]), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("way", "growth"),
    [({"mode": "forward"}, 1.05), ({"mode": "reverse", "method": Sequential("sqrt")}, 2.6)],
)
def test_memory_over_time(way, growth):
    system = descent.Descent(width=256)

    def memory(steps):
        slopes = jax.jit(
            lambda h: descended(hyper=h, system=system, seeds=1, vmap_size=1, steps=steps, **way)
        )
        analysis = slopes.lower(descent.hyper()).compile().memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    # indices are drawn 8,192 at once, and held for no longer
    short, long = memory(16384), memory(4 * 16384)
    assert long <= growth * short
    assert short < 16384 * 256 * 4 / 8, "an eighth of all states"


@pytest.mark.long
def test_works_under_jit_and_vmap_and_leaves_integers_alone():
    hyper = descent.hyper() | {"count": jnp.array(3, jnp.int32)}
    plain = descended(hyper=hyper)
    assert plain.gradient["count"] is None
    jitted = jax.jit(partial(descended, hyper=hyper))()
    assert (jitted.mode, jitted.why) == (plain.mode, plain.why)
    np.testing.assert_allclose(jitted.gradient["rate"], plain.gradient["rate"], rtol=1e-6)
    rates = jnp.array([0.1, 0.2], float)
    many = jax.vmap(lambda rate: descended(hyper=descent.hyper() | {"rate": rate}).gradient)(rates)
    np.testing.assert_allclose(many["rate"][0], plain.gradient["rate"], rtol=1e-6)
    assert many["rate"].shape == (2, 3)


def test_other_values_compile_nothing():
    traces = []

    def objective(run):
        traces.append(run)
        return descent.loss(run)

    counts = []
    for rate, seed, key in [(0.1, 0, 0), (0.2, 0, 0), (0.1, 7, 1)]:
        problem = TrainingProblem(descent.SYSTEM, descent.EXAMPLES, descent.hyper(rate), steps=20)
        hypergradient(objective, problem, jax.random.key(key), seeds=3, first_seed=seed)
        counts.append(len(traces))
    assert counts[0] > 0
    assert counts == [counts[0]] * 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mode": "backward"}, "mode = 'backward': must be 'auto' or 'forward' or"),
        ({"method": "scan"}, "method = 'scan': must be an nsh.training.Method"),
        (
            {"mode": "closed form", "method": Sequential()},
            r"method = Sequential\(.*\): must be None, ClosedForm\(\) or ParallelInTime\(\)",
        ),
        ({"mode": "closed form"}, r"do not compose.*; use Sequential\(\)"),
        ({"method": ClosedForm()}, "ClosedForm does not fit"),
        ({"seeds": 0}, r"seeds = 0: must be an integer in 1\.\.2147483647"),
        ({"memory": 0}, "memory = 0: must be an integer >= 1"),
        ({"objective": 3.0}, "objective = 3.0: must be a function of a Run"),
        (
            {"objective": lambda run: jnp.ones(2)},
            r"objective\(run\) = 'float(32|64)\[2\]': must be a scalar of floating type",
        ),
        (
            {"hyper": {"rate": 1, "quartic": 0}},
            r"hyper = .*: must be a pytree with floating leaves",
        ),
    ],
)
def test_bad_input(change, named):
    from jaxtyping import config

    config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=named):
            descended(**change)
    finally:
        config.update("jaxtyping_disable", False)
