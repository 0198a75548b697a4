"""Nodes for the subclasses of each class, found by clustering, and the classes they serve."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from nsh.data.digits import subclasses


class SubclassNodes(NamedTuple):
    """`dependents` of each node, the least number of them that must fire, and its own class."""

    dependents: Int[np.ndarray, "nodes typical"]
    thresholds: Int[np.ndarray, " nodes"]
    owners: Int[np.ndarray, " nodes"]

    def fires(self, bits: Bool[np.ndarray, "n width"]) -> Bool[np.ndarray, "n nodes"]:
        """Find the nodes that fire for each sample."""
        counts = [bits[:, dependents].sum(axis=1) for dependents in self.dependents]
        return np.stack(counts, axis=1) >= self.thresholds

    def wiring(
        self, bits: Bool[np.ndarray, "n width"], y: Int[np.ndarray, " n"], shared: float
    ) -> tuple[Int[np.ndarray, " edges"], Int[np.ndarray, " edges"]]:
        """Edges (node, class): to a node's own class and to all where it fires often enough.

        That is, in a share of at least `shared` of the class's samples.
        """
        classes = np.arange(y.max() + 1)
        fires = self.fires(bits)
        share = np.stack([fires[y == label].mean(axis=0) for label in classes], axis=1)
        nodes, wired_to = np.nonzero((share >= shared) | (self.owners[:, None] == classes))
        return nodes, wired_to


def subclass_nodes(
    bits: Bool[np.ndarray, "n width"],
    y: Int[np.ndarray, " n"],
    *,
    per_class: int,
    typical: int,
    recall: float,
    seed: int,
) -> SubclassNodes:
    """One node for each of `per_class` clusters (k-means) of each class; fewer for few samples.

    Its dependents: the `typical` bits that are the most frequent in the cluster compared with the
    other classes. It fires if k of them do, k as large as lets a share `recall` of the cluster
    fire it.
    """
    dependents, thresholds, owners = [], [], []
    for label in range(int(y.max()) + 1):
        members = bits[y == label]
        rest = bits[y != label]
        usual = rest.mean(axis=0) if len(rest) else np.zeros(bits.shape[1])
        for cluster in _clusters(members, per_class, seed):
            order = np.argsort(usual - cluster.mean(axis=0), kind="stable")
            dependents.append(np.sort(order[:typical]))
            counts = np.sort(cluster[:, dependents[-1]].sum(axis=1))[::-1]
            thresholds.append(max(1, counts[math.ceil(recall * len(counts)) - 1]))
            owners.append(label)
    return SubclassNodes(np.array(dependents), np.array(thresholds), np.array(owners))


def _clusters(
    members: Bool[np.ndarray, "n width"], count: int, seed: int
) -> list[Bool[np.ndarray, "_ width"]]:
    count = min(count, len(np.unique(members, axis=0)))
    one_class = np.zeros(len(members), np.int32)
    # distances between bits tie, and rounding, which is another one wherever arrays lie in memory,
    # must not decide: so each bit weighs a little more or less
    weights = 1 + 1e-3 * np.random.default_rng(seed).random(members.shape[1])
    which = subclasses(members * weights, one_class, count, seed)
    return [members[which == cluster] for cluster in range(count)]
