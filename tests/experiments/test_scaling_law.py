"""The parts of `scaling_law` against plain Python, step by step, and graphs drawn at random."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.scaling_law import measures
from experiments.scaling_law.claims import fitted_exponent
from experiments.scaling_law.theory import firing_tables, wide_limit
from nsh import Geometric, Rules
from nsh.neurashed import feature_pathway, random_hierarchy

RULES = Rules(Geometric(1.05), Geometric(0.97))
PLAN = measures.layout(60, 3, 0.25)
GRAPHS = 150


def drawn(seed):
    return random_hierarchy(
        jax.random.key(seed), classes=measures.CLASSES, subclasses=measures.TYPES_OF_A_CLASS,
        shared=PLAN.shared, specific=PLAN.specific, fan_in=PLAN.fan_in, noise=0.0,
    )  # fmt: skip


def in_plain_python(graph):
    """The graph as the oracle has it."""
    starts = np.cumsum([0, *graph.widths])
    place = [(level + 1, i) for level, width in enumerate(graph.widths) for i in range(width)]
    plain = oracle.OracleGraph(list(graph.widths), graph.classes)
    for node, at in zip(range(starts[1], starts[-1]), place[starts[1] :], strict=True):
        sources = np.asarray(graph.sources)[np.asarray(graph.targets) == node]
        plain.dependents[at] = [place[source] for source in sources]
        plain.fires[at] = int(graph.thresholds[node])
    for label in range(graph.classes):
        sources = np.asarray(graph.class_sources)[np.asarray(graph.class_targets) == label]
        plain.class_nodes[label] = [place[source] for source in sources]
    return plain


def test_counts_lead_where_steps_do_in_plain_python():
    task, random = drawn(3), np.random.default_rng(0)
    graph, batches = in_plain_python(task.graph), measures.batches([1, 2])
    pathways = [oracle.pathway(graph, np.flatnonzero(x)) for x in task.inputs.x]
    examples = list(zip(pathways, task.inputs.y, strict=True))
    rules = {
        "growth": lambda x, _: 1.05 * x, "decay": lambda x, _: 0.97 * x,
        "weight_growth": lambda x, _: 1.05 * x, "weight_decay": lambda x, _: 0.97 * x,
    }  # fmt: skip

    def step(state, batch):
        factors, weights = state
        return oracle.step(graph, factors, weights, [examples[i] for i in batch], "sample", rules)

    def logits(state):
        scores = [oracle.scores(graph, state[0], fired) for fired in pathways]
        return np.array([oracle.logits(graph, state[1], score) for score in scores])

    start = measures.START
    state = dict.fromkeys(graph.nodes(), start), dict.fromkeys(graph.edges_to_classes(), start)
    counts = np.zeros(len(batches.members), np.int32)
    for which in random.integers(len(counts), size=20):
        state = step(state, batches.members[which])
        counts[which] += 1
    after = counts + np.eye(len(counts), dtype=np.int32)[measures.UPDATED]
    visits = jnp.asarray(np.concatenate([counts[None], after]))
    x, members = jnp.asarray(task.inputs.x), jnp.asarray(batches.members)
    fires, seen = jax.device_get(measures.see(task.graph, x, members, RULES, visits))

    expected = [[node in fired for node in graph.nodes()] for fired in pathways]
    np.testing.assert_array_equal(fires, expected)
    growth = np.log(list(state[0].values())) - np.log(start)
    np.testing.assert_allclose(seen.log_growth[0], growth, atol=1e-4)
    before, found = logits(state), measures.log_logits(seen.log_top, seen.log_weight)
    np.testing.assert_allclose(np.exp(found[0]), before, rtol=1e-4)

    changes = [logits(step(state, [i])) - before for i in measures.UPDATED]
    moved = np.linalg.norm(np.stack(changes)[:, measures.UPDATED], axis=-1)
    elasticity = np.log(moved / np.diagonal(moved)[:, None])
    labels = measures.LABELS[measures.UPDATED]
    same, other = labels[:, None] == labels, ~np.eye(len(labels), dtype=bool)
    ratio = elasticity[same & other].mean() - elasticity[~same].mean()
    assert measures.log_elasticity_ratio(found[0], found[1:]) == pytest.approx(ratio, abs=2e-3)


def test_elasticity_ratio_without_pairs_that_move_is_not_a_number():
    silent = np.full((measures.TYPES, measures.CLASSES), -np.inf)
    after = np.broadcast_to(silent, (len(measures.UPDATED), *silent.shape))
    assert np.isnan(measures.log_elasticity_ratio(silent, after))


def test_batches_of_all_sizes_are_sets_of_types_with_their_chances():
    found = measures.batches([1, 3, 16])
    assert len(found.members) == 2**measures.TYPES - 1
    np.testing.assert_allclose(found.chances.sum(1), 1)
    has_first = (found.members == 0).any(1)
    shares = found.chances @ has_first
    np.testing.assert_allclose(shares, 1 - (1 - 1 / measures.TYPES) ** np.array([1, 3, 16]))


def test_visits_count_steps():
    chances, times = measures.batches([2]).chances[0], (5, 20, 400)
    found = measures.visits(np.random.default_rng(0), chances, times, early=20)
    steps = len(measures.UPDATED)
    expected = [*times, *[21] * steps, *[401] * steps]
    assert found.sum(1)[: len(expected)].tolist() == expected
    assert np.all(np.diff(found[:3], axis=0) >= 0)
    np.testing.assert_allclose(found[len(expected)], 400 * chances, atol=0.5)


@pytest.mark.parametrize("size", [10, 100, 1_000, 10_000, 100_000])
@pytest.mark.parametrize("sharing", [0.25, 0.75])
def test_layout_has_the_size_and_a_small_top(size, sharing):
    plan = measures.layout(size, 3, sharing)
    assert sum(plan.widths) == size
    assert plan.widths[-1] == measures.TOP
    assert abs(plan.shared[0] - sharing * plan.widths[0]) <= 2


def test_nothing_is_shared_where_nothing_should_be():
    assert measures.layout(1_000, 3, 0.0).shared == (0, 0, 0)


@pytest.mark.long
def test_law_of_the_features_that_always_fire():
    fires_for = jax.jit(jax.vmap(feature_pathway, in_axes=(None, 0)))
    second = slice(PLAN.widths[0], sum(PLAN.widths[:2]))
    counts = []
    for seed in range(GRAPHS):
        task = drawn(seed)
        fires = np.asarray(fires_for(task.graph, jnp.asarray(task.inputs.x)))
        counts.append([fires[:, : second.start].all(0).sum(), fires[:, second].all(0).sum()])
    below = PLAN._replace(shared=PLAN.shared[:2], specific=PLAN.specific[:2])
    survival = firing_tables((1,), 1.05, 0.97, (10,))[1][0]
    law = wide_limit(below, survival, 0.5, 1.05, 0.97)["always"]
    total = np.sum(counts, axis=1)
    assert abs(total.mean() - law) <= 4 * total.std(ddof=1) / np.sqrt(GRAPHS)


def test_fitted_exponent():
    x, random = np.array([10.0, 100.0, 1000.0]), np.random.default_rng(0)
    exact = fitted_exponent(x, np.repeat(3 * x[:, None] ** -0.7, 5, axis=1))
    assert exact.mean == pytest.approx(-0.7)
    assert exact.standard_error == pytest.approx(0, abs=1e-9)
    runs = [
        fitted_exponent(x, x[:, None] ** 0.5 * random.lognormal(sigma=0.3, size=(3, 40)))
        for _ in range(200)
    ]
    slopes, errors = np.transpose([(run.mean, run.standard_error) for run in runs])
    assert slopes.mean() == pytest.approx(0.5, abs=4 * slopes.std() / np.sqrt(200))
    assert errors.mean() == pytest.approx(slopes.std(), rel=0.2)
