"""Graphs from data against plain Python and planted structure."""

import itertools
import sys
import tracemalloc

import equinox as eqx
import jax
import numpy as np
import pytest

from nsh import Geometric, Neurashed, Rules
from nsh.correspondence import conjunctions
from nsh.correspondence.binarise import Binarise
from nsh.correspondence.conjunctions import frequent_conjunctions
from nsh.correspondence.from_data import from_data
from nsh.correspondence.quality import quality
from nsh.correspondence.subclass_nodes import subclass_nodes
from nsh.data import digits, subclasses
from nsh.measure import observe
from nsh.neurashed import Constant, Graph, Node, feature_pathway


def striped(count=60):
    """Two classes of 4 x 4 images: bars in rows or in columns, at one of two places, with noise."""
    random = np.random.default_rng(0)
    y = np.arange(count) % 2
    x = np.zeros((count, 4, 4))
    for image, label, place in zip(x, y, random.integers(2, size=count), strict=True):
        (image if label else image.T)[2 * place] = 1
    return np.where(random.random(x.shape) < 0.02, 1 - x, x), y


@pytest.fixture(scope="module")
def found():
    return from_data(*striped(), conjunctions=20, typical=4, subclasses=2, shared=0.5)


def test_bits_are_inputs_reaching_a_threshold_and_inputs_not_doing_so():
    encode = Binarise((2, 2), (0.25, 0.75))
    x = np.array([[[0.0, 0.25], [0.5, 1.0]]])
    reached = [0, 1, 1, 1, 0, 0, 0, 1]
    assert encode(x).astype(int).tolist() == [[*reached, *(1 - bit for bit in reached)]]
    assert encode.width == 16


def conjunctions_by_hand(x, window, items, support, overlap):
    """One-dimensional samples, sets of samples and no arrays."""
    length = len(x[0])
    bits = [list(row) + [1 - value for value in row] for row in x]
    candidates = set()
    for first in range(length - window + 1):
        for inputs in itertools.combinations(range(first, first + window), items):
            for kind in itertools.product((0, length), repeat=items):
                candidates.add(tuple(i + k for i, k in zip(inputs, kind, strict=True)))
    samples = {c: {n for n, row in enumerate(bits) if all(row[i] for i in c)} for c in candidates}
    share = {c: len(having) / len(x) for c, having in samples.items()}
    frequent = [c for c in candidates if support <= share[c] <= 1 - support]
    chosen = []
    for candidate in sorted(frequent, key=lambda c: abs(share[c] - 0.5)):
        mine = samples[candidate]
        if all(len(mine & samples[c]) <= overlap * len(mine | samples[c]) for c in chosen):
            chosen.append(candidate)
    return chosen


def test_frequent_conjunctions_are_those_found_by_hand():
    x = np.random.default_rng(3).random((40, 6)) < np.linspace(0.2, 0.9, 6)
    encode = Binarise((6,), (0.5,))
    options = {"window": 3, "items": 2, "support": 0.15}
    every = frequent_conjunctions(encode(x), encode, overlap=1.0, most=1000, **options)
    by_hand = conjunctions_by_hand(x.astype(int).tolist(), 3, 2, 0.15, 1.0)
    assert 0 < len(every) < 36
    assert {tuple(row) for row in every.tolist()} == set(by_hand)
    few = frequent_conjunctions(encode(x), encode, overlap=0.4, most=1000, **options)
    assert 0 < len(few) < len(every)
    sets = [set(np.flatnonzero(encode(x)[:, pair].all(axis=1))) for pair in few]
    for one, other in itertools.combinations(sets, 2):
        assert len(one & other) <= 0.4 * len(one | other)
    shares = [abs(len(having) / 40 - 0.5) for having in sets]
    assert shares == sorted(shares)
    capped = frequent_conjunctions(encode(x), encode, overlap=0.4, most=3, **options)
    np.testing.assert_array_equal(capped, few[:3])


def test_candidates_are_looked_at_in_blocks(monkeypatch):
    random = np.random.default_rng(4)
    encode, most = Binarise((24, 24), (0.5,)), 20
    bits = encode(random.random((2000, 24, 24)))
    options = {"window": 2, "items": 2, "support": 0.1, "overlap": 0.3, "most": most}
    tracemalloc.start()
    chosen = frequent_conjunctions(bits, encode, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # of each sample and candidate of a block a few bits and a 32-bit number; of all 8,556
    # candidates, which would take 17 million bits at once, two 64-bit indices a few times over
    assert peak <= len(bits) * 8 * (conjunctions.AT_ONCE + most) + 8_648 * 16 * 8
    monkeypatch.setattr(conjunctions, "AT_ONCE", 7)
    np.testing.assert_array_equal(frequent_conjunctions(bits, encode, **options), chosen)


def test_quality_counts_what_fires_also_where_nothing_below_does(monkeypatch):
    graph = Graph.from_nodes(2, [[Node((0, 1), [True, False, False, True])]], [[0]])
    bits = np.array([[0, 0], [0, 0], [1, 1], [1, 0]], bool)
    found = quality(graph, bits, [0, 0, 0, 0])
    # a node that fires on 00 and 11: with score 0 on the first, which is no larger than others
    assert (found.covered, found.recovered, found.separable) == (3 / 4, 1 / 4, 1)
    monkeypatch.setattr(sys.modules[quality.__module__], "AT_ONCE", 3)
    assert quality(graph, bits, [0, 0, 0, 0]) == found


def test_a_subclass_node_fires_for_the_recall_of_its_cluster_and_no_stricter_rule_would():
    random = np.random.default_rng(1)
    y = np.repeat([0, 1, 2], 30)
    bits = random.random((90, 12)) < np.where(np.arange(12) // 4 == y[:, None], 0.8, 0.2)
    nodes = subclass_nodes(bits, y, per_class=1, typical=4, recall=0.8, seed=0)
    np.testing.assert_array_equal(nodes.dependents, np.arange(12).reshape(3, 4))
    assert nodes.owners.tolist() == [0, 1, 2]
    for label, (dependents, threshold) in enumerate(zip(*nodes[:2], strict=True)):
        counts = bits[y == label][:, dependents].sum(axis=1)
        assert np.mean(counts >= threshold) >= 0.8 > np.mean(counts > threshold)
    shares = np.array([nodes.fires(bits)[y == label].mean(axis=0) for label in range(3)]).T
    wired = np.zeros((3, 3), bool)
    wired[nodes.wiring(bits, y, 0.2)] = True
    np.testing.assert_array_equal(wired, (shares >= 0.2) | np.eye(3, dtype=bool))


def test_planted_features_are_found_and_training_data_recovered(found):
    x, y = striped()
    assert found.graph.classes == 2
    assert len(found.graph.widths) == 3
    assert found.graph.widths[0] == 32
    assert found.graph.widths[2] == 4
    assert found.quality.recovered > 0.9
    assert found.quality.nodes == sum(found.graph.widths)
    assert quality(found.graph, found.encode(x), 1 - y).recovered < 0.1
    again = from_data(x, y, conjunctions=20, typical=4, subclasses=2, shared=0.5)
    for leaf, same in zip(*map(jax.tree.leaves, (found.graph, again.graph)), strict=True):
        np.testing.assert_array_equal(leaf, same)


def test_what_fires_in_the_graph_is_what_was_found(found):
    x, _ = striped()
    bits = found.encode(x)
    graph = found.graph
    fires = np.asarray(jax.jit(jax.vmap(feature_pathway, (None, 0)))(graph, bits))
    second, third = fires[:, graph.node_slice(2)], fires[:, graph.node_slice(3)]
    pairs = np.asarray(graph.sources)[graph.edge_slice(2)].reshape(-1, 2)
    np.testing.assert_array_equal(second, bits[:, pairs].all(axis=2))
    assert 0 < third.mean() < 1


@pytest.mark.long
@pytest.mark.parametrize("tables", [False, True])
def test_quality_agrees_with_the_model(tables):
    random = np.random.default_rng(2)
    xor = [False, True, True, False]
    middle = [Node([0, 1], xor if tables else "any"), Node([1, 2, 3], 2), Node([3, 4], "all")]
    graph = Graph.from_nodes(5, [middle, [Node([0, 1]), Node([1, 2], "any")]], [[0], [0, 1], [1]])
    bits, y = random.random((50, 5)) < 0.5, random.integers(3, size=50)
    system = Neurashed(graph, Constant(1.0), Constant(1.0), edge_firing="sample")
    examples = system.prepare(bits, y)
    state = system.init(jax.random.key(0), Rules(Geometric(2.0), Geometric(1.0)))
    seen = jax.jit(observe)(system, state, examples)
    fires = np.asarray(seen.features[-1]) > 0
    right = (np.argmax(seen.outputs, axis=1) == y) & fires.any(axis=1)
    found = quality(graph, bits, y)
    assert found.recovered == pytest.approx(right.mean())
    assert found.covered == pytest.approx(fires.any(axis=1).mean())
    patterns = {}
    for pattern, label in zip(map(tuple, fires.tolist()), y.tolist(), strict=True):
        patterns.setdefault(pattern, []).append(label)
    best = sum(max(map(labels.count, labels)) for labels in patterns.values())
    assert found.separable == pytest.approx(best / 50)
    assert (found.nodes, found.edges, found.fan_in) == (10, 15, pytest.approx(11 / 5))


def test_digits_are_mostly_recovered_by_wiring_alone():
    data = digits()
    found = from_data(data.train_x, data.train_y)
    assert found.graph.widths == (128, 160, 40)
    assert found.quality.recovered > 0.7
    tested = quality(found.graph, found.encode(data.test_x), data.test_y)
    assert tested.recovered > 0.65
    assert tested.covered > 0.9


def test_a_rare_class_and_flat_samples_are_served():
    x, y = striped(20)
    rare = np.where(np.arange(20) == 0, 2, y)
    found = from_data(x.reshape(20, 16), rare, conjunctions=10, typical=4)
    assert found.graph.classes == 3
    assert 2 in found.graph.class_targets
    one_class = from_data(x, np.zeros(20, int), conjunctions=10, typical=4)
    assert one_class.quality.covered >= 0.95


@pytest.mark.core
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.zeros(20)}, r"x.shape = \(20,\)"),
        ({"x": np.full((20, 4, 4), np.inf)}, r"x\[0, 0, 0\] = inf"),
        ({"y": np.ones(20, int)}, r"classes without samples = \[0\]"),
        ({"y": np.zeros(19, int)}, r"y.shape = \(19,\)"),
        ({"support": 0.6}, "support = 0.6"),
        ({"support": 0.5, "x": np.zeros((20, 4, 4))}, "support = 0.5: must be less"),
        ({"overlap": -1.0}, "overlap = -1.0"),
        ({"recall": 0.0}, "recall = 0.0"),
        ({"shared": 2.0}, "shared = 2.0"),
        ({"thresholds": ()}, r"thresholds = \(\)"),
        ({"thresholds": (0.5, np.nan)}, r"thresholds\[1\] = nan"),
        ({"items": 5}, "items = 5: must be at most 4"),
        ({"conjunctions": 0}, "conjunctions = 0"),
    ],
)
def test_bad_input_is_named(changed, message):
    x, y = striped(20)
    given = {"x": x, "y": y, **changed}
    with pytest.raises(ValueError, match=message):
        from_data(given.pop("x"), given.pop("y"), **given)


@pytest.mark.core
def test_other_data_must_fit():
    with pytest.raises(ValueError, match=r"x.shape = \(3, 5\): must be \(n, 4\)"):
        Binarise((4,), (0.5,))(np.zeros((3, 5)))
    graph = Graph.from_nodes(2, [], [[0], [1]])
    with pytest.raises(ValueError, match=r"bits.shape = \(3, 5\)"):
        quality(graph, np.zeros((3, 5), bool), np.zeros(3, int))
    with pytest.raises(ValueError, match=r"y\[0\] = 7"):
        quality(graph, np.zeros((3, 2), bool), np.full(3, 7))


@pytest.mark.long
def test_rounding_decides_nothing(monkeypatch):
    """Rounding depends on where arrays lie in memory: the graph must be the same whatever it is."""
    data, random = digits(), np.random.default_rng(0)
    exact = from_data(data.train_x[:600], data.train_y[:600], conjunctions=60, typical=12).graph

    def jittered(x, *rest):
        assert x.dtype == np.float64
        return subclasses(x * (1 + 1e-12 * random.standard_normal(x.shape)), *rest)

    monkeypatch.setattr("nsh.correspondence.subclass_nodes.subclasses", jittered)
    found = from_data(data.train_x[:600], data.train_y[:600], conjunctions=60, typical=12).graph
    assert eqx.tree_equal(found, exact)
