"""Neurashed against one network of one seed: rank correlations, and what they are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.correspondence.graphs import FIRING, Nodes
from experiments.rank_correlation import rank_correlation
from nsh.correspondence.units import mean_over_members
from nsh.correspondence.wiring import correlation

MEASURES = ("strength", "outgoing norm")


def compare(
    nodes: Nodes,
    network: dict[str, Any],
    neurashed: dict[str, Any],
    fires: np.ndarray,
    bits: np.ndarray,
    pixels: np.ndarray,
) -> dict[str, np.ndarray]:
    """All comparisons of one seed's network with neurashed on its graphs.

    `network`, `neurashed`: recordings, with leading axes [times] and [edges, graph, times];
    `fires` [edges, graph, test, nodes]: pathways of the test samples through level 2; `bits`
    [probes, inputs]: level 1 of the probes; `pixels` [probes, ...]: the probes themselves.
    """
    found = {"pathways": _pathways(nodes, network["features"][1], fires)}
    levels: dict[str, list[Any]] = {"amplification": [], "score": [], "frequency": []}
    for level, partition in enumerate(nodes.partition):
        width = partition.max() + 1
        theirs = _strengths(nodes, network, level)
        ours = neurashed["strength"][level], neurashed["features"][level].mean(-2)
        for name, values in zip(("amplification", "score"), ours, strict=True):
            levels[name].append(rank_correlation(values[..., None, :, :width], theirs))
        frequency = nodes.fires[level].mean(0)
        levels["frequency"].append(rank_correlation(frequency, theirs))
    found |= {name: np.stack(values, axis=-1) for name, values in levels.items()}
    theirs = _pairs(network["elasticity"])
    found["elasticity"] = rank_correlation(_pairs(neurashed["elasticity"]), theirs)
    found["overlap"] = rank_correlation(_pairs(_overlaps(bits)), theirs)
    flat = pixels.reshape(len(pixels), -1)
    distances = np.linalg.norm(flat[:, None] - flat, axis=-1)
    found["nearness"] = rank_correlation(_pairs(-distances), theirs)
    return found


def _strengths(nodes: Nodes, network: dict[str, Any], level: int) -> np.ndarray:
    """`MEASURES` of a network's nodes, [measure, times, nodes].

    Of a unit: mean activation times the norm of its outgoing weights; that norm alone. Of a node:
    the mean over its units.
    """
    activation, norm = network["features"][level].mean(1), network["strength"][level]
    return mean_over_members(np.stack([activation * norm, norm]), nodes.partition[level])


def _pathways(nodes: Nodes, features: Any, fires: Any) -> np.ndarray:
    """Mean phi of nodes active in the network and fired in the graph, [edges, graph, times].

    The network's thresholds are set anew at each time, its graph stays.
    """
    fires = fires[..., : nodes.partition[1].max() + 1]
    active = [FIRING(mean_over_members(now, nodes.partition[1])) for now in features]
    return np.stack([correlation(fires, now, axis=-2).mean(-1) for now in active], axis=-1)


def _pairs(matrices: Any) -> np.ndarray:
    """The entries off the diagonal of matrices [..., n, n]."""
    return matrices[..., ~np.eye(matrices.shape[-1], dtype=bool)]


def _overlaps(bits: np.ndarray) -> np.ndarray:
    """Jaccard overlap of all rows of bits [n, inputs]."""
    both = bits.astype(float) @ bits.T
    either = bits.sum(1)[:, None] + bits.sum(1) - both
    return both / np.maximum(either, 1)
