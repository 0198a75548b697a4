"""What theory says to `scaling_law`: tables of exact laws, and the limit of large graphs."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from experiments.scaling_law.measures import CLASSES, TOP, TYPES, TYPES_OF_A_CLASS, Layout
from nsh.neurashed import exact
from nsh.neurashed.exact.hierarchy import hierarchy_firing


@functools.cache
def firing_tables(
    sizes: tuple[int, ...], growth: float, decay: float, times: tuple[int, ...]
) -> dict[int, np.ndarray]:
    """For each batch size, survival and mean log growth: [2, types fired for, times].

    A node that fires for k of n equally likely types fires in a mini-batch of B with chance
    q = 1 - (1 - k/n)^B, which is all that its growth depends on.
    """
    share = jnp.arange(TYPES + 1, dtype=float)[None, :, None] / TYPES
    size = jnp.asarray(sizes, float)[:, None, None]
    steps = jnp.asarray(times, float)[None, None]

    @jax.jit
    def both(share: jax.Array, size: jax.Array, steps: jax.Array) -> jax.Array:
        q = exact.batch_firing_probability(share, size)
        factors = jnp.asarray(growth), jnp.asarray(decay)
        survival = exact.survival_probability(q, *factors, steps)
        return jnp.stack([survival, exact.log_moments(q, *factors, steps).mean], axis=1)

    tables = np.asarray(both(share, size, steps), np.float64)
    return dict(zip(sizes, tables, strict=True))


def wide_limit(
    plan: Layout, survival: np.ndarray, active: float, growth: float, decay: float
) -> dict[str, np.ndarray]:
    """What the measures come to in a large graph, from `hierarchy_firing`.

    The fan-in being large, the share of its dependents that fire is the same for all types of a
    class: above level 1, a class's own node fires always (with chance `other`, for its threshold
    is uniform), for its own class alone (`own` - `other`) or never. A shared one fires always or
    never.

    In the long run what always fires outgrows all else. If a node of the top level does, it hides
    the others, and neither input nor label is left. If not, but some node fires for its class
    alone, one class outgrows the other, and 1 bit is left, about input and label alike. On the
    paths that dominate all but the last node, and the weight, always fire (none if nothing is
    shared): so a step on another class moves logits by ``a^(L-1) b^2`` (``b^(L+1)``), one on the
    same class by ``a^(L+1)``. Over graphs in which both classes are heard.

    `survival`: that of a feature, by how many types it fires for and at which time.
    """
    law = hierarchy_firing(plan.shared, plan.specific, plan.fan_in, active)
    common, own, other = (np.asarray(x, np.float64) for x in (law.common, law.own, law.other))
    shared, specific = np.array(plan.shared), CLASSES * np.array(plan.specific)
    kinds = np.arange(TYPES + 1)
    # level 1: types of input are independent
    of_shared = scipy.stats.binom.pmf(kinds, TYPES, common[0])
    of_own = scipy.stats.binom.pmf(kinds, TYPES_OF_A_CLASS, own[0])
    alive = shared[0] * of_shared @ survival + specific[0] * of_own @ survival
    alive += shared[1:] @ common[1:] * survival[-1] + np.sum(
        specific[1:, None]
        * (other[1:, None] * survival[-1] + (own - other)[1:, None] * survival[TYPES_OF_A_CLASS]),
        axis=0,
    )
    always = shared[0] * of_shared[-1] + _always_in_second(plan, common[0], own[0])
    always += shared[2:] @ common[2:] + specific[2:] @ other[2:]

    own_top, other_top = own[-1], other[-1]
    of_class = TOP // CLASSES
    hidden = 1 - (1 - other_top) ** TOP
    heard = ((1 - other_top) ** of_class - (1 - own_top) ** of_class) ** CLASSES
    depth = len(plan.shared)
    steady = depth - 1 if any(plan.shared) else 0
    across = abs(growth**steady * decay ** (depth + 1 - steady) - 1)
    ratio = np.log((growth ** (depth + 1) - 1) / across)
    return {
        "survivors": alive / sum(plan.widths),
        "always": always,
        "input": 1 - hidden - (1 - own_top) ** TOP,
        "log_elasticity": ratio * heard / (heard + hidden),
        "own_top": own_top,
        "other_top": other_top,
        "within_second": np.asarray(law.within)[1],
        "within_top": np.asarray(law.within)[-1],
    }


def _always_in_second(plan: Layout, common: float, own: float) -> float:
    """Expected number of level-2 nodes that fire for all types, whatever the fan-in.

    Given how many dependents are shared, those that fire for a type are independent of the others.
    """
    shared, specific = plan.shared[0], plan.specific[0]

    def reaches(m: int | np.ndarray, p: float | np.ndarray, k: np.ndarray) -> np.ndarray:
        return scipy.stats.binom.sf(k - 1, m, p)

    expected = 0.0
    if shared:
        m = min(plan.fan_in, shared)
        k = np.arange(1, m + 1)
        expected += plan.shared[1] * np.mean(reaches(m, common, k) ** TYPES)
    m = min(plan.fan_in, shared + specific)
    k, of_shared = np.arange(1, m + 1), np.arange(m)[:, None]
    # the first dependent is the class's own, the others are drawn from all; own ones may fire a
    # little more often than shared ones, here by their mean
    chance = scipy.stats.hypergeom.pmf(of_shared, shared + specific - 1, shared, m - 1)
    mixed = (of_shared * common + (m - of_shared) * own) / m
    fires = reaches(m, mixed, k) ** TYPES_OF_A_CLASS
    fires *= reaches(of_shared, common, k) ** (TYPES - TYPES_OF_A_CLASS)
    return float(expected + CLASSES * plan.specific[1] * np.mean(np.sum(chance * fires, axis=0)))
