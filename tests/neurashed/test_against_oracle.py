"""200 random graphs, rules and batches against the plain-Python oracle."""

import functools
import random

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from oracle_graphs import to_nsh

from nsh import Additive, Affine, Geometric, Neurashed, Rules, Saturating
from nsh.neurashed import NeurashedState, Pathways, unpack
from nsh.system import log_probabilities

pytestmark = pytest.mark.core

GRAPHS_PER_FAMILY, SAMPLES, BATCH, STEPS = 20, 6, 3, 5
# widths, fan-in of each middle level, nodes with a truth table on each, classes, reading of edges
FAMILIES = [
    ((5, 4), (3,), 0, 2, "batch"),
    ((5, 4), (3,), 2, 3, "sample"),
    ((7, 5, 3), (4, 2), 1, 2, "batch"),
    ((40, 6, 4, 3), (5, 3, 2), 0, 3, "sample"),
    ((6, 6, 6, 6), (2, 3, 4), 2, 4, "batch"),
    ((3,), (), 0, 2, "batch"),
    ((9, 2), (8,), 1, 2, "sample"),
    ((4, 33, 2), (2, 9), 1, 2, "batch"),
    ((12, 8, 4), (1, 6), 0, 5, "sample"),
    ((8, 8, 8), (3, 3), 8, 2, "batch"),
]


def rule_pair(kind, rng, count):
    """A g+ and a g- of one kind: as nsh sees them and as functions of (x, place)."""
    per_node = [rng.uniform(0, 1) for _ in range(count)]
    a, b, c, top = rng.uniform(1.01, 1.3), rng.uniform(0.8, 0.99), rng.uniform(0.01, 0.2), 5.0
    if kind == "geometric":
        up = [1.01 + 0.2 * u for u in per_node]
        return (
            (Geometric(np.array(up)), Geometric(b)),
            (lambda x, i: up[i] * x, lambda x, i: b * x),
        )
    if kind == "additive":
        return (
            (Additive(c), Additive(-c / 20)),
            (lambda x, i: x + c, lambda x, i: max(x - c / 20, 0.0)),
        )
    if kind == "affine":
        return (
            (Affine(a, c), Affine(b, -c / 20)),
            (lambda x, i: a * x + c, lambda x, i: max(b * x - c / 20, 0.0)),
        )
    assert kind == "saturating"
    return (
        (Saturating(a, top), Saturating(b, top)),
        (
            lambda x, i: a * x / (1 + (a - 1) * x / top),
            lambda x, i: b * x / (1 + (1 - b) * x / top),
        ),
    )


@functools.cache
def compiled():
    """All that is compared, in one jitted call; compiled once a family, since shapes repeat."""

    @jax.jit
    def everything(system, examples, state, rules, batches):
        def advance(state, batch):
            return system.step(state, batch, rules, jax.random.key(0)), None

        state = jax.lax.scan(advance, state, batches)[0]
        log_scores = jax.vmap(lambda e: system.log_scores(state, e))(examples)
        logits = jax.vmap(lambda e: system.outputs(state, e))(examples)
        return state, log_scores, logits, jnp.exp(log_probabilities(logits))

    return everything


def as_log(values):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(values, np.float64))


def assert_logs_agree(ours, exact, tolerance):
    """Relative agreement of numbers = absolute agreement of their logs; zeros exactly."""
    ours, exact = np.asarray(ours, np.float64), as_log(exact)
    np.testing.assert_array_equal(np.isneginf(ours), np.isneginf(exact))
    some = np.isfinite(exact)
    np.testing.assert_allclose(ours[some], exact[some], rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "family",
    [pytest.param(i, marks=[pytest.mark.thorough] * (i > 3)) for i in range(len(FAMILIES))],
)
def test_agrees_with_plain_python(family, relative_tolerance):
    widths, fan_ins, tables, classes, reading = FAMILIES[family]
    kinds = ["geometric", "additive", "affine", "saturating"]
    node_kind, weight_kind = kinds[family % 4], kinds[(family + 1) % 4]
    for number in range(GRAPHS_PER_FAMILY):
        rng = random.Random(1000 * family + number)
        graph = oracle.random_graph(rng.random(), widths, fan_ins, tables, classes)
        nodes, edges = graph.nodes(), graph.edges_to_classes()
        (growth, decay), (up, down) = rule_pair(node_kind, rng, len(nodes))
        (w_growth, w_decay), (w_up, w_down) = rule_pair(weight_kind, rng, len(edges))
        place, w_place = {n: i for i, n in enumerate(nodes)}, {e: i for i, e in enumerate(edges)}
        plain_rules = {
            "growth": lambda x, n, f=up, p=place: f(x, p[n]),
            "decay": lambda x, n, f=down, p=place: f(x, p[n]),
            "weight_growth": lambda x, e, f=w_up, p=w_place: f(x, p[e]),
            "weight_decay": lambda x, e, f=w_down, p=w_place: f(x, p[e]),
        }
        active = [[i for i in range(widths[0]) if rng.random() < 0.5] for _ in range(SAMPLES)]
        y = [rng.randrange(classes) for _ in range(SAMPLES)]
        amplification = {n: rng.uniform(0.5, 1.5) for n in nodes}
        weights = {e: rng.uniform(0.5, 1.5) for e in edges}

        system = Neurashed(to_nsh(graph), edge_firing=reading)
        x = np.zeros((SAMPLES, widths[0]), bool)
        for row, chosen in zip(x, active, strict=True):
            row[chosen] = True
        examples = system.prepare(x, np.array(y))
        fired = [oracle.pathway(graph, chosen) for chosen in active]
        ours = np.asarray(unpack(examples.words, len(nodes)))
        np.testing.assert_array_equal(ours, [[n in f for n in nodes] for f in fired])

        state = NeurashedState(
            jnp.asarray(as_log(list(amplification.values())), float),
            jnp.asarray(as_log(list(weights.values())), float),
            jnp.zeros((), jnp.int32),
        )
        chosen = np.array([[rng.randrange(SAMPLES) for _ in range(BATCH)] for _ in range(STEPS)])
        rules = Rules(growth, decay, w_growth, w_decay)
        batches = Pathways(examples.words[chosen])
        state, log_scores, logits, probabilities = compiled()(
            system, examples, state, rules, batches
        )
        for indices in chosen:
            batch = [(fired[i], y[i]) for i in indices]
            amplification, weights = oracle.step(
                graph, amplification, weights, batch, reading, plain_rules
            )
        assert_logs_agree(state.log_amplification, list(amplification.values()), relative_tolerance)
        assert_logs_agree(state.log_weight, list(weights.values()), relative_tolerance)
        exact = [oracle.scores(graph, amplification, f) for f in fired]
        assert_logs_agree(log_scores, [list(s.values()) for s in exact], relative_tolerance)
        exact_logits = [oracle.logits(graph, weights, s) for s in exact]
        with np.errstate(divide="ignore"):
            log_logits = np.log(np.asarray(logits.value, np.float64))
        log_logits += np.asarray(logits.log_scale, np.float64)[:, None]
        assert_logs_agree(log_logits, exact_logits, relative_tolerance)
        for row, exact_row in zip(probabilities, exact_logits, strict=True):
            size = max(1.0, max(exact_row))
            np.testing.assert_allclose(
                row, oracle.softmax(exact_row), atol=relative_tolerance * size
            )
