"""What fires in a random hierarchy, averaged over the graphs that `random_hierarchy` draws."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_integer

# so many for small fan-ins too: one program serves them all
LEAST_ANGLES = 1024


class HierarchyFiring(NamedTuple):
    """Chances over random graphs, for the nodes of each level, lowest first.

    `common`: a shared node fires for a prototype. `own`: a class's own node does for a prototype
    of its class; `other`: for one of another class. `within`: a class's own node fires for exactly
    one of two prototypes of its class.
    """

    common: Float[Array, " levels"]
    own: Float[Array, " levels"]
    other: Float[Array, " levels"]
    within: Float[Array, " levels"]


def hierarchy_firing(
    shared: Sequence[int],
    specific: Sequence[int],
    fan_in: int,
    active: float | Float[Array, ""] = 0.5,
) -> HierarchyFiring:
    """Firing in `random_hierarchy` without noise, thresholds drawn from 1..fan-in.

    With m dependents of which X fire and a threshold uniform on 1..m, P(fires | X) = X / m: a level
    fires as often as its dependents do. So `common` is the share `active`, s, at every level, and

        own'   = [own   + (m - 1) (r s + (1 - r) own)] / m
        other' = [other + (m - 1) (r s + (1 - r) other)] / m,  other = 0 at level 1,

    r = S / (S + O - 1) the share of shared nodes (S) among those that the other dependents are
    drawn from (O: the class's own). Exact for graphs of any size. For wide ones
    ``own - other ~ s (1 - r)^(level - 1)``: each level of shared features wears down what tells
    classes apart.

    `within`: ``E|sum of m signs| / m`` where each dependent adds -1, 0 or 1 as it fires for one of
    the two prototypes alone. At level 2, m - 1 of the signs are not 0 with chance 2 s (1 - s) and
    one with chance

        2 (1 - s) [s E(1 - v)^2 + E v (1 - v)],

    v the share of the class's own nodes that are dependents: one of them fires in each prototype
    whatever is drawn. That is exact. Above, the dependents' chances are those of their own level
    and they are taken as independent, which is the limit of wide levels. For large m it is
    ``sqrt(2 within / (pi m))``, so of order ``m^-(1 - 2^-(level-1))``: subclasses are lost as
    fan-in grows, the sooner the higher the level.

    Ours, for the random hierarchies of this package. Raises `ValueError` on numbers that fit no
    graph. Differentiable in `active`.

    Example:
        >>> from nsh.neurashed.exact import hierarchy_firing
        >>> firing = hierarchy_firing(shared=(16, 8), specific=(12, 6), fan_in=4, active=0.5)
        >>> firing.common.tolist(), round(float(firing.other[1]), 4)
        ([0.5, 0.5], 0.2222)
    """
    require(len(shared) > 0, "shared", shared, "at least one level")
    require(len(specific) == len(shared), "specific", specific, f"{len(shared)} levels, as shared")
    require_integer("fan_in", fan_in, 1)
    for level, (common, own) in enumerate(zip(shared, specific, strict=True)):
        require_integer(f"shared[{level}]", common, 0)
        require_integer(f"specific[{level}]", own, 1)
    if is_concrete(active):
        require(0 <= active <= 1, "active", active, "a probability in 0..1")
    s = jnp.asarray(active, float)
    # one of a class's own nodes fires whatever is drawn
    own, other = s + (1 - s) / specific[0], jnp.zeros_like(s)
    differ, differ_common = 2 * own * (1 - own), 2 * s * (1 - s)
    levels = [(own, other, differ)]
    for common_below, own_below in zip(shared[:-1], specific[:-1], strict=True):
        m = min(fan_in, common_below + own_below)
        r = common_below / max(common_below + own_below - 1, 1)
        if len(levels) == 1:
            each, last = differ_common, _of_the_forced(s, common_below, own_below, m)
        else:
            each = last = _mixed(differ, differ_common, r, m)
        own, other = _mixed(own, s, r, m), _mixed(other, s, r, m)
        differ = _mean_imbalance(each, last, m)
        m_common = max(min(fan_in, common_below), 1)
        differ_common = _mean_imbalance(differ_common, differ_common, m_common)
        levels.append((own, other, differ))
    own, other, within = (jnp.stack(parts) for parts in zip(*levels, strict=True))
    return HierarchyFiring(jnp.full_like(own, s), own, other, within)


def _mixed(own: Array, common: Array, r: float, m: int) -> Array:
    """Mean over the m dependents of a class's own node: the first its own, r of the rest shared."""
    return (own + (m - 1) * (r * common + (1 - r) * own)) / m


def _of_the_forced(s: Array, common: int, own: int, m: int) -> Array:
    """What the own nodes that fire whatever is drawn add to the m - 1 plain signs at level 2.

    Of n own dependents, each prototype's forced node is one with chance v = n / own. Averaged over
    where the two are, the sum of signs has ``E cos = c^(m-1) (1 - x (1 - cos t))``, c that of a
    plain sign, x the number returned. n is 1 and a hypergeometric number.
    """
    others, rest = max(common + own - 1, 1), m - 1
    chance = (own - 1) / others
    mean = 1 + rest * chance
    variance = rest * chance * (1 - chance) * (others - rest) / max(others - 1, 1)
    v, square = mean / own, (mean**2 + variance) / own**2
    return 2 * (1 - s) * (s * (1 - 2 * v + square) + v - square)


def _mean_imbalance(each: Array, last: Array, m: int) -> Array:
    """E|W| / m, W the sum of m independent numbers -1, 0 or 1, as often -1 as 1.

    m - 1 of them are not 0 with chance `each`, one with chance `last`. By ``|n| = mean over angles
    t of (1 - cos n t) / (1 - cos t)``: what is averaged is a polynomial of degree m - 1 in cos t,
    for which any m equidistant angles are exact, and more as well.
    """
    return _over_angles(each, last, jnp.asarray(m, each.dtype), max(LEAST_ANGLES, m))


@partial(jax.jit, static_argnames="angles")
def _over_angles(each: Array, last: Array, m: Array, angles: int) -> Array:
    # 1 - cos t, from the half angle: the difference would cost the digits of small angles
    u = jnp.asarray(2 * np.sin(np.pi * np.arange(1, angles) / angles) ** 2, each.dtype)
    step = each * u
    small = step < 0.5
    near_0 = -jnp.expm1((m - 1) * jnp.log1p(-jnp.where(small, step, 0)))
    gone = jnp.where(small, near_0, 1 - jnp.where(small, 0.5, 1 - step) ** (m - 1))
    terms = gone / u + (1 - gone) * last
    return ((m - 1) * each + last + jnp.sum(terms)) / (m * angles)
