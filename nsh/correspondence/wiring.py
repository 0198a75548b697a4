"""From observed firing and contributions to a graph: strongest edges, best thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from nsh._checks import require, require_integer
from nsh.neurashed.graph import Graph


class WiredGraph(NamedTuple):
    """A graph, and the firing of its levels above the first for the samples it was made from."""

    graph: Graph
    fires: tuple[Bool[np.ndarray, "n _"], ...]


def wire(
    observed: Sequence[Bool[np.ndarray, "n _"]],
    contributions: Sequence[Float[np.ndarray, "_ _"]],
    *,
    fan_in: int,
    class_edges: int,
) -> WiredGraph:
    """A graph whose nodes fire as nearly as they can as observed.

    `observed`: what fires at each level, lowest first, for n samples; `contributions`: from each
    level to the next and from the last to the classes. Level 1 is given. A node above has as
    dependents the `fan_in` nodes below that contribute most, and fires if at least k of them do, k
    such that the correlation with its observed firing is highest (the least such k), the
    dependents' firing being the graph's own. The `class_edges` edges to classes: the strongest of
    every node, the strongest of every class, then the strongest of all.

    Sizes depend on the widths alone, so graphs of equal widths stack. Raises `ValueError` for a
    fan-in above the width below and too few or too many class edges.
    """
    fires, dependents, thresholds = [observed[0]], [], []
    for level, (target, strength) in enumerate(
        zip(observed[1:], contributions[:-1], strict=True), start=2
    ):
        require_integer(f"fan_in (of level {level})", fan_in, 1, len(strength))
        chosen = np.sort(np.argsort(-strength, axis=0, kind="stable")[:fan_in], axis=0).T
        counts = fires[-1][:, chosen].sum(axis=2)
        least = best_thresholds(counts, target, fan_in)
        dependents.append((chosen.ravel(), np.repeat(np.arange(len(chosen)), fan_in)))
        thresholds.append(least)
        fires.append(counts >= least)
    edges = strongest_class_edges(contributions[-1], class_edges)
    inputs, classes = observed[0].shape[1], contributions[-1].shape[1]
    graph = Graph.from_arrays(inputs, dependents, thresholds, edges, classes)
    return WiredGraph(graph, tuple(fires[1:]))


def best_thresholds(
    counts: Int[np.ndarray, "n nodes"], target: Bool[np.ndarray, "n nodes"], fan_in: int
) -> Int[np.ndarray, " nodes"]:
    """For each node the k in 1..fan_in whose ``counts >= k`` correlates best with its target.

    The least of equals; where no k correlates at all, the k that agrees with most samples.
    """
    fires = counts[None] >= np.arange(1, fan_in + 1)[:, None, None]
    found, agreeing = correlation(fires, target[None], axis=1), (fires == target).mean(axis=1)
    hopeless = found.max(axis=0) <= 0
    return np.where(hopeless, agreeing.argmax(axis=0), found.argmax(axis=0)) + 1


def strongest_class_edges(
    strength: Float[np.ndarray, "nodes classes"], count: int
) -> tuple[Int[np.ndarray, " count"], Int[np.ndarray, " count"]]:
    """`count` edges (nodes, classes), by strength, with every node and every class in one."""
    nodes, classes = strength.shape
    require_integer("class_edges", count, 1, nodes * classes)
    wired = np.zeros(strength.shape, bool)
    wired[np.arange(nodes), strength.argmax(axis=1)] = True
    bare = np.flatnonzero(~wired.any(axis=0))
    wired[strength[:, bare].argmax(axis=0), bare] = True
    allowed = f"at least {wired.sum()}, to wire every node and every class"
    require(count >= wired.sum(), "class_edges", count, allowed)
    ranked = np.where(wired, np.inf, strength).ravel()
    chosen = np.sort(np.argsort(-ranked, kind="stable")[:count])
    return chosen // classes, chosen % classes


def correlation(
    a: Bool[np.ndarray, "*#n"], b: Bool[np.ndarray, "*#n"], axis: int
) -> Float[np.ndarray, "*m"]:
    """Pearson's correlation of two Boolean variables (phi) along an axis; 0 if one is constant."""
    p, q = a.mean(axis=axis), b.mean(axis=axis)
    spread = np.sqrt(p * (1 - p) * q * (1 - q))
    return ((a & b).mean(axis=axis) - p * q) / np.where(spread > 0, spread, 1) * (spread > 0)
