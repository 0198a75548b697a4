"""What fires in random hierarchies: against exact sums, and graphs drawn at random."""

from itertools import combinations, product

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


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "levels"), [("common", 3), ("own", 3), ("other", 3), ("within", 2)]
)
def test_agrees_with_random_graphs(drawn, name, levels):
    law = getattr(hierarchy_firing(SHARED, SPECIFIC, FAN_IN, ACTIVE), name)[:levels]
    shares = drawn[name][:, :levels]
    error = shares.std(0, ddof=1) / np.sqrt(GRAPHS)
    assert np.all(np.abs(shares.mean(0) - law) <= 4 * error + 1e-6)
    assert np.all(error < 0.03)


def counted_within(shared, own, fan_in, active):
    """Chance that an own node of level 2 tells two prototypes apart, over all that may happen."""
    width, m = shared + own, min(fan_in, shared + own)
    bits = np.array(list(product([0, 1], repeat=width)))
    chance = np.prod(np.where(bits, active, 1 - active), axis=1)
    mine = range(shared, width)
    law = np.zeros(2**width)  # of a prototype, by the number that its bits make
    for forced in mine:
        fired = bits | (np.arange(width) == forced)
        np.add.at(law, fired @ (2 ** np.arange(width))[::-1], chance / own)
    sets = [
        (first, *rest)
        for first in mine
        for rest in combinations(sorted({*range(width)} - {first}), m - 1)
    ]
    counts = np.array([bits[:, chosen].sum(1) for chosen in sets])
    apart = np.abs(counts[:, :, None] - counts[:, None]) / m
    return np.mean(np.einsum("sij,i,j->s", apart, law, law))


@pytest.mark.parametrize(
    ("shared", "own", "fan_in"), [(1, 1, 2), (0, 2, 2), (2, 3, 3), (3, 1, 3), (1, 4, 4), (4, 2, 1)]
)
@pytest.mark.parametrize("active", [0.0, 0.3, 0.5, 1.0])
def test_within_at_level_2_is_the_sum_over_all_prototypes(shared, own, fan_in, active):
    law = hierarchy_firing((shared, shared), (own, own), fan_in, active)
    expected = counted_within(shared, own, fan_in, active)
    np.testing.assert_allclose(law.within[1], expected, rtol=5e-6, atol=1e-7)


def test_within_is_near_in_the_next_level(drawn):
    # a limit of wide levels: not exact, and from below, for dependents are had in common
    law = hierarchy_firing(SHARED, SPECIFIC, FAN_IN, ACTIVE).within[2]
    assert law < drawn["within"][:, 2].mean() < 1.4 * law


@pytest.mark.parametrize("fan_in", [1, 2, 5, 40, 1500])
def test_imbalance_of_dependents_is_the_sum_over_all_outcomes(fan_in):
    # own nodes alone, each drawn as active or forced: m signs, each 0 with chance 1 - d
    s, own = 0.3, 2000
    law = hierarchy_firing((0, 0), (own, 1), fan_in, s)
    v = fan_in / own
    walk = np.ones(1)  # the law of the sum, step by step
    for d in [2 * (1 - s) * (s * (1 - v) ** 2 + v * (1 - v))] + [2 * s * (1 - s)] * (fan_in - 1):
        walk = np.convolve(walk, [d / 2, 1 - d, d / 2])
    expected = walk @ np.abs(np.arange(-fan_in, fan_in + 1)) / fan_in
    np.testing.assert_allclose(law.within[1], expected, rtol=5e-6)


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
