"""Part of a graph as a graph of its own, and as the same graph with the rest silent."""

import random
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from oracle_graphs import to_nsh

from nsh import Graph, Neurashed, Node
from nsh.neurashed import NeurashedState, figure4, to_networkx, unpack
from nsh.neurashed.pathway import feature_pathway
from nsh.neurashed.subgraph import able_to_fire, silenced, subgraph

pytestmark = pytest.mark.core

SHAPE = (9, 7, 6), (4, 3), 2, 3  # widths, fan-ins, truth tables a level, classes
SAMPLES = 16


def what_is_left(graph, kept):
    """The oracle's graph without the other nodes, its own indices kept: plain Python."""
    left = oracle.OracleGraph(graph.widths, graph.classes)
    alive = {node for node in kept if node[0] == 1}
    for level, i in sorted(kept):
        if level == 1:
            continue
        old, rule = graph.dependents[level, i], graph.fires[level, i]
        new = [d for d in old if d in alive]
        if not new:
            continue
        alive.add((level, i))
        left.dependents[level, i] = new
        if isinstance(rule, list):
            bits = [old.index(d) for d in new]
            codes = range(2 ** len(new))
            left.fires[level, i] = [
                rule[sum(2**b for place, b in enumerate(bits) if code >> place & 1)]
                for code in codes
            ]
        else:
            left.fires[level, i] = min(rule, len(new))
    for j in range(graph.classes):
        left.class_nodes[j] = [f for f in graph.class_nodes[j] if f in alive]
    return left, alive


def pathway(left, alive, active):
    fired = {(1, i) for i in active if (1, i) in alive}
    for level, i in sorted(left.dependents):
        pattern = [d in fired for d in left.dependents[level, i]]
        rule = left.fires[level, i]
        place = sum(2**bit for bit, on in enumerate(pattern) if on)
        if rule[place] if isinstance(rule, list) else sum(pattern) >= rule:
            fired.add((level, i))
    return fired


@eqx.filter_jit
def outcome(graph, examples, state):
    """Firing and logits of all examples."""
    system = Neurashed(graph)
    logits = jax.vmap(lambda e: system.outputs(state, e))(examples)
    return unpack(examples.words, graph.nodes), logits.value * jnp.exp(logits.log_scale)[:, None]


class Case(NamedTuple):
    """A random graph, a random part of it, and what the oracle says of that part."""

    graph: Graph
    keep: np.ndarray
    alive: np.ndarray
    x: np.ndarray
    state: NeurashedState
    fired: np.ndarray
    logits: np.ndarray


def case(seed):
    rng = random.Random(seed)
    whole = oracle.random_graph(seed, *SHAPE)
    nodes, edges = whole.nodes(), whole.edges_to_classes()
    kept = {node for node in nodes if rng.random() < 0.75}
    left, alive = what_is_left(whole, kept)
    x = np.random.default_rng(seed).random((SAMPLES, whole.widths[0])) < 0.5
    fired = [pathway(left, alive, np.flatnonzero(row)) for row in x]
    factor = {node: rng.uniform(0.5, 2) for node in nodes}
    weight = {edge: rng.uniform(0.5, 2) for edge in edges}
    logits = [oracle.logits(left, weight, scores(left, nodes, factor, row)) for row in fired]
    state = NeurashedState(
        jnp.log(jnp.array([factor[n] for n in nodes])),
        jnp.log(jnp.array([weight[e] for e in edges])),
        jnp.int32(0),
    )
    bits = np.array([[node in row for node in nodes] for row in fired])
    keep, alive = (np.array([node in part for node in nodes]) for part in (kept, alive))
    return Case(to_nsh(whole), keep, alive, x, state, bits, np.array(logits))


def scores(left, nodes, factor, fired):
    result = dict.fromkeys(nodes, 0.0)
    for node in sorted(fired):
        below = 1.0 if node[0] == 1 else sum(result[d] for d in left.dependents[node])
        result[node] = factor[node] * below
    return result


def labels(x):
    return np.zeros(len(x), np.int32)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(8))
def test_silenced(seed):
    graph, keep, alive, x, state, fired, logits = case(seed)
    np.testing.assert_array_equal(able_to_fire(graph, keep), alive)
    silent = silenced(graph, keep)
    examples = Neurashed(silent).prepare(x & keep[: graph.widths[0]], labels(x))
    got = outcome(silent, examples, state)
    np.testing.assert_array_equal(got[0], fired)
    np.testing.assert_allclose(got[1], logits, rtol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])  # each is compiled anew
def test_subgraph(seed):
    graph, keep, alive, x, state, fired, logits = case(seed)
    part = subgraph(graph, keep)
    np.testing.assert_array_equal(part.nodes, np.flatnonzero(alive))
    own_x = x[:, part.nodes[: part.graph.widths[0]]]
    own = NeurashedState(
        state.log_amplification[part.nodes], state.log_weight[part.class_edges], jnp.int32(0)
    )
    examples = Neurashed(part.graph).prepare(own_x, labels(x))
    got = outcome(part.graph, examples, own)
    np.testing.assert_array_equal(got[0], fired[:, part.nodes])
    np.testing.assert_allclose(got[1], logits, rtol=1e-5)


def test_the_whole_is_its_own_subgraph():
    graph = figure4().graph
    part = subgraph(graph, np.ones(graph.nodes, bool))
    assert to_networkx(part.graph).nodes(data=True) == to_networkx(graph).nodes(data=True)
    assert set(to_networkx(part.graph).edges) == set(to_networkx(graph).edges)
    np.testing.assert_array_equal(part.class_edges, np.arange(graph.class_edges))


def test_all_stays_all_and_a_node_without_dependents_goes():
    levels = [[Node((0, 1, 2), "all"), Node((3,))], [Node((0, 1), "all")]]
    graph = Graph.from_nodes(4, levels, [[0]])
    part = subgraph(graph, np.array([1, 1, 0, 0, 1, 1, 1], bool))
    assert part.graph.widths == (2, 1, 1)
    np.testing.assert_array_equal(part.nodes, [0, 1, 4, 6])
    np.testing.assert_array_equal(part.graph.thresholds, [0, 0, 2, 1])


def test_a_program_for_many_subgraphs():
    graph, inputs = figure4()
    keep = np.random.default_rng(0).random((5, graph.nodes)) < 0.7
    x = jnp.asarray(inputs.x[1])

    def fired(keep):
        return feature_pathway(silenced(graph, keep), x & keep[: graph.widths[0]])

    together = jax.jit(jax.vmap(fired))(jnp.asarray(keep))
    np.testing.assert_array_equal(together[3], fired(jnp.asarray(keep[3])))


def test_bad_input():
    graph = Graph.from_nodes(2, [[Node((0,)), Node((1,))]], [[0], [1]])
    with pytest.raises(ValueError, match=r"keep\.shape = \(3,\): must be \(4,\)"):
        silenced(graph, np.ones(3, bool))
    with pytest.raises(ValueError, match=r"keep\.dtype = 'int32': must be bool"):
        silenced(graph, np.ones(4, np.int32))
    with pytest.raises(ValueError, match="nodes of level 2 to keep"):
        subgraph(graph, np.array([1, 0, 0, 1], bool))
    with pytest.raises(ValueError, match="class 1: nodes"):
        subgraph(graph, np.array([1, 1, 1, 0], bool))
