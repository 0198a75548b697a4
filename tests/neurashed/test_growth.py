"""Growth exponents and joint moments against long simulations."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh import (
    Additive,
    Geometric,
    Neurashed,
    PerLevel,
    Rules,
    TrainingProblem,
    WithReplacement,
    ensemble,
)
from nsh.neurashed import Constant, exact, feature_pathway, figure1, figure4, figure4_rules
from nsh.training import DirectSample, Sequential


def rules_of(graph, seed=0):
    """Rates of its own for every node and class edge."""
    random = np.random.default_rng(seed)
    nodes, edges = graph.nodes, graph.class_edges
    return Rules(
        Geometric(random.uniform(1.01, 1.1, nodes)),
        Geometric(random.uniform(0.9, 1.0, nodes)),
        Geometric(random.uniform(1.01, 1.1, edges)),
        Geometric(random.uniform(0.9, 1.0, edges)),
    )


def setting(figure, edge_firing: Any = "batch"):
    graph, inputs = figure()
    system = Neurashed(graph, Constant(1.0), Constant(1.0), edge_firing=edge_firing)
    return system, system.prepare(inputs.x, inputs.y), inputs


def final_logs(system, examples, rules, size, steps, seeds, method):
    problem = TrainingProblem(system, examples, rules, steps=steps, sampler=WithReplacement(size))
    run = ensemble(problem, jax.random.key(7), seeds=seeds, method=method)
    parts = (run.state.log_amplification, run.state.log_weight)
    return run.state, np.concatenate([np.asarray(part, np.float64) for part in parts], axis=1)


@eqx.filter_jit
def laws(system, rules, examples, size, steps):
    """Exponents of nodes and edges, of paths, and joint moments."""
    firing = exact.firing_probability(system, examples, size)
    exponents = exact.growth_exponents(system, rules, firing)
    paths = exact.path_exponents(system, exponents, examples)
    return exponents, paths, exact.joint_log_moments(system, rules, examples, size, steps)


@pytest.mark.long
@pytest.mark.parametrize("edge_firing", ["batch", "sample"])
def test_long_training_grows_at_the_exponents(edge_firing):
    system, examples, _ = setting(figure1, edge_firing)
    rules, steps, seeds, size = rules_of(system.graph), 20_000, 64, 3
    floats = jnp.asarray(size, float), jnp.asarray(steps, float)
    exponents, paths, moments = laws(system, rules, examples, *floats)
    mean, covariance = (np.asarray(moment, np.float64) for moment in moments)
    state, logs = final_logs(system, examples, rules, size, steps, seeds, Sequential())
    error = np.sqrt(np.diag(covariance) / seeds)
    rounding = 1e-7 * np.sqrt(steps) * abs(mean) + 1e-4
    assert np.all(abs(logs.mean(axis=0) - mean) <= 3.5 * error + rounding)
    np.testing.assert_allclose(np.concatenate(exponents), mean / steps, rtol=1e-6, atol=1e-9)
    # scores: within the spread of a sum over a path, for one seed
    one_state = jax.tree.map(lambda leaf: leaf[0], state)
    scores = jax.jit(jax.vmap(system.log_scores, (None, 0)))(one_state, examples)
    fires = np.isfinite(scores)
    np.testing.assert_array_equal(fires, np.isfinite(paths.scores))
    spread = 4 * 5 * np.sqrt(np.diag(covariance).max()) / steps
    assert np.all(abs(scores / steps - paths.scores)[fires] < spread)
    assert spread < 0.2 * np.asarray(paths.scores)[fires].std()


def brute_force(system, exponents, x, label):
    """Largest total exponent of a path to each node and class, by walking all of them."""
    graph = system.graph
    fires = np.asarray(feature_pathway(graph, jnp.asarray(x)))
    sources, targets = np.asarray(graph.sources), np.asarray(graph.targets)
    nodes, weights = (np.asarray(part, np.float64) for part in exponents)

    def paths(node):
        if not fires[node]:
            return []
        below = sources[targets == node]
        if below.size == 0:
            return [nodes[node]]
        return [nodes[node] + path for f in below for path in paths(f)]

    scores = [max(paths(node), default=-np.inf) for node in range(graph.nodes)]
    edges = zip(np.asarray(graph.class_sources), np.asarray(graph.class_targets), strict=True)
    terms = [(j, scores[f] + weight) for (f, j), weight in zip(edges, weights, strict=True)]
    logits = [max(t for j, t in terms if j == k) for k in range(graph.classes)]
    others = max(logit for k, logit in enumerate(logits) if k != label)
    return np.array(scores), np.array(logits), logits[label] - others


@pytest.mark.long
@pytest.mark.parametrize("figure", [figure1, figure4])
def test_path_exponents_are_those_of_the_best_path(figure):
    system, examples, inputs = setting(figure)
    rules = rules_of(system.graph, seed=3)
    exponents, found, _ = laws(system, rules, examples, jnp.asarray(2.0), jnp.asarray(1.0))
    for i, (x, label) in enumerate(zip(inputs.x, inputs.y, strict=True)):
        wanted = brute_force(system, exponents, x, label)
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours[i], theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.long
def test_the_late_dominant_feature_of_figure_4():
    # the second node of level 2 is on all four pathways of its class: it outgrows the others
    system, examples, _ = setting(figure4)
    rules = figure4_rules(system.graph)
    exponents, paths, _ = laws(system, rules, examples, jnp.asarray(1.0), jnp.asarray(1.0))
    level = system.graph.node_slice(2)
    np.testing.assert_array_equal(np.argmax(paths.scores[:, level], axis=1), [1] * 4 + [4] * 4)
    assert np.all(paths.margin > 0)
    _, logs = final_logs(system, examples, rules, 1, 10**8, 16, DirectSample())
    np.testing.assert_allclose(logs.mean(axis=0) / 1e8, np.concatenate(exponents), atol=1e-5)
    # the full batch: every node fires at every step, no feature of the level stands out
    full, _, _ = laws(system, rules, examples, jnp.asarray(np.inf), jnp.asarray(1.0))
    np.testing.assert_allclose(full.nodes[level], np.log(1.022) * 11 / 4, rtol=1e-5)


def test_rules_by_level_and_rules_that_do_not_fit():
    system, _, _ = setting(figure1)
    graph, levels = system.graph, len(system.graph.widths) + 1
    growth = np.linspace(1.1, 1.4, levels)
    rules = Rules(PerLevel(Geometric(growth)), Geometric(0.9))
    ones = exact.Firing(jnp.ones(graph.nodes), jnp.ones(graph.class_edges))
    found = exact.growth_exponents(system, rules, ones)
    np.testing.assert_allclose(found.nodes, np.log(growth)[graph.node_levels()], rtol=1e-6)
    np.testing.assert_allclose(found.class_edges, np.log(growth[-1]), rtol=1e-6)
    with pytest.raises(ValueError, match="growth is Additive, not Geometric"):
        exact.growth_exponents(system, Rules(Additive(0.1), Geometric(0.9)), ones)


@pytest.mark.long
def test_derivatives_and_jit():
    graph, inputs = figure1()

    def slopes_of(growth, decay, size):
        system = Neurashed(graph)
        examples = system.prepare(inputs.x, inputs.y)
        rules = Rules(Geometric(growth), Geometric(decay))
        exponents, paths, moments = laws(system, rules, examples, size, jnp.asarray(30.0))
        finite = jnp.where(jnp.isfinite(paths.scores), paths.scores, 0)
        return exponents, finite, paths.margin[:1], moments

    # some paths tie, for all rates alike: the shared slope is that of each
    check_three_ways(slopes_of, np.float64(1.2), np.float64(0.8), np.float64(2.5))
