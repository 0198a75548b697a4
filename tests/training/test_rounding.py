"""A million steps in 32-bit floats: every method within its rounding bound, and which drifts least.

With unit roundoff u, shifts s_t = log a or log b rounded to relative error 2u (a logarithm), and
x_t = log lambda after t steps, to first order in u:

- `Sequential` rounds every sum: error <= u sum_t |x_t| + 2 u sum_t |s_t|, O(T^2 u);
- `ParallelInTime` adds shifts as a tree of depth d in each of its blocks, then the blocks one by
  one: <= u sum_blocks |x| + (d + 2) u sum_t |s_t|, O(T log T u) for blocks of bounded number;
- `ClosedForm` counts exactly: <= 4 u (|x_0| + n |log a| + (T - n) |log b|), O(T u).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh import Neurashed, WithReplacement, train
from nsh.neurashed import Constant, figure4, figure4_rules, unpack
from nsh.neurashed.rules import parameters
from nsh.training import ClosedForm, ParallelInTime, Sequential
from nsh.training.plan import Keys

STEPS, KEY, BLOCK = 1_000_000, jax.random.key(5), 8192


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
    path = float(jnp.log(start.value)) + np.cumsum(shifts, axis=0)

    roundoff = float(jnp.finfo(jnp.float32).eps) / 2
    size, travelled = np.abs(path), np.abs(shifts).sum(axis=0)
    depth = math.ceil(math.log2(BLOCK))
    in_blocks = size[BLOCK - 1 :: BLOCK // 4].sum(axis=0)
    bounds = [
        (ClosedForm(), 4 * (size[0] + travelled)),
        (ParallelInTime(), in_blocks + (depth + 2) * travelled),
        (Sequential(), size.sum(axis=0) + 2 * travelled),
    ]
    worst = []
    for method, bound in bounds:
        run = train(system, examples, rules, KEY, steps=STEPS, method=method)
        error = np.abs(np.asarray(run.state.log_amplification, np.float64) - path[-1])
        assert np.all(error <= roundoff * bound), method
        worst.append(error.max())
    assert worst[0] < worst[1] < worst[2]
