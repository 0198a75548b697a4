"""A hierarchy of features from a data set: bits, frequent conjunctions, subclasses, classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from nsh._checks import (
    require,
    require_all,
    require_integer,
    require_labels,
    require_numeric,
)
from nsh._types import ArrayLike
from nsh.correspondence.binarise import Binarise
from nsh.correspondence.conjunctions import fires_all, frequent_conjunctions
from nsh.correspondence.quality import Quality, quality
from nsh.correspondence.subclass_nodes import subclass_nodes
from nsh.neurashed.graph import Graph


@dataclasses.dataclass(frozen=True)
class FromData:
    """A graph, the map ``x[n, ...] -> bool[n, inputs]`` to its level 1, and how good it is."""

    graph: Graph
    encode: Binarise
    quality: Quality


def from_data(
    x: ArrayLike,
    y: ArrayLike,
    *,
    thresholds: Sequence[float] = (0.5,),
    window: int = 2,
    items: int = 2,
    support: float = 0.1,
    overlap: float = 0.6,
    conjunctions: int = 160,
    subclasses: int = 4,
    typical: int = 32,
    recall: float = 0.95,
    shared: float = 0.1,
    seed: int = 0,
) -> FromData:
    """A hierarchy of features of samples x[n, ...] with labels y[n]; our own construction.

    Level 1: for each input and each of `thresholds`, whether it reaches it, and whether not.
    Level 2 ("all fire"): `items` bits of inputs within a window of side `window` (along every axis
    of a sample) that fire together in a share of the samples in ``support..1 - support``; at most
    `conjunctions`, no two with Jaccard index above `overlap`. Level 3 ("at least k of n fire"): the
    `typical` conjunctions of each of `subclasses` clusters of a class (k-means of level 2 from
    `seed`), k such that a share `recall` of the cluster fires it. Classes: wired to the nodes of
    their own clusters, and to those of others which a share `shared` of the class fires.

    The defaults suit `nsh.data.digits`: 328 nodes. Deterministic; on the host, not jittable.
    `FromData.quality` is of the samples given. Raises `ValueError` on bad data, a class without
    samples and choices that fit no graph; `ImportError` without scikit-learn.

    Example:
        Two binary inputs that tell the class:

        >>> from nsh.correspondence import from_data
        >>> x = np.array([[1.0, 0.0], [0.0, 1.0]] * 4)
        >>> found = from_data(x, [0, 1] * 4, subclasses=1, typical=1)
        >>> found.quality.recovered
        1.0
    """
    x = require_numeric("x", x)
    require(x.ndim >= 2 and x.size > 0, "x.shape", x.shape, "[n, ...], not empty")
    require_all(np.isfinite(x), "x", x, "finite")
    y = require_labels(y, len(x))
    missing = np.setdiff1d(np.arange(y.max() + 1), y)
    require(missing.size == 0, "y: classes without samples", missing.tolist(), "none")
    for field, count in (
        ("window", window), ("items", items), ("conjunctions", conjunctions),
        ("subclasses", subclasses), ("typical", typical),
    ):  # fmt: skip
        require_integer(field, count, 1)
    require(0 < support <= 0.5, "support", support, "a share in (0, 0.5]")
    require(0 <= overlap <= 1, "overlap", overlap, "a Jaccard index in 0..1")
    for field, share in (("recall", recall), ("shared", shared)):
        require(0 < share <= 1, field, share, "a share in (0, 1]")
    require(len(thresholds) > 0, "thresholds", thresholds, "one number or more")
    require_all(np.isfinite(thresholds), "thresholds", thresholds, "finite")

    encode = Binarise(x.shape[1:], tuple(float(threshold) for threshold in thresholds))
    bits = encode(x)
    chosen = frequent_conjunctions(
        bits, encode, window=window, items=items, support=support, overlap=overlap,
        most=conjunctions,
    )  # fmt: skip
    patterns = fires_all(bits, chosen)
    top = subclass_nodes(
        patterns, y, per_class=subclasses, typical=typical, recall=recall, seed=seed
    )
    graph = Graph.from_arrays(
        encode.width,
        [_edges(chosen), _edges(top.dependents)],
        [np.full(len(chosen), items), top.thresholds],
        top.wiring(patterns, y, shared),
        int(y.max()) + 1,
    )
    return FromData(graph, encode, quality(graph, bits, y))


def _edges(dependents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sources and targets, from the dependents of each node as rows."""
    return dependents.ravel(), np.repeat(np.arange(len(dependents)), dependents.shape[1])
