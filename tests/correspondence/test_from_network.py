"""Graphs from networks: exact on networks made by hand, faithful on trained ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.correspondence.contributions import by_weights, level_maps, outgoing_norms, phi
from nsh.correspondence.firing import Above, FractionOfRange, TopFraction
from nsh.correspondence.from_network import from_network
from nsh.correspondence.units import clusters, filters, mean_over_members
from nsh.correspondence.wiring import best_thresholds, strongest_class_edges, wire
from nsh.networks import CNN, MLP
from nsh.networks.models import average_pool
from nsh.neurashed import feature_pathway

CORNERS = np.array([[i >> b & 1 for b in range(3)] for i in range(8)], np.float32)


def by_hand():
    """Level 1 copies three bits; level 2 = (two or more of them, all of them, the first)."""
    mlp = MLP((3, 3, 3, 2), jax.nn.relu, key=jax.random.key(0))
    upper = jnp.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    return eqx.tree_at(
        lambda m: [m.hidden[0].weight, m.hidden[1].weight, m.hidden[1].bias, m.readout.weight],
        mlp,
        [jnp.eye(3), upper, jnp.array([-1.5, -2.5, 0.0]), jnp.array([[2.0, 1], [0, 3], [1, 0]])],
    )


@pytest.mark.long
def test_a_network_that_is_a_neurashed_graph_gives_that_graph():
    x, y = CORNERS, (CORNERS.sum(1) == 3).astype(int)
    found = from_network(by_hand(), x, y, firing=Above(0.0), fan_in=3, class_edges=4)
    assert found.graph.widths == (3, 3)
    np.testing.assert_array_equal(found.encode(x), x > 0)
    # the third node hangs on the first bit alone: "at least k of 3" agrees with it but in part
    np.testing.assert_array_equal(found.graph.thresholds[3:5], [2, 3])
    fires = jax.vmap(lambda bits: feature_pathway(found.graph, bits))(jnp.asarray(x > 0))
    np.testing.assert_array_equal(fires[:, 3:5], found.observed(x)[1][:, :2])
    edges = np.stack([found.graph.class_sources, found.graph.class_targets], axis=1)
    assert set(map(tuple, edges.tolist())) == {(3, 0), (4, 1), (5, 0), (3, 1)}
    single = from_network(by_hand(), x, y, firing=Above(0.0), fan_in=1, class_edges=4)
    np.testing.assert_array_equal(single.graph.sources, [0, 0, 0])
    # 0.5: phi of "two or more of three bits" with one of them; 0.378: of "all three"
    expected = np.mean([0.5, 1 / np.sqrt(7), 1.0])
    assert single.agreement[0] == pytest.approx(expected)


@pytest.mark.long
def test_levels_of_any_module_by_co_firing():
    def features(module, x):
        return (x, jnp.stack([x[0] * x[1], x[2]]))

    y = CORNERS[:, 2].astype(int)
    found = from_network(
        jnp.sum, CORNERS, y, features=features, firing=Above(0.5), fan_in=2, class_edges=4
    )
    fires = jax.vmap(lambda bits: feature_pathway(found.graph, bits))(jnp.asarray(CORNERS > 0))
    np.testing.assert_array_equal(fires[:, 3], CORNERS[:, 0] * CORNERS[:, 1] > 0)
    assert found.agreement[0] == pytest.approx((1 + 1 / np.sqrt(3)) / 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nodes": "neurons"}, "nodes = 'neurons'"),
        ({"nodes": "clusters"}, "clusters_per_level = None"),
        ({"nodes": "clusters", "clusters_per_level": (2, 4)}, r"clusters\[1\] = 4"),
        ({"nodes": [[0, 1, 1], [0, 2, 2]]}, r"nodes\[1\] = 1: must be a node of at least one"),
        ({"contributions": "gradients"}, "contributions = 'gradients'"),
        ({"fan_in": 4}, r"fan_in \(of level 2\) = 4"),
        ({"class_edges": 2}, "class_edges = 2: must be at least 3"),
        ({"x": CORNERS[:3]}, r"y.shape"),
        ({"x": CORNERS * np.nan}, "x"),
    ],
)
def test_bad_choices_are_refused_by_name(given, message):
    arguments = {"x": CORNERS, "y": np.arange(8) % 2, "fan_in": 3} | given
    with pytest.raises(ValueError, match=message):
        from_network(by_hand(), arguments.pop("x"), arguments.pop("y"), **arguments)


def test_nan_is_not_looked_at_as_not_firing():
    found = from_network(by_hand(), CORNERS, np.arange(8) % 2, fan_in=3)
    with pytest.raises(ValueError, match=r"x\[0, 0\] = nan: must be a number, not NaN"):
        found.encode(CORNERS * np.nan)


def test_what_has_no_features_and_no_weights_is_refused():
    y = np.arange(8) % 2
    with pytest.raises(ValueError, match="features"):
        from_network(jnp.sum, CORNERS, y)
    features = lambda _, x: (x, x)  # noqa: E731
    with pytest.raises(ValueError, match="contributions = 'weights'"):
        from_network(jnp.sum, CORNERS, y, features=features, contributions="weights", fan_in=2)
    with pytest.raises(ValueError, match="nodes = 'filters'"):
        from_network(jnp.sum, CORNERS, y, features=features, nodes="filters", fan_in=2)


@pytest.mark.long
@pytest.mark.parametrize("image", [(8, 8), (3, 5, 7)])
def test_maps_of_a_cnn_are_the_derivative_of_its_linear_part(image):
    cnn = CNN((2, 3), 4, image, jnp.tanh, key=jax.random.key(1))
    maps, norms = level_maps(cnn), outgoing_norms(cnn)
    assert maps is not None
    assert norms is not None
    between, out = maps
    below, above = (height * width for height, width in cnn.sizes[1:])
    image = jax.random.normal(jax.random.key(2), (*cnn.sizes[1], 2))
    block = cnn.blocks[1]
    whole = average_pool(block(image)) - average_pool(block(jnp.zeros_like(image)))
    np.testing.assert_allclose(image.ravel() @ between, whole.ravel(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norms[1], np.linalg.norm(cnn.readout.weight, axis=1), rtol=1e-5)
    assert between.shape == (below * 2, above * 3)
    assert out.shape == (above * 3, 4)
    assert norms[0].shape == (below * 2,)
    assert level_maps(jnp.sum) is None
    assert outgoing_norms(jnp.sum) is None


def test_contributions_of_groups_are_sums_below_and_means_above():
    random = np.random.default_rng(0)
    weights, h = random.normal(size=(4, 3)), random.random((5, 4))
    below, above = np.array([0, 1, 0, 1]), np.array([0, 0, 1])
    found = by_weights(weights, h, below, above)
    for f in range(2):
        for g in range(2):
            terms = [
                sum(weights[i, j] * h[:, i].mean() for i in range(4) if below[i] == f)
                for j in range(3)
                if above[j] == g
            ]
            assert found[f, g] == pytest.approx(np.mean(terms))


def test_phi_is_the_correlation_of_firing():
    random = np.random.default_rng(1)
    a, b = random.random((50, 3)) < 0.4, random.random((50, 2)) < 0.5
    a[:, 2] = True
    expected = np.corrcoef(a[:, :2].T, b.T)[:2, 2:]
    np.testing.assert_allclose(phi(a, b)[:2], expected, atol=1e-12)
    np.testing.assert_array_equal(phi(a, b)[2], 0)


def test_best_threshold_against_trying_all():
    random = np.random.default_rng(2)
    counts, target = random.integers(0, 5, (40, 6)), random.random((40, 6)) < 0.5
    target[:, 0], target[:, 1] = True, counts[:, 1] >= 3
    found = best_thresholds(counts, target, 4)
    for node in range(1, 6):
        tried = [phi(counts[:, [node]] >= k, target[:, [node]])[0, 0] for k in (1, 2, 3, 4)]
        agreeing = [((counts[:, node] >= k) == target[:, node]).mean() for k in (1, 2, 3, 4)]
        assert found[node] == 1 + np.argmax(tried if max(tried) > 0 else agreeing)
    assert found[0] == 1  # always active: the k that fires most often
    assert found[1] == 3


def test_class_edges_wire_every_node_and_every_class():
    strength = np.random.default_rng(3).normal(size=(12, 5))
    strength[:, 4] -= 10  # no node's strongest
    nodes, classes = strongest_class_edges(strength, 20)
    edges = set(zip(nodes.tolist(), classes.tolist(), strict=True))
    assert len(edges) == 20
    assert set(nodes) == set(range(12))
    assert set(classes) == set(range(5))
    must = {(n, int(strength[n].argmax())) for n in range(12)} | {(int(strength[:, 4].argmax()), 4)}
    chosen = sorted((strength[e] for e in edges - must), reverse=True)
    others = sorted((strength[e] for e in np.ndindex(12, 5) if e not in must), reverse=True)
    assert must <= edges
    assert chosen == others[: len(chosen)]


def test_deeper_levels_agree_on_what_the_graph_itself_fires():
    random = np.random.default_rng(4)
    first = random.random((30, 4)) < 0.5
    second = np.stack([first[:, 0] & first[:, 1], first[:, 2] | first[:, 3]], axis=1)
    third = second[:, :1] & second[:, 1:]
    contributions = [np.array([[2.0, 0], [2, 0], [0, 2], [0, 2]]), np.ones((2, 1)), np.ones((1, 2))]
    wired = wire([first, second, third], contributions, fan_in=2, class_edges=2)
    np.testing.assert_array_equal(wired.graph.thresholds[4:], [2, 1, 2])
    np.testing.assert_array_equal(wired.fires[1], third)


def test_firing_thresholds():
    h = np.array([[0.0, 5.0, 1.0], [1.0, 5.0, 3.0], [4.0, 5.0, 1.0], [2.0, 5.0, 2.0]], np.float32)
    np.testing.assert_allclose(FractionOfRange(0.5).thresholds(h), [2, 5, 2])
    np.testing.assert_array_equal(FractionOfRange(0.5)(h).sum(0), [1, 0, 1])
    np.testing.assert_array_equal(Above(1.5)(h).sum(0), [2, 4, 2])
    np.testing.assert_array_equal(TopFraction(0.5)(h).sum(0), [2, 0, 2])
    for bad in (lambda: Above(np.inf), lambda: FractionOfRange(1.0), lambda: TopFraction(0.0)):
        with pytest.raises(ValueError, match="must be"):
            bad()


def test_clusters_find_units_that_fire_together():
    random = np.random.default_rng(5)
    causes = random.random((60, 3))
    owner = np.array([0, 1, 2, 0, 1, 2, 2])
    level = causes[:, owner] * random.uniform(1, 9, 7) + 0.01 * random.random((60, 7))
    (found,) = clusters([level], [3])
    assert len(set(zip(found.tolist(), owner.tolist(), strict=True))) == 3
    np.testing.assert_array_equal(clusters([level], [7])[0], np.arange(7))


def test_filters_are_channels_over_all_places():
    level = np.arange(24.0).reshape(2, 12)
    (found,) = filters([level], [3])
    means = mean_over_members(level, found)
    np.testing.assert_allclose(means, level.reshape(2, 4, 3).mean(1))
    with pytest.raises(ValueError, match=r"channels\[0\] = 5"):
        filters([level], [5])
