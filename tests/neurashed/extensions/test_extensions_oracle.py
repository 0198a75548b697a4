"""Each extension against plain Python: step by step, or over its exact law."""

import itertools
import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from oracle_graphs import to_nsh

from nsh import Geometric, Neurashed, Rules, TrainingProblem, WithReplacement, train
from nsh.neurashed import Constant, NeurashedState, Pathways
from nsh.neurashed.extensions import (
    EdgeFiring,
    Extended,
    RandomPathways,
    RandomPathwaysHyper,
    RandomRates,
    RandomRatesHyper,
    Rewiring,
    RewiringHyper,
    SoftFiring,
    SoftFiringHyper,
    model_state,
)
from nsh.training import ClosedForm, ParallelInTime, Sequential

UP, DOWN, W_UP, W_DOWN = 1.3, 0.8, 1.2, 0.9
RULES = Rules(Geometric(UP), Geometric(DOWN), Geometric(W_UP), Geometric(W_DOWN))
GRAPH = oracle.random_graph(7, (6, 5, 4), (3, 2), 1, 3)
NODES, CLASS_EDGES = GRAPH.nodes(), GRAPH.edges_to_classes()
ACTIVE = [[0, 1, 3, 5], [1, 2, 4], [0, 2, 3, 4]]
LABELS = [0, 2, 1]
FIRED = [oracle.pathway(GRAPH, active) for active in ACTIVE]
X = np.array([[i in active for i in range(6)] for active in ACTIVE])
DRAWS = 3000


def numbers(count, seed):
    rng = random.Random(seed)
    return [rng.uniform(0.3, 2.0) for _ in range(count)]


def logs(values):
    return jnp.asarray(np.log(values), float)


def state_of(amplification, weights):
    return NeurashedState(logs(amplification), logs(weights), jnp.zeros((), jnp.int32))


def assert_is(ours, exact, tolerance):
    np.testing.assert_allclose(ours, np.log(exact), rtol=0, atol=tolerance)


@pytest.mark.long
@pytest.mark.parametrize("reading", ["batch", "sample"])
def test_edges_that_fire(reading, relative_tolerance, key):
    inner = [(d, f) for f in NODES if f[0] > 1 for d in GRAPH.dependents[f]]
    edges, weights = numbers(len(inner), 1), numbers(len(CLASS_EDGES), 2)
    system = EdgeFiring(to_nsh(GRAPH), edge_firing=reading)
    examples = system.prepare(X, np.array(LABELS))
    state, batches = state_of(edges, weights), [[0, 1], [2, 2], [1, 2]]

    @jax.jit
    def everything(state):
        for batch in batches:
            state = system.step(state, Pathways(examples.words[np.array(batch)]), RULES, key)
        return state, *(jax.vmap(lambda e, f=f: f(state, e))(examples)
                        for f in (system.log_scores, system.outputs))  # fmt: skip

    found, scores, logits = everything(state)
    for batch in batches:
        union = set().union(*(FIRED[i] for i in batch))
        labels = {LABELS[i] for i in batch}

        def both(f, target, batch=batch, union=union, labels=labels):
            if reading == "sample":
                return any(f in FIRED[i] and (target in FIRED[i] or target == LABELS[i])
                           for i in batch)  # fmt: skip
            return f in union and (target in union or target in labels)

        edges = [x * (UP if both(*edge) else DOWN) for x, edge in zip(edges, inner, strict=True)]
        weights = [
            x * (W_UP if both(*edge) else W_DOWN)
            for x, edge in zip(weights, CLASS_EDGES, strict=True)
        ]
    assert_is(found.log_amplification, edges, relative_tolerance)
    assert_is(found.log_weight, weights, relative_tolerance)
    factor, weight = dict(zip(inner, edges, strict=True)), dict(
        zip(CLASS_EDGES, weights, strict=True)
    )  # fmt: skip
    for i, fired in enumerate(FIRED):
        exact = {}
        for node in NODES:
            total = 1.0 if node[0] == 1 else 0.0
            if node[0] > 1:
                total = sum(factor[d, node] * exact[d] for d in GRAPH.dependents[node])
            exact[node] = total if node in fired else 0.0
        np.testing.assert_allclose(
            np.exp(scores[i]), list(exact.values()), rtol=50 * relative_tolerance
        )
        np.testing.assert_allclose(
            logits.value[i] * np.exp(logits.log_scale[i]), oracle.logits(GRAPH, weight, exact),
            rtol=50 * relative_tolerance,
        )  # fmt: skip


@pytest.mark.long
def test_edges_that_fire_can_be_counted_and_composed(key, relative_tolerance):
    system = EdgeFiring(to_nsh(GRAPH))
    examples = system.prepare(X, np.array(LABELS))
    ways = (Sequential(), ClosedForm(), ParallelInTime())
    runs = [
        train(
            TrainingProblem(system, examples, RULES, steps=9, sampler=WithReplacement(2)),
            key,
            method=way,
        ).state
        for way in ways
    ]
    for run in runs[1:]:
        for name in ("log_amplification", "log_weight"):
            one, other = getattr(runs[0], name), getattr(run, name)
            np.testing.assert_allclose(one, other, atol=30 * relative_tolerance)


@pytest.mark.parametrize("reading", ["batch", "sample"])
def test_soft_firing(reading, relative_tolerance, key):
    threshold, temperature, batch = -0.9, 0.4, [0, 1, 1]
    system = SoftFiring(Neurashed(to_nsh(GRAPH), edge_firing=reading))
    examples = system.prepare(X, np.array(LABELS))
    hyper = SoftFiringHyper(RULES, threshold, temperature)
    amplification = dict(zip(NODES, numbers(len(NODES), 3), strict=True))
    weights = dict(zip(CLASS_EDGES, numbers(len(CLASS_EDGES), 4), strict=True))
    state = Extended(state_of(list(amplification.values()), list(weights.values())), None)
    step = jax.jit(lambda s: system.step(s, Pathways(examples.words[np.array(batch)]), hyper, key))
    largest = {}
    for _ in range(2):
        state, strengths = step(state), []
        for i in batch:
            score = oracle.scores(GRAPH, amplification, FIRED[i])
            top = {level: max(score[n] for n in NODES if n[0] == level) for level in (1, 2, 3)}
            strengths.append({
                n: 1 / (1 + math.exp(-(math.log(score[n] / top[n[0]]) - threshold) / temperature))
                if n in FIRED[i] else 0.0
                for n in NODES
            })  # fmt: skip
        largest = {n: max(s[n] for s in strengths) for n in NODES}
        for (f, j), x in weights.items():
            with_label = [s[f] for s, i in zip(strengths, batch, strict=True) if LABELS[i] == j]
            share = max(with_label, default=0.0)
            if reading == "batch":
                share = largest[f] if with_label else 0.0
            weights[f, j] = x * W_UP**share * W_DOWN ** (1 - share)
        for n, x in amplification.items():
            amplification[n] = x * UP ** largest[n] * DOWN ** (1 - largest[n])
    assert 0.1 < min(s for s in largest.values() if s) < 0.9  # or it would be no test
    assert_is(model_state(state).log_amplification, list(amplification.values()),
              10 * relative_tolerance)  # fmt: skip
    assert_is(model_state(state).log_weight, list(weights.values()), 10 * relative_tolerance)


def test_random_rates_have_the_law_they_say():
    system = RandomRates(Neurashed(to_nsh(GRAPH)))
    batch = system.prepare(X[:1], np.array(LABELS[:1]))
    flat = len(NODES) + len(CLASS_EDGES)
    frozen = np.random.default_rng(5).normal(size=(2, flat))
    inner = state_of(numbers(len(NODES), 3), numbers(len(CLASS_EDGES), 4))
    state = Extended(inner, jnp.asarray(frozen, float))

    @jax.jit
    def moves(hyper, keys):
        after = jax.vmap(lambda k: system.step(state, batch, hyper, k))(keys).inner
        return (jnp.concatenate([after.log_amplification - inner.log_amplification[None],
                                 after.log_weight - inner.log_weight[None]], axis=1))  # fmt: skip

    grows = [n in FIRED[0] for n in NODES] + [f in FIRED[0] and j == LABELS[0]
                                              for f, j in CLASS_EDGES]  # fmt: skip
    rates = [(UP if g else DOWN) if i < len(NODES) else (W_UP if g else W_DOWN)
             for i, g in enumerate(grows)]  # fmt: skip
    keys, r, s = jax.random.split(jax.random.key(0), DRAWS), 0.4, 0.3
    found = np.asarray(moves(RandomRatesHyper(RULES, 0.0, r), keys))
    exact = [
        math.log(rate) * math.exp(r * frozen[0 if g else 1][i] - r * r / 2)
        for i, (rate, g) in enumerate(zip(rates, grows, strict=True))
    ]
    np.testing.assert_allclose(found, np.tile(exact, (DRAWS, 1)), atol=3e-6)
    log_xi = np.log(np.asarray(moves(RandomRatesHyper(RULES, s, 0.0), keys)) / np.log(rates))
    standard = (log_xi + s * s / 2) / s
    assert np.abs(standard.mean(0)).max() < 4.5 / math.sqrt(DRAWS)
    assert np.abs(standard.var(0) - 1).max() < 4.5 * math.sqrt(2 / DRAWS)
    correlation = np.corrcoef(standard.T) - np.eye(flat)
    assert np.abs(correlation).max() < 5 / math.sqrt(DRAWS)


@pytest.mark.long
def test_random_pathways_have_the_law_they_say():
    graph = oracle.random_graph(3, (4, 3), (2,), 0, 2)
    nodes, edges, active, labels = (
        graph.nodes(),
        graph.edges_to_classes(),
        [[0, 1, 2], [2, 3]],
        [0, 1],
    )
    rate, plain = 0.3, Neurashed(to_nsh(graph), Constant(1.0), Constant(1.0), "sample")
    system = RandomPathways(plain)
    x = np.array([[i in chosen for i in range(4)] for chosen in active])
    batch, hyper = system.prepare(x, np.array(labels)), RandomPathwaysHyper(RULES, rate)
    state = system.init(jax.random.key(0), hyper)
    keys = jax.random.split(jax.random.key(1), DRAWS)
    after = jax.jit(jax.vmap(lambda k: system.step(state, batch, hyper, k).inner))(keys)
    quiet = np.ones((2, len(nodes) + len(edges)))  # chance that nothing fires, by sample
    for sample, (chosen, label) in enumerate(zip(active, labels, strict=True)):
        for keep in itertools.product([False, True], repeat=len(nodes)):
            kept = {n for n, k in zip(nodes, keep, strict=True) if k}
            chance = math.prod(1 - rate if k else rate for k in keep)
            fired = _pathway(graph, chosen, kept)
            fires = [n in fired for n in nodes] + [f in fired and j == label for f, j in edges]
            quiet[sample] -= chance * np.array(fires)
    exact = 1 - quiet.prod(axis=0)
    grew = np.concatenate([after.log_amplification, after.log_weight], axis=1) > 0
    error = np.sqrt(np.maximum(exact * (1 - exact), 1e-12) / DRAWS)
    assert ((exact > 0.05) & (exact < 0.95)).sum() > 6
    assert (np.abs(grew.mean(0) - exact) <= 4.5 * error + 1e-6).all()
    example = jax.tree.map(lambda leaf: leaf[0], batch)
    whole = plain.outputs(state.inner, example)
    np.testing.assert_array_equal(system.outputs(state, example).value, whole.value)


def _pathway(graph, active, kept):
    """The oracle's pathway, with nodes that are not kept silent."""
    fired = {(1, i) for i in active} & kept
    for node in graph.nodes():
        enough = (
            node[0] > 1 and sum(d in fired for d in graph.dependents[node]) >= graph.fires[node]
        )
        if enough and node in kept:
            fired.add(node)
    return fired


def test_rewiring_replaces_the_weakest_dependent_where_it_has_faded():
    faded, nsh_graph = 0.2, to_nsh(GRAPH)
    system = Rewiring(Neurashed(nsh_graph))
    examples = system.prepare(X, np.array(LABELS))
    amplification = dict(zip(NODES, numbers(len(NODES), 6), strict=True))
    amplification[1, 2] = amplification[2, 0] = 1e-3
    amplification[1, 4] = 2e-3
    inner = state_of(list(amplification.values()), numbers(len(CLASS_EDGES), 4))
    state = Extended(inner, nsh_graph.sources)
    hyper, keys = RewiringHyper(RULES, 2, faded), jax.random.split(jax.random.key(1), DRAWS)

    @jax.jit
    def everything(keys):
        def one(key):
            first = system.step(state, examples, hyper, key)
            second = system.step(first, examples, hyper, key)
            scores = jax.vmap(lambda e: system.features(second, e)[-1].value)(examples)
            return first, second, scores > 0

        return jax.vmap(one)(keys)

    first, second, fires = everything(keys)
    start = np.asarray(nsh_graph.sources)
    np.testing.assert_array_equal(first.own, np.tile(start, (DRAWS, 1)))  # not due yet
    after = np.asarray(second.own)
    order = [(node, place) for node in NODES if node[0] > 1
             for place in range(len(GRAPH.dependents[node]))]  # fmt: skip
    now = np.exp(np.asarray(model_state(second).log_amplification)[0])
    strength, seen = dict(zip(NODES, now, strict=True)), 0
    for edge, (node, place) in enumerate(order):
        mine = GRAPH.dependents[node]
        top = max(strength[d] for other in NODES if other[0] == node[0]
                  for d in GRAPH.dependents[other])  # fmt: skip
        old = mine[place]
        may = strength[old] == min(strength[d] for d in mine) and strength[old] < faded * top
        below = GRAPH.widths[node[0] - 2]
        others = [
            NODES.index((node[0] - 1, i)) for i in range(below) if (node[0] - 1, i) not in mine
        ]
        allowed = others if may else []
        counts = {new: (after[:, edge] == new).mean() for new in allowed}
        assert (after[:, edge] == start[edge]).mean() == pytest.approx(1 - sum(counts.values()))
        for share in counts.values():
            seen += 1
            assert abs(share - 1 / below) < 4.5 * math.sqrt(1 / below / DRAWS)
    assert seen > 4
    for draw in range(4):  # the pathways are those of the graph as it is wired now
        wired = oracle.OracleGraph(GRAPH.widths, GRAPH.classes, {}, GRAPH.fires, GRAPH.class_nodes)
        for edge, (node, _) in enumerate(order):
            wired.dependents.setdefault(node, []).append(NODES[after[draw, edge]])
        for i, active in enumerate(ACTIVE):
            fired, exact = oracle.pathway(wired, active), []
            score = oracle.scores(wired, strength, fired)
            exact = [score[n] > 0 for n in NODES if n[0] == 3]
            np.testing.assert_array_equal(np.asarray(fires)[draw, i], exact)
