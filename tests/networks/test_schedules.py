"""Schedules with traced numbers are Optax's own, and can be differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import check_three_ways
from small_networks import KEY, X, Y, at_rate, make_linear

from nsh import FullBatch, TrainingProblem, ensemble, hyper_grid, train
from nsh.networks import Network, PerStep, Schedule
from nsh.networks.schedules import TRACEABLE
from nsh.study import hyper_names

pytestmark = pytest.mark.core

WARM = {"init_value": 0.0, "peak_value": 0.3, "warmup_steps": 5, "decay_steps": 20}
ARGUMENTS = {
    "constant_schedule": [{"value": 0.1}],
    "cosine_decay_schedule": [
        {"init_value": 0.1, "decay_steps": 20, "alpha": 0.1, "exponent": 1.5},
    ],
    "cosine_onecycle_schedule": [{"transition_steps": 20, "peak_value": 0.3}],
    "exponential_decay": [
        {"init_value": 0.1, "transition_steps": 4, "decay_rate": 0.7, "transition_begin": 3},
        {"init_value": 0.1, "transition_steps": 4, "decay_rate": 0.7, "staircase": True},
        {"init_value": 0.1, "transition_steps": 4, "decay_rate": 0.7, "end_value": 0.05},
        {"init_value": 0.1, "transition_steps": 4, "decay_rate": 1.7, "end_value": 0.3},
        {"init_value": 0.1, "transition_steps": 0, "decay_rate": 0.7},
    ],
    "linear_onecycle_schedule": [{"transition_steps": 20, "peak_value": 0.3}],
    "linear_schedule": [
        {"init_value": 0.1, "end_value": 0.01, "transition_steps": 9, "transition_begin": 5},
    ],
    "piecewise_constant_schedule": [
        {"init_value": 0.1, "boundaries_and_scales": {20: 0.1, 10: 0.5}},
        {"init_value": 0.1},
    ],
    "piecewise_interpolate_schedule": [
        {"interpolate_type": kind, "init_value": 0.1, "boundaries_and_scales": {20: 0.1, 10: 0.5}}
        for kind in ("linear", "cosine")
    ],
    "polynomial_schedule": [
        {"init_value": 0.1, "end_value": 0.01, "power": 2.5, "transition_steps": 9},
    ],
    "sgdr_schedule": [{"cosine_kwargs": [WARM, WARM | {"peak_value": 0.1}]}],
    "warmup_constant_schedule": [{"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 6}],
    "warmup_cosine_decay_schedule": [WARM, WARM | {"end_value": 0.1, "exponent": 2.0}],
    "warmup_exponential_decay_schedule": [
        {
            "init_value": 0.0, "peak_value": 0.1, "warmup_steps": 6, "transition_steps": 5,
            "decay_rate": 0.5, "transition_begin": 2, "end_value": 0.01,
        },
    ],
}  # fmt: skip


def test_all_of_optaxs_schedules_are_there():
    taken = (optax.schedules.inject_hyperparams, optax.schedules.inject_stateful_hyperparams)
    public = {
        name
        for name in dir(optax.schedules)
        if name.islower() and not name.startswith("_") and callable(getattr(optax.schedules, name))
    } - {function.__name__ for function in taken}
    assert public == {function.__name__ for function in TRACEABLE}
    assert public == {*ARGUMENTS, "join_schedules"}


@pytest.mark.thorough
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_schedule_of_traced_numbers_is_optaxs(name):
    function, counts = getattr(optax, name), jnp.arange(45, dtype=jnp.int32)
    for given in ARGUMENTS[name]:
        schedule = Schedule(function, **given)
        found = jax.jit(lambda schedule: jax.vmap(schedule)(counts))(schedule)
        with jax.numpy_dtype_promotion("standard"):  # which Optax needs
            expected = [float(function(**given)(int(count))) for count in counts]
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-8)
        numbers = jax.tree.map(lambda x: jnp.asarray(x, float), schedule)
        slopes = jax.grad(lambda s: jnp.sum(jax.vmap(s)(counts)))(numbers)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


def test_schedules_are_joined():
    parts = [Schedule(optax.constant_schedule, value=value) for value in (0.1, 0.5)]
    joined = Schedule(optax.join_schedules, schedules=parts, boundaries=[3])
    assert [round(float(joined(n)), 6) for n in (2, 3)] == [0.1, 0.5]
    assert hyper_names({"rate": joined})[-1] == "rate.schedules.1.value"


def test_numbers_have_names_bounds_and_are_tuned_unless_they_are_0():
    rate = Schedule(optax.warmup_cosine_decay_schedule, **WARM)
    network, hyper = Network(make_linear, optax.sgd), at_rate(rate)
    assert "optimiser.learning_rate.peak_value" in hyper_names(hyper)
    bounds = network.bounds(hyper)["optimiser"]["learning_rate"]
    assert bounds["peak_value"] == (0.0, np.inf)
    assert bounds["decay_steps"] == (-np.inf, np.inf)
    tuned = network.tunable(hyper)["optimiser"]["learning_rate"]
    assert tuned["peak_value"]
    assert not tuned["init_value"]


def problem_of(rate, steps=4, **more):
    network = Network(make_linear, optax.sgd)
    hyper, examples = rate if isinstance(rate, dict) else at_rate(rate), network.prepare(X, Y)
    return TrainingProblem(network, examples, hyper, steps=steps, sampler=FullBatch(), **more)


@pytest.mark.thorough
def test_one_number_per_step_is_a_schedule():
    rates = np.array([0.1, 0.4, 0.2, 0.3])
    found = train(problem_of(PerStep(rates)), KEY).state.params
    network, batch = problem_of(0.1).system, problem_of(0.1).examples
    state = train(problem_of(0.1, steps=0), KEY).state
    for rate in rates:
        state = network.step(state, batch, at_rate(rate), KEY)
    np.testing.assert_allclose(found.weight, state.params.weight, rtol=1e-5)
    # beyond its end it is not a number, and the run tells
    short = problem_of(PerStep(rates))
    beyond = short.at(at_rate(PerStep(rates[:3])))
    assert train(beyond, KEY).status == 1


@pytest.mark.thorough
def test_a_grid_of_schedules_is_one_program():
    def make(peak):
        return at_rate(Schedule(optax.warmup_cosine_decay_schedule, **WARM | {"peak_value": peak}))

    grid = hyper_grid(make, peak=[0.1, 0.3])
    run = ensemble(problem_of(grid, grid_ndim=1), KEY, seeds=2)
    alone = train(problem_of(make(0.3)["optimiser"]["learning_rate"]), jax.random.fold_in(KEY, 1))
    np.testing.assert_allclose(
        run.state.params.weight[1, 1], alone.state.params.weight, rtol=1e-5, atol=1e-6
    )


@pytest.mark.long
def test_hypergradients_by_a_schedules_numbers_are_differences():
    def loss(peak, end, rates):
        rate = Schedule(
            optax.warmup_cosine_decay_schedule, **WARM | {"peak_value": peak, "end_value": end}
        )
        found = []
        for one in (rate, PerStep(rates)):
            state = train(problem_of(one), KEY).state
            found.append(jnp.sum(state.params.weight**2))
        return jnp.stack(found)

    check_three_ways(loss, np.float64(0.3), np.float64(0.05), np.array([0.1, 0.4, 0.2, 0.3]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule(optax.linear_schedule, init=0.1), "arguments = .*init_value"),
        (lambda: Schedule(optax.constant_schedule, value=np.nan), "value.* = nan"),
        (
            lambda: Schedule(lambda rate: lambda step: rate if rate > 0 else 1.0, rate=0.1),
            "numbers may be traced .*jnp.where",
        ),
        (lambda: Schedule(optax.constant_schedule, value=np.ones(2)), r"shape of .* = \(2,\)"),
        (lambda: PerStep([]), r"values.shape = \(0,\)"),
        (lambda: problem_of(PerStep(np.ones(3))), r"values.shape = \(3,\): must be \(4,\) or more"),
    ],
)
def test_bad_schedules_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
