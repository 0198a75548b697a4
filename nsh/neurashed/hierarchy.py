"""Random hierarchies: shared and class-specific features at every level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import jax
import numpy as np
from jaxtyping import Array, Key

from nsh._checks import require, require_integer
from nsh.neurashed.graph import Graph
from nsh.neurashed.inputs import Prototypes
from nsh.neurashed.paper import GraphAndInputs


def random_hierarchy(
    key: Key[Array, ""],
    *,
    classes: int = 4,
    subclasses: int = 2,
    shared: Sequence[int] = (16, 8, 4),
    specific: Sequence[int] = (12, 6, 3),
    fan_in: int = 4,
    least_firing: int | None = None,
    active: float = 0.5,
    noise: float = 0.02,
) -> GraphAndInputs:
    """A random graph whose levels hold `shared[l]` features of all classes, `specific[l]` of each.

    A class's own node depends on `fan_in` nodes of the level below drawn from its own and the
    shared ones, one at least its own; a shared node on shared ones. It fires if `least_firing` or
    more do (default: 1..fan-in, drawn for each node). Each class is wired to its own and the
    shared nodes of the top level.

    Inputs: `subclasses` prototypes for each class, each firing a random share `active` of the
    level-1 nodes shared or its class's own (one of those at least); bits flip with chance `noise`.

    Not jittable (it draws sizes on the host); the same key gives the same task. Raises
    `ValueError` on sizes that fit no graph.

    Example:
        >>> from nsh.neurashed import random_hierarchy
        >>> sizes = {"classes": 2, "shared": (4, 2), "specific": (3, 2), "fan_in": 2}
        >>> random_hierarchy(jax.random.key(0), **sizes).graph
        Graph(levels=[10, 6], edges=12, classes=2, class_edges=8)
    """
    require_integer("classes", classes, 1)
    require_integer("subclasses", subclasses, 1)
    require_integer("fan_in", fan_in, 1)
    if least_firing is not None:
        require_integer("least_firing", least_firing, 1, fan_in)
    require(len(shared) > 0, "shared", shared, "at least one level")
    require(len(specific) == len(shared), "specific", specific, f"{len(shared)} levels, as shared")
    for level, (common, own) in enumerate(zip(shared, specific, strict=True)):
        require_integer(f"shared[{level}]", common, 0)
        require_integer(f"specific[{level}]", own, 1)
    for below, above in pairwise(shared):
        require(below > 0 or above == 0, "shared", shared, "positive below a positive one")
    for field, value in (("active", active), ("noise", noise)):
        require(0 <= value <= 1, field, value, "a probability in 0..1")

    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    dependents, thresholds = [], []
    for level in range(1, len(shared)):
        owners_below = _owners(shared[level - 1], specific[level - 1], classes)
        owners = _owners(shared[level], specific[level], classes)
        sources = _dependents(random, owners_below, owners, fan_in)
        counts = np.array([len(nodes) for nodes in sources])
        least = random.integers(1, counts + 1) if least_firing is None else least_firing
        dependents.append((np.concatenate(sources), np.repeat(np.arange(len(owners)), counts)))
        thresholds.append(np.minimum(least, counts))
    top = _owners(shared[-1], specific[-1], classes)
    wired = (top[:, None] == np.arange(classes)) | (top[:, None] < 0)
    nodes, wired_to = np.nonzero(wired)
    inputs = shared[0] + classes * specific[0]
    graph = Graph.from_arrays(inputs, dependents, thresholds, (nodes, wired_to), classes)
    x, y = _prototypes(random, shared[0], specific[0], classes, subclasses, active)
    return GraphAndInputs(graph, Prototypes(x, y, np.arange(len(y)), noise))


def _owners(common: int, own: int, classes: int) -> np.ndarray:
    """The class each node of a level belongs to, -1 for shared ones."""
    return np.concatenate([np.full(common, -1), np.repeat(np.arange(classes), own)])


def _dependents(
    random: np.random.Generator, owners_below: np.ndarray, owners: np.ndarray, fan_in: int
) -> list[np.ndarray]:
    """For each node of a level, distinct nodes of the level below, the first its owner's own."""
    result = []
    for owner, count in zip(*np.unique(owners, return_counts=True), strict=True):
        own = np.flatnonzero(owners_below == owner)
        pool = np.flatnonzero((owners_below == owner) | (owners_below < 0))
        for first in random.choice(own, count):
            # one more than needed, in case the first is drawn again
            rest = pool[random.choice(len(pool), min(fan_in, len(pool)), replace=False)]
            result.append(np.concatenate([[first], rest[rest != first][: fan_in - 1]]))
    return result


def _prototypes(
    random: np.random.Generator,
    common: int,
    own: int,
    classes: int,
    subclasses: int,
    active: float,
) -> tuple[np.ndarray, np.ndarray]:
    owners = _owners(common, own, classes)
    y = np.repeat(np.arange(classes), subclasses)
    allowed = (owners < 0) | (owners == y[:, None])
    x = allowed & (random.random(allowed.shape) < active)
    for row, label in zip(x, y, strict=True):
        row[random.choice(np.flatnonzero(owners == label))] = True
    return x, y
