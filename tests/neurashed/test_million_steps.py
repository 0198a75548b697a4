"""A million steps at the paper's rates: scores of e^100,000, and nothing overflows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh import Neurashed, SaveAt, TrainingProblem, ensemble
from nsh.neurashed import figure4, figure4_rules
from nsh.system import finite_logits, in_common_unit, log_probabilities


@pytest.mark.long
@pytest.mark.optimised
def test_everything_is_finite_and_the_true_class_is_sure():
    graph, inputs = figure4()
    system = Neurashed(graph)
    examples = system.prepare(inputs.x, inputs.y)

    def what(now):
        return {
            "logits": jax.vmap(lambda e: system.outputs(now.state, e))(examples),
            "log_scores": jax.vmap(lambda e: system.log_scores(now.state, e))(examples),
            "features": jax.vmap(lambda e: system.features(now.state, e))(examples),
        }

    steps = 1_000_000
    save = SaveAt(what, every=steps // 4)
    rules = figure4_rules(graph)
    problem = TrainingProblem(system, examples, rules, steps=steps, save=save)
    run = ensemble(problem, jax.random.key(0), seeds=3, vmap_size=3)
    np.testing.assert_array_equal(run.status, 0)
    amplification = np.asarray(run.state.log_amplification)
    assert np.all(np.isfinite(amplification))
    assert np.all(np.isfinite(run.state.log_weight))
    assert np.max(amplification) > 5_000  # far beyond e^88, where 32-bit floats end
    scores = np.asarray(run.saved["log_scores"])
    assert not np.any(np.isnan(scores) | np.isposinf(scores))
    assert np.all(np.isfinite(scores[..., -6:].max(axis=-1)))  # each input fires in level 2
    logits = jax.vmap(jax.vmap(finite_logits))(run.saved["logits"])
    probabilities = jnp.exp(jax.vmap(jax.vmap(log_probabilities))(run.saved["logits"]))
    assert np.all(np.isfinite(logits))
    np.testing.assert_allclose(jnp.sum(probabilities, axis=-1), 1, rtol=1e-5)
    true_class = np.asarray(probabilities)[:, -1, np.arange(8), np.asarray(inputs.y)]
    np.testing.assert_allclose(true_class, 1, atol=1e-5)
    for level in run.saved["features"]:
        values, unit = jax.vmap(jax.vmap(in_common_unit))(level)
        assert np.all(np.isfinite(values))
        assert np.all(np.isfinite(unit))
        np.testing.assert_array_equal(np.max(values, axis=(2, 3)) > 0, True)
