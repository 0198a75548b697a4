"""Tuning by gradient descent: known optima, means and single seeds, bounds, seeds that run away."""

import descent
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import split

from nsh import Geometric, Neurashed, Rules, TrainingProblem, hyper_grid
from nsh.bounds import REALS
from nsh.neurashed import figure4
from nsh.training import RunStatus, ensemble, tune

KEY = jax.random.key(6)
ADAM, SGD = optax.adam(0.1), optax.sgd(0.01)
ONLY_RATE = {"rate": True}


def tuned(hyper=None, **options):
    hyper = descent.hyper() if hyper is None else hyper
    given = {
        "objective": descent.loss, "system": descent.SYSTEM, "examples": descent.EXAMPLES,
        "key": KEY, "seeds": 4, "steps": 2, "optimiser": ADAM, "iterations": 3,
        "tuned": ONLY_RATE, **options,
    }  # fmt: skip
    problem, given = split(given.pop("system"), given.pop("examples"), hyper, **given)
    return tune(problem=problem, **given)


@pytest.mark.long
def test_finds_the_best_rate_from_several_starts():
    # w_T = w_0 (1 - 2 rate)^T is 0, for all seeds, at rate 1/2
    hyper = hyper_grid(descent.hyper, rate=[0.1, 0.8], quartic=[0.0])
    done = []
    found = tuned(hyper, grid_ndim=2, steps=1, iterations=120, callback=done.append)
    assert done == [1] * 121
    np.testing.assert_allclose(found.hyper["rate"], 0.5, rtol=1e-2)
    assert found.values.shape == (2, 1, 121)
    assert found.status.shape == (2, 1, 4, 121)
    assert np.all(found.values[..., -1] < 1e-3 * found.values[..., 0])
    np.testing.assert_allclose(found.hypers["rate"][..., 0], hyper["rate"], rtol=1e-6)
    np.testing.assert_array_equal(found.hypers["rate"][..., -1], found.hyper["rate"])
    np.testing.assert_array_equal(found.hypers["quartic"], 0)
    # each value is the objective's mean at the hyperparameters beside it
    for place in (0, 3):
        at = {name: leaf[0, 0, place] for name, leaf in found.hypers.items()}
        problem = TrainingProblem(descent.SYSTEM, descent.EXAMPLES, at, steps=1)
        run = ensemble(problem, KEY, seeds=4)
        wanted = np.mean(np.asarray(run.state) ** 2) / 2
        np.testing.assert_allclose(found.values[0, 0, place], wanted, rtol=1e-4)


def missed(run):
    return (jnp.mean(run.state.log_amplification) + 3.0) ** 2


@pytest.mark.long
def test_rules_reach_a_target_and_each_seed_its_own():
    graph, inputs = figure4()
    system = Neurashed(graph)
    examples = system.prepare(inputs.x, inputs.y)
    rules = Rules(Geometric(1.1), Geometric(0.9))
    problem = TrainingProblem(system, examples, rules, steps=50)
    found = tune(
        missed,
        problem,
        KEY,
        seeds=3,
        optimiser=optax.adam(0.05),
        iterations=80,
        per_seed=True,
        vmap_size=4,
    )
    assert found.values.shape == (3, 81)
    assert np.all(found.values[:, 0] > 1)
    assert np.all(found.values[:, -1] < 1e-2)
    growth, decay = found.hypers.growth.factor, found.hypers.decay.factor
    assert growth.shape == (3, 81)
    assert len(np.unique(found.hyper.growth.factor)) == 3
    assert np.all(np.asarray(growth) > 1)
    assert np.all((np.asarray(decay) > 0) & (np.asarray(decay) < 1))


@pytest.mark.long
def test_each_seed_is_tuned_as_if_alone():
    together = tuned(per_seed=True, seeds=3, first_seed=1, vmap_size=4)
    for seed in range(3):
        alone = tuned(seeds=1, first_seed=1 + seed, vmap_size=4)
        np.testing.assert_allclose(together.values[seed], alone.values, rtol=1e-6)
        np.testing.assert_allclose(together.hypers["rate"][seed], alone.hypers["rate"], rtol=1e-6)


def test_stays_within_bounds_even_if_the_best_is_beyond():
    bounds = {"rate": (0.05, 0.2)}  # what it does not name keeps the system's own
    found = tuned(bounds=bounds, optimiser=optax.adam(1.0), iterations=12)
    rates = np.asarray(found.hypers["rate"])
    assert np.all((rates >= 0.05) & (rates <= 0.2))
    assert rates[-1] > 0.199
    np.testing.assert_array_equal(found.hypers["quartic"], 0)


def test_seeds_that_run_away_are_left_out_and_flagged():
    found = tuned(descent.hyper(0.1, 1.5), seeds=32, steps=40, iterations=1)
    gone = np.asarray(found.status[:, 0]) == 1
    assert 0 < gone.sum() < 32
    problem = TrainingProblem(descent.SYSTEM, descent.EXAMPLES, descent.hyper(0.1, 1.5), steps=40)
    run = ensemble(problem, KEY, seeds=32)
    np.testing.assert_array_equal(run.status, gone)
    wanted = np.mean(np.asarray(run.state)[~gone] ** 2) / 2
    np.testing.assert_allclose(found.values[0], wanted, rtol=1e-4)
    assert np.isfinite(found.hyper["rate"])


def never(run):
    return jnp.sum(run.state) * jnp.nan


@pytest.mark.parametrize("per_seed", [False, True])
def test_nothing_moves_where_no_seed_is_left_and_the_user_is_told(per_seed):
    with pytest.warns(UserWarning, match="no seed has a finite gradient.* 4 runs diverged"):
        found = tuned(objective=never, optimiser=SGD, per_seed=per_seed)
    assert np.isnan(found.values).all()
    np.testing.assert_array_equal(found.status, 1)
    np.testing.assert_allclose(found.hypers["rate"], 0.1, rtol=1e-6)


def test_a_gradient_that_is_not_finite_is_no_divergence_and_its_value_stays():
    """w_1 = w_0 (1 - 2 rate) is 0 at rate 1/2: its root has a value there, and no slope."""
    start = descent.hyper(0.5)

    def root(run):
        return jnp.sqrt(jnp.sum(jnp.abs(run.state)))

    with pytest.warns(UserWarning, match="4 gradients are not finite: .*eps_root"):
        found = tuned(start, objective=root, steps=1, iterations=2, bounds=REALS)
    np.testing.assert_array_equal(found.status, RunStatus.GRADIENT_NOT_FINITE)
    np.testing.assert_array_equal(found.values, 0)
    np.testing.assert_allclose(found.hypers["rate"], 0.5, rtol=1e-6)


def test_an_objective_constant_in_steps_is_told():
    with pytest.warns(UserWarning, match="exactly 0 .* accuracy"):
        tuned(objective=lambda run: jnp.sum(jnp.sign(run.state)), iterations=1)


def test_the_best_so_far_is_kept_where_the_descent_overshoots():
    found = tuned(descent.hyper(0.3), steps=1, iterations=3, optimiser=optax.adam(0.4))
    values, rates = np.asarray(found.values), np.asarray(found.hypers["rate"])
    assert np.argmin(values) not in (0, 3)
    assert found.best["rate"] == rates[np.argmin(values)]
    assert found.best["quartic"] == 0


def test_optimisers_may_ask_for_the_value():
    slower = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1))
    found = tuned(optimiser=slower, iterations=4)
    assert np.all(np.diff(found.values) < 0)


def test_other_values_compile_nothing():
    traces = []

    def objective(run):
        traces.append(run)
        return descent.loss(run)

    counts = []
    weak = jax.jit(lambda: {"rate": 0.1, "quartic": 0.0})()
    assert all(leaf.weak_type for leaf in weak.values())
    starts = [descent.hyper(0.1), descent.hyper(0.2), descent.hyper(0.1), weak]
    for start, seed, iterations in zip(starts, (0, 0, 7, 0), (3, 5, 0, 3), strict=True):
        found = tuned(start, objective=objective, first_seed=seed, iterations=iterations)
        assert found.values.shape == (iterations + 1,)
        counts.append(len(traces))
    assert counts[0] > 0
    assert counts == [counts[0]] * 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hyper": descent.hyper(0.0)}, r"hyper\['rate'\] = 0.0: must be strictly inside \(0.0"),
        ({"optimiser": optax.lbfgs()}, "optimiser = .*: must be .* by parameters, gradient and"),
        ({"optimiser": optax.lookahead(SGD, 2, 0.5)}, "optimiser = .*gradient and value, but it"),
        ({"iterations": -1}, "iterations = -1: must be an integer >= 0"),
        ({"optimiser": 0.1}, "optimiser = 0.1: must be an optax.GradientTransformation"),
        ({"per_seed": 1}, "per_seed = 1: must be True or False"),
        ({"tuned": {"rates": True}}, "tuned = 'rates': must be among .*; did you mean rate"),
        ({"tuned": {"rate": 1}}, r"tuned\['rate'\] = 1: must be True or False"),
        ({"bounds": {"rates": (0.0, 1.0)}}, "bounds = 'rates': must be among .*mean rate"),
        ({"tuned": False}, "hyper = .*: must be a pytree with floating leaves"),
        ({"bounds": {"rate": (1.0, 0.0), "quartic": (0.0, 1.0)}}, r"bounds\['rate'\] = \(1.0, 0.0"),
    ],
)
def test_bad_input(change, named):
    from jaxtyping import config

    config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=named):
            tuned(**change)
    finally:
        config.update("jaxtyping_disable", False)
