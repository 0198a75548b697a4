"""A neurashed graph from a trained network: which nodes fire is what is active in the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from nsh._checks import require, require_all, require_labels, require_numeric
from nsh._types import ArrayLike
from nsh.correspondence.contributions import by_weights, level_maps, phi
from nsh.correspondence.firing import FiringThreshold, FractionOfRange
from nsh.correspondence.quality import Quality, quality
from nsh.correspondence.units import (
    Partition,
    checked_partition,
    clusters,
    each_unit,
    filters,
    mean_over_members,
)
from nsh.correspondence.wiring import correlation, wire
from nsh.networks.models import CNN, MLP
from nsh.neurashed.graph import Graph

Levels = tuple[Float[np.ndarray, "n _"], ...]


@dataclasses.dataclass(frozen=True)
class FromNetwork:
    """A graph made from a network.

    `nodes`: for each level, the node of every unit; `thresholds`: for each level, the activation
    above which a node of the network counts as firing; `agreement`: for each level above the first,
    the mean over nodes of phi (correlation of a node's firing in graph and network; chance is 0);
    `quality`: of the graph on the samples it was made from.
    """

    graph: Graph
    nodes: tuple[Partition, ...]
    thresholds: tuple[Float[np.ndarray, " _"], ...]
    agreement: tuple[float, ...]
    quality: Quality
    activations: Callable[[ArrayLike], Levels] = dataclasses.field(repr=False)

    def observed(self, x: ArrayLike) -> tuple[Bool[np.ndarray, "n _"], ...]:
        """Find what fires in the network at each level for samples x[n, ...]."""
        levels = zip(self.activations(x), self.nodes, self.thresholds, strict=True)
        return tuple(mean_over_members(h, nodes) > limit for h, nodes, limit in levels)

    def encode(self, x: ArrayLike) -> Bool[np.ndarray, "n inputs"]:
        """Level 1 of the graph: what fires in the first hidden level of the network."""
        return self.observed(x)[0]


def from_network(
    module: Callable,
    x: ArrayLike,
    y: ArrayLike,
    *,
    nodes: str | Sequence[ArrayLike] = "units",
    clusters_per_level: Sequence[int] | None = None,
    firing: FiringThreshold = FractionOfRange(0.5),  # noqa: B008
    contributions: str | None = None,
    fan_in: int = 4,
    class_edges: int | None = None,
    features: Callable[[Any, Array], Sequence[ArrayLike]] | None = None,
) -> FromNetwork:
    """A neurashed graph of a trained Equinox module, from samples x[n, ...] with labels y[n].

    Feature level l of the graph is hidden level l of the network. What a node stands for is the
    open question of arXiv 2112.09741, Section 4; here `nodes`: each unit, each filter (all places
    of a channel), a cluster of co-firing units (`clusters_per_level` of them), or partitions, for
    each level the node of every unit. A node's activation is the mean over its units; it fires as
    `firing` says. Level 1 is given that firing (`encode`); above, edges are the `fan_in` strongest
    contributions and "at least k fire" is set to agree best with the firing observed (`wire`).

    `contributions`: weight times mean activation ("weights", known for MLP and CNN of
    `nsh.networks`, for which it is the default) or the correlation of firing ("cofiring", default
    for any other module; on the digits its graphs agree more with the network). `class_edges`:
    edges to classes, by default as many as wire the nodes of the last level and the classes twice
    over. `features(module, x)`: the levels, by default ``module.features(x)``.

    Deterministic, on the host, not jittable. Raises `ValueError` on bad data and choices that do
    not fit the module, `ImportError` for clusters without scikit-learn.

    Example:
        >>> from nsh.correspondence import from_network
        >>> from nsh.networks import MLP
        >>> network = MLP((4, 6, 5, 2), key=jax.random.key(0))
        >>> x = np.asarray(jax.random.normal(jax.random.key(1), (32, 4)))
        >>> from_network(network, x, np.arange(32) % 2, fan_in=3).graph
        Graph(levels=[6, 5], edges=15, classes=2, class_edges=10)
    """
    x = require_numeric("x", x)
    require(x.ndim >= 1 and len(x) > 0, "x.shape", x.shape, "[n, ...] with n >= 1")
    require_all(np.isfinite(x), "x", x, "finite")
    y = require_labels(y, len(x))
    activations = _reader(module, features)
    levels = activations(x)
    groups = _partitions(module, levels, nodes, clusters_per_level)
    means = [mean_over_members(h, group) for h, group in zip(levels, groups, strict=True)]
    thresholds = tuple(firing.thresholds(mean) for mean in means)
    observed = [mean > limit for mean, limit in zip(means, thresholds, strict=True)]
    strengths = _contributions(module, levels, groups, observed, y, contributions)
    top, classes = strengths[-1].shape
    edges = min(2 * (top + classes), top * classes) if class_edges is None else class_edges
    wired = wire(observed, strengths, fan_in=fan_in, class_edges=edges)
    agreement = tuple(
        float(correlation(fires, target, axis=0).mean())
        for fires, target in zip(wired.fires, observed[1:], strict=True)
    )
    measured = quality(wired.graph, observed[0], y)
    return FromNetwork(wired.graph, groups, thresholds, agreement, measured, activations)


def _reader(
    module: Callable, features: Callable[[Any, Array], Sequence[ArrayLike]] | None
) -> Callable:
    """The function from samples to activations of all levels, flat."""
    if features is None:
        field, allowed = f"{type(module).__name__}.features", "a method, or give features="
        require(hasattr(module, "features"), field, None, allowed)
        features = _own_features

    def activations(x: ArrayLike) -> Levels:
        levels = _flat(features, module, jnp.asarray(require_numeric("x", x), float))
        require(len(levels) > 0, "features(module, x)", levels, "one level or more")
        return tuple(np.asarray(level) for level in levels)

    return activations


def _own_features(module: Any, x: ArrayLike) -> Sequence[ArrayLike]:
    return module.features(x)


@eqx.filter_jit
def _flat(features: Callable, module: Callable, x: jax.Array) -> tuple[jax.Array, ...]:
    """Levels [n, units]; compiled once for all modules of one shape."""
    return jax.vmap(lambda one: tuple(jnp.ravel(level) for level in features(module, one)))(x)


def _partitions(
    module: Callable, levels: Levels, nodes: str | Sequence[ArrayLike], counts: Sequence[int] | None
) -> tuple[Partition, ...]:
    if not isinstance(nodes, str):
        require(len(nodes) == len(levels), "nodes", nodes, f"{len(levels)} partitions, one each")
        pairs = enumerate(zip(nodes, levels, strict=True))
        return tuple(checked_partition(one, h.shape[1], level) for level, (one, h) in pairs)
    if nodes == "units":
        return each_unit(levels)
    if nodes == "filters":
        known = isinstance(module, CNN | MLP)
        allowed = "'units', 'clusters' or partitions: filters are known of nsh's CNN and MLP alone"
        require(known, "nodes", nodes, allowed)
        layers = module.blocks if isinstance(module, CNN) else cast(MLP, module).hidden
        channels = [layer.weight.shape[-1] for layer in layers]
        return filters(levels, channels)
    require(nodes == "clusters", "nodes", nodes, "'units', 'filters', 'clusters' or partitions")
    require(counts is not None, "clusters_per_level", counts, "a number for each level")
    return clusters(levels, counts or ())


def _contributions(
    module: Callable,
    levels: Levels,
    groups: Sequence[Partition],
    observed: Sequence[np.ndarray],
    y: np.ndarray,
    kind: str | None,
) -> list[Float[np.ndarray, "_ _"]]:
    maps = level_maps(module)
    allowed = "'weights' (of nsh's MLP and CNN), 'cofiring' or None"
    require(kind in (None, "weights", "cofiring"), "contributions", kind, allowed)
    require(kind != "weights" or maps is not None, "contributions", kind, "'cofiring' here")
    if maps is None or kind == "cofiring":
        missing = np.setdiff1d(np.arange(y.max() + 1), y)
        require(missing.size == 0, "y: classes without samples", missing.tolist(), "none")
        of_class = y[:, None] == np.arange(y.max() + 1)
        pairs = zip(observed, [*observed[1:], of_class], strict=True)
        return [phi(below, above) for below, above in pairs]
    above = [*groups[1:], np.arange(maps[-1].shape[1])]
    parts = zip(maps, levels, groups, above, strict=True)
    return [by_weights(np.asarray(w), h, low, high) for w, h, low, high in parts]
