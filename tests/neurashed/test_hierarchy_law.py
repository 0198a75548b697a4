"""What fires in random hierarchies: against exact sums, and graphs drawn at random."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh.neurashed import feature_pathway, random_hierarchy
from nsh.neurashed.exact.hierarchy import hierarchy_firing

SHARED, SPECIFIC, FAN_IN, ACTIVE = (9, 7, 5), (12, 8, 6), 6, 0.6
CLASSES, TYPES = 2, 3
GRAPHS = 200


@pytest.fixture(scope="module")
def drawn():
    """[graphs, levels] of each share, counted in plain NumPy."""
    fires_for = jax.jit(jax.vmap(feature_pathway, in_axes=(None, 0)))
    shares = []
    for seed in range(GRAPHS):
        task = random_hierarchy(
            jax.random.key(seed), classes=CLASSES, subclasses=TYPES, shared=SHARED,
            specific=SPECIFIC, fan_in=FAN_IN, active=ACTIVE, noise=0.0,
        )  # fmt: skip
        fires = np.asarray(fires_for(task.graph, jnp.asarray(task.inputs.x)))
        shares.append([_shares(fires, task, level) for level in range(len(SHARED))])
    return dict(
        zip(("common", "own", "other", "within"), np.moveaxis(np.array(shares), 2, 0), strict=True)
    )


def _shares(fires, task, level):
    nodes = fires[:, task.graph.node_slice(level + 1)]
    common, owned = nodes[:, : SHARED[level]], nodes[:, SHARED[level] :]
    owned = owned.reshape(len(fires), CLASSES, SPECIFIC[level])
    mine = np.asarray(task.inputs.y)[:, None] == np.arange(CLASSES)
    pairs = [
        np.mean(owned[i, c] != owned[j, c])
        for c in range(CLASSES)
        for i, j in combinations(np.flatnonzero(mine[:, c]), 2)
    ]
    return common.mean(), owned[mine].mean(), owned[~mine].mean(), np.mean(pairs)


@pytest.mark.parametrize(
    ("name", "levels"), [("common", 3), ("own", 3), ("other", 3), ("within", 2)]
)
def test_agrees_with_random_graphs(drawn, name, levels):
    law = getattr(hierarchy_firing(SHARED, SPECIFIC, FAN_IN, ACTIVE), name)[:levels]
    shares = drawn[name][:, :levels]
    error = shares.std(0, ddof=1) / np.sqrt(GRAPHS)
    assert np.all(np.abs(shares.mean(0) - law) <= 4 * error + 1e-6)
    assert np.all(error < 0.03)


def test_within_is_near_in_the_next_level(drawn):
    # a limit of wide levels: not exact, and from below, for dependents are had in common
    law = hierarchy_firing(SHARED, SPECIFIC, FAN_IN, ACTIVE).within[2]
    assert law < drawn["within"][:, 2].mean() < 1.4 * law


@pytest.mark.parametrize("fan_in", [1, 2, 5, 40, 1500])
def test_imbalance_of_dependents_is_the_sum_over_all_outcomes(fan_in):
    # own nodes alone, which fire independently of each other: m signs, each 0 with chance 1 - d
    active, own = 0.3, 2000
    law = hierarchy_firing((0, 0), (own, 1), fan_in, active)
    p = active + (1 - active) / own
    d = 2 * p * (1 - p)
    walk = np.ones(1)  # the law of the sum, step by step
    for _ in range(fan_in):
        walk = np.convolve(walk, [d / 2, 1 - d, d / 2])
    expected = walk @ np.abs(np.arange(-fan_in, fan_in + 1)) / fan_in
    np.testing.assert_allclose(law.within[1], expected, rtol=2e-4)


def test_contrast_of_classes_falls_geometrically_in_wide_graphs():
    shared, own = 40_000, 30_000
    law = hierarchy_firing((shared,) * 6, (own,) * 6, 10_000, 0.5)
    kept = 1 - shared / (shared + own)
    np.testing.assert_allclose(law.own - law.other, 0.5 * kept ** np.arange(6), rtol=2e-3)
    np.testing.assert_allclose(law.common, 0.5)


def test_exponents_of_the_loss_of_subclasses():
    def within(fan_in):
        return np.asarray(hierarchy_firing((0,) * 4, (10**6,) * 4, fan_in, 0.5).within, float)

    slopes = np.log(within(16_000) / within(4_000)) / np.log(4)
    np.testing.assert_allclose(slopes, [0, -1 / 2, -3 / 4, -7 / 8], atol=0.01)


def test_transformations():
    def law(active):
        return jnp.concatenate(hierarchy_firing(SHARED, SPECIFIC, FAN_IN, active))

    active = jnp.asarray([0.2, 0.5, 0.9])
    each = jnp.stack([law(a) for a in active])
    np.testing.assert_allclose(jax.jit(jax.vmap(law))(active), each, rtol=1e-5)
    check_three_ways(law, np.asarray(0.37))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (), 2), "shared = \\(\\): must be at least one level"),
        (((1,), (1, 1), 2), "specific"),
        (((1, -1), (1, 1), 2), "shared\\[1\\] = -1"),
        (((1, 1), (1, 0), 2), "specific\\[1\\] = 0"),
        (((1, 1), (1, 1), 0), "fan_in = 0"),
        (((1, 1), (1, 1), 2, 1.5), "active = 1.5"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        hierarchy_firing(*arguments)
