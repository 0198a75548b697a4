"""Which unit of a network a node stands for: each unit, a filter, a cluster of co-firing units.

Each choice is a partition of the units of every level: for each unit, the number of its node.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from jaxtyping import Float, Int

from nsh._checks import require, require_all, require_integer
from nsh._extras import extra
from nsh._types import ArrayLike

Partition = Int[np.ndarray, " _"]


def each_unit(levels: Sequence[Float[np.ndarray, "n _"]]) -> tuple[Partition, ...]:
    """Every unit is a node of its own."""
    return tuple(np.arange(level.shape[1]) for level in levels)


def filters(
    levels: Sequence[Float[np.ndarray, "n _"]], channels: Sequence[int]
) -> tuple[Partition, ...]:
    """A node for each filter: all places of one channel, the channel being the last axis.

    `channels`: how many there are at each level; fully connected units are channels without
    places. Raises `ValueError` where they do not divide a level.
    """
    require(len(channels) == len(levels), "channels", channels, f"{len(levels)} numbers, one each")
    for place, (level, count) in enumerate(zip(levels, channels, strict=True)):
        count, units = require_integer(f"channels[{place}]", count, 1), level.shape[1]
        require(units % count == 0, f"channels[{place}]", count, f"a divisor of {units}, the units")
    return tuple(
        np.arange(level.shape[1]) % count for level, count in zip(levels, channels, strict=True)
    )


def clusters(
    levels: Sequence[Float[np.ndarray, "n _"]], counts: Sequence[int]
) -> tuple[Partition, ...]:
    """Nodes are clusters of units that fire together: `counts` of them at each level.

    Ward's hierarchical clustering of the units' standardised activations over the samples, whose
    squared distance is ``2 n (1 - correlation)``; a unit that never varies has correlation 0 with
    all. Deterministic. Raises `ValueError` for more clusters than units, `ImportError` without
    scikit-learn.
    """
    require(len(counts) == len(levels), "clusters", counts, f"{len(levels)} numbers, one each")
    found = []
    for place, (level, count) in enumerate(zip(levels, counts, strict=True)):
        count = require_integer(f"clusters[{place}]", count, 1, level.shape[1])
        if count == level.shape[1] or count == 1:
            found.append(np.arange(level.shape[1]) % count)
            continue
        ward = _sklearn_cluster().AgglomerativeClustering(count, linkage="ward")
        found.append(ward.fit_predict(_standardised(level).T).astype(np.int64))
    return tuple(found)


def checked_partition(partition: ArrayLike, units: int, level: int) -> Partition:
    """Nodes 0..max, none of them empty, for `units` units."""
    field, partition = f"nodes[{level}]", np.asarray(partition)
    require(partition.dtype.kind in "iu", f"{field}.dtype", str(partition.dtype), "an integer type")
    require(partition.shape == (units,), f"{field}.shape", partition.shape, f"({units},)")
    present = np.isin(np.arange(partition.max() + 1), partition)
    require_all(partition >= 0, field, partition, "a node >= 0")
    require(present.all(), field, int(np.argmin(present)), "a node of at least one unit")
    return partition


def mean_over_members(
    values: Float[np.ndarray, "*n units"], partition: Partition
) -> Float[np.ndarray, "*n nodes"]:
    """A node's value: the mean over its units."""
    if np.array_equal(partition, np.arange(len(partition))):
        return values
    members = partition[:, None] == np.arange(partition.max() + 1)
    return values @ (members / members.sum(axis=0)).astype(values.dtype)


def _standardised(level: Float[np.ndarray, "n units"]) -> Float[np.ndarray, "n units"]:
    centred = level.astype(np.float64) - level.mean(axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    return centred / np.where(spread > 0, spread, 1)


def _sklearn_cluster() -> ModuleType:
    with extra("data", "nsh.correspondence"):
        return importlib.import_module("sklearn.cluster")
