"""Long runs in 32-bit floats: every method within its rounding bound, whatever the rules.

With unit roundoff u, moves s_t = log a or log b rounded to relative error 2u (a logarithm), and
x_t = log lambda after t steps, S = sum_t |s_t|, to first order in u (start and end: u |x|):

- `Sequential` adds moves to a rest, which joins x every B = 100 steps, exactly (Knuth's sum of two
  floats): <= u (|x_0| + |x_T|) + (B/2 + 2) u S. Second order: u^2 sum_t |x_t|, which is
  below 60 u |x| up to 10^9 steps;
- `ParallelInTime` adds moves as a tree of depth d in each of its blocks, and these to x exactly:
  <= u (|x_0| + |x_T|) + (d + 2) u S;
- `ClosedForm` counts exactly: <= 4 u (|x_0| + n |log a| + (T - n) |log b|).
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh import (
    Additive,
    Affine,
    FullBatch,
    Geometric,
    Graph,
    Neurashed,
    Rules,
    Saturating,
    TrainingProblem,
    WithReplacement,
    ensemble,
    hyper_grid,
    train,
)
from nsh.neurashed import Constant, Rule, figure4, figure4_rules, unpack
from nsh.neurashed.rule import parameters
from nsh.training import (
    ClosedForm,
    DirectSample,
    ParallelInTime,
    RunStatus,
    Sequential,
)
from nsh.training.problem import Keys

STEPS, KEY, BLOCK, SETTLED = 1_000_000, jax.random.key(5), 8192, 100
ONE = Graph.from_nodes(inputs=1, levels=[], classes=[[0]])
NEVER = Geometric(0.5)


@pytest.mark.long
@pytest.mark.skipif(jax.config.read("jax_enable_x64"), reason="of 32-bit floats")
def test_a_million_steps_within_rounding_bounds():
    graph, inputs = figure4()
    start = Constant(0.005)
    system = Neurashed(graph, start, start)
    examples, rules = system.prepare(inputs.x, inputs.y), figure4_rules(graph)

    batches = Keys.of(KEY).batches
    draw = jax.jit(lambda: WithReplacement().draw(None, jnp.int32(0), STEPS, batches, 8))
    drawn = np.asarray(draw()[0])[:, 0]
    fires = np.asarray(unpack(examples.words, graph.nodes))[drawn]
    growth, decay = (
        np.broadcast_to(np.asarray(parameters(rule)["factor"], np.float64), graph.nodes)
        for rule in (rules.growth, rules.decay)
    )
    shifts = np.where(fires, np.log(growth), np.log(decay))
    start_and_end = np.abs(math.log(np.float32(0.005))), np.abs(shifts.sum(axis=0))
    path_end = math.log(np.float32(0.005)) + shifts.sum(axis=0)

    roundoff = float(jnp.finfo(jnp.float32).eps) / 2
    travelled, ends = np.abs(shifts).sum(axis=0), sum(start_and_end)
    depth = math.ceil(math.log2(BLOCK))
    bounds = [
        (ClosedForm(), 4 * (start_and_end[0] + travelled)),
        (ParallelInTime(), ends + (depth + 2) * travelled),
        (Sequential(), ends + (SETTLED / 2 + 2) * travelled),
    ]
    for method, bound in bounds:
        problem = TrainingProblem(system, examples, rules, steps=STEPS)
        run = train(problem, KEY, method=method)
        error = np.abs(np.asarray(run.state.log_amplification, np.float64) - path_end)
        assert np.all(error <= roundoff * bound), method


def slowly(base, change):
    return lambda t: base + change * jnp.cos(t.astype(float) / 100)


def at(value, t):
    return np.asarray(value(jnp.asarray(t)) if callable(value) else value, np.float64)


# rules whose moves are lost in 32-bit floats beside log x, where x starts; x -> g(x) of each
LOST = {
    "geometric": (1e38, Geometric, (1.000002,), lambda x, a: a * x),
    "geometric, scheduled": (1e38, Geometric, (slowly(1.000003, 1e-6),), lambda x, a: a * x),
    "additive": (20_972.0, Additive, (0.01,), lambda x, c: x + c),
    "additive, scheduled": (20_972.0, Additive, (slowly(0.01, 0.005),), lambda x, c: x + c),
    "affine": (1e5, Affine, (1.0000002, 0.01), lambda x, a, c: a * x + c),
    "saturating": (
        1e30, Saturating, (1.000003, 1e35), lambda x, a, top: a * x / (1 + (a - 1) * x / top)
    ),
}  # fmt: skip
SOME = 3000
FITS = {
    "geometric": [Sequential(), ParallelInTime(), ClosedForm(), DirectSample()],
    "affine": [Sequential(), ParallelInTime(1000)],  # in blocks: many states, quickly compiled
}


@pytest.mark.long
@pytest.mark.parametrize("case", LOST)
def test_moves_below_the_last_digit_add_up(case):
    """x as `value` and `rest` of log x, against the recursion in 64-bit floats."""
    value, make, given, rule = LOST[case]
    system = Neurashed(ONE, Constant(value), Constant(1.0))
    examples, growth = system.prepare([[1]], [0]), make(*given)
    exact = start = math.exp(float(jnp.log(jnp.asarray(value, float))))
    for t in range(SOME):
        exact = float(rule(exact, *(at(p, t) for p in parameters(growth).values())))
    moved = math.log(exact / start)
    assert moved > 0
    roundoff = float(jnp.finfo(jnp.result_type(float)).eps) / 2
    # moves that depend on log x have its error; 3 units for the logarithms and exponentials
    each = SETTLED / 2 + 3 + abs(math.log(start)) * (make is not Geometric)
    for method in FITS.get(case, [Sequential()]):
        problem = TrainingProblem(
            system, examples, Rules(growth, NEVER), steps=SOME, sampler=FullBatch()
        )
        run = train(problem, KEY, method=method)
        found, log_start = run.state.amplification, float(jnp.log(jnp.asarray(value, float)))
        change = (float(found.value[0]) - log_start) + float(found.rest[0])
        # beside the moves, the second order: rests of a rounded log x, one a step
        bound = each * roundoff * moved + 2 * SOME * roundoff**2 * log_start
        # the recursion itself, in 64-bit floats
        bound += SOME * 2.0**-52
        assert abs(change - moved) <= bound, method
        assert run.status == RunStatus.HEALTHY


def test_derivatives_of_long_runs_are_sums_of_the_same_kind():
    """``log x_T = log x_0 + T log a``: slope T / a, of which each step adds 1 / a."""
    steps, factor = 100_000, np.float32(1.1)
    system = Neurashed(ONE, Constant(1.0), Constant(1.0))
    examples = system.prepare([[1]], [0])

    def final(factor):
        rules = Rules(Geometric(factor), NEVER)
        problem = TrainingProblem(system, examples, rules, steps=steps, sampler=FullBatch())
        run = train(problem, KEY)
        return run.state.log_amplification[0]

    factor, one = jnp.asarray(factor, float), jnp.ones((), float)
    along = jax.jit(lambda: jax.jvp(final, (factor,), (one,))[1])()
    across = jax.jit(jax.grad(final))(factor)
    roundoff = float(jnp.finfo(jnp.result_type(float)).eps) / 2
    np.testing.assert_allclose(along, steps / float(factor), rtol=(SETTLED / 2 + 3) * roundoff)
    # transposed sums of blocks within blocks: 100, 20 and 50 terms
    np.testing.assert_allclose(across, steps / float(factor), rtol=(170 / 2 + 3) * roundoff)


class Scaling(Rule):
    """``g(x) = (1 + rate) x``, without its gain."""

    rate: jax.Array = eqx.field(converter=lambda rate: jnp.asarray(rate, float))

    def __call__(self, log_x):
        return log_x + jnp.log1p(self.rate)

    def domain(self, growing):
        return {"rate": (0.0, math.inf) if growing else (-1.0, 0.0)}


@pytest.mark.parametrize(
    ("rules", "start", "stalled"),
    [
        (Rules(Additive(1.0), Additive(-1.0)), 1e38, True),
        (Rules(Additive(1.0), Geometric(1.0)), 1e38, True),
        (Rules(Additive(1.0), Geometric(0.5)), 1e38, False),
        (Rules(Geometric(1.5), Additive(-1.0)), 1e38, False),
        (Rules(Saturating(1.5, 8.0), Geometric(1.0)), 8.0, False),  # at its fixed point
        (Rules(Scaling(1e-20), Geometric(1.0)), 1e38, True),
        (Rules(Scaling(1.0), Geometric(1.0)), 1.0, False),
        (Rules(Additive(1.0), Additive(-1.0)), 0.0, False),
        (Rules(Geometric(1.5), NEVER), 0.0, False),  # dead, as it should be
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_no_step_moves_any_more_has_stalled(rules, start, stalled):
    system = Neurashed(ONE, Constant(start), Constant(1.0))
    assert system.stalled(system.init(KEY, rules), rules) == stalled


def test_status_of_each_seed_says_whether_it_stalled():
    system = Neurashed(ONE, Constant(1e38), Constant(1.0))
    grid = hyper_grid(lambda c: Rules(Additive(c), Additive(-c), Geometric(1.5)), c=[1.0, 1e36])
    problem = TrainingProblem(
        system, system.prepare([[1]], [0]), grid, steps=3, sampler=FullBatch(), grid_ndim=1
    )
    run = ensemble(problem, KEY, seeds=2)
    np.testing.assert_array_equal(
        run.status, [[RunStatus.STALLED, RunStatus.STALLED], [RunStatus.HEALTHY, RunStatus.HEALTHY]]
    )
    assert len({RunStatus.HEALTHY, RunStatus.DIVERGED, RunStatus.STALLED}) == 3
