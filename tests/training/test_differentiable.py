"""Whatever is recorded along training, by every parameter of every rule, three ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64

from nsh import (
    Additive,
    Affine,
    Geometric,
    Neurashed,
    PerLevel,
    Rules,
    Saturating,
    SaveAt,
    TrainingProblem,
    WithReplacement,
    train,
)
from nsh.neurashed import Uniform, figure4
from nsh.system import finite_logits, in_common_unit

LEVELS = np.array([1.2, 1.4, 1.3])
# every kind of rule, for nodes or for weights; steps large enough for decayed factors to be
# clipped to 0, and ceilings low enough to be felt
RULES = {
    "geometric": lambda: Rules(
        Geometric(np.linspace(1.1, 1.5, 19)),
        Geometric(np.full(19, 0.9)),
        Affine(1.3, 0.02),
        Geometric(0.7),
    ),
    "additive": lambda: Rules(
        Additive(0.03), Additive(-0.002), Geometric(1.1), Additive(np.full(6, -0.001))
    ),
    "affine": lambda: Rules(
        Affine(1.2, 0.0), Affine(0.8, 0.0), Saturating(1.2, 0.05), Saturating(0.8, 0.1)
    ),
    "per level": lambda: Rules(
        PerLevel(Affine(LEVELS, 0.01 * LEVELS)), PerLevel(Additive(-0.001 * LEVELS))
    ),
}


def everything_shown(now, example):
    """Sums of what Neurashed shows; of what is exactly 0, whose log is -inf, nothing."""
    factors = jnp.concatenate([now.state.log_amplification, now.state.log_weight])
    logits = finite_logits(now.system.outputs(now.state, example))
    levels = [in_common_unit(level) for level in now.system.features(now.state, example)]
    return {
        "factors": jnp.sum(jnp.where(factors > -jnp.inf, factors, 0)),
        "true class": jax.nn.log_softmax(logits)[0],
        "scores": [jnp.sum(values) * jnp.exp(unit) for values, unit in levels],
    }


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "firing"),
    [
        ("geometric", "batch"),
        pytest.param("additive", "sample", marks=pytest.mark.core),
        ("affine", "batch"),
        ("per level", "sample"),
    ],
)
def test_recordings_by_rules_and_start_three_ways(kind, firing):
    with x64(True):
        rules = jax.tree.map(np.asarray, RULES[kind]())
    bounds = (np.float64(0.001), np.float64(0.01))

    def recorded(rules, bounds):
        graph, inputs = figure4()
        start = Uniform(*bounds)
        system = Neurashed(graph, start, start, edge_firing=firing)
        examples = system.prepare(inputs.x, inputs.y)
        one = jax.tree.map(lambda leaf: leaf[0], examples)
        save = SaveAt(lambda now: everything_shown(now, one), times=(6, 12))
        key, sampler = jax.random.key(0), WithReplacement(2)
        problem = TrainingProblem(system, examples, rules, steps=12, sampler=sampler, save=save)
        return train(problem, key).saved

    check_three_ways(recorded, rules, bounds, eps=1e-8, tolerance=1e-5)
