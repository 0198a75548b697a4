"""What of neurashed is seen in the networks its graphs were read off, and for which unit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from experiments.correspondence.graphs import KINDS
from experiments.correspondence.measures import rank_correlation
from experiments.harness.claim import Claim
from experiments.harness.statistics import Estimate, over_seeds

SOURCE = "nsh, on a question left open by arXiv 2112.09741, Section 4"
AGAINST = "by more than 2 SE, paired by seed"


def claims(dataset: xr.Dataset) -> list[Claim]:
    """For each choice of node; then the answer to "which unit?", and phenomena over training."""
    end = dataset.isel(step=-1).sel(edges="cofiring")
    by_kind = {kind: _of_kind(end.sel(kind=kind), kind) for kind in KINDS}
    found = [claim for some in by_kind.values() for claim in some]
    found += [_answer(network, by_kind) for network in ("MLP", "CNN")]
    found += [
        _closest(end.pathways, "MLP units", "MLP clusters"),
        _closest(end.pathways, "CNN units", "CNN clusters"),
        _closest(end.pathways, "CNN units", "CNN filters"),
    ]
    for network in ("MLP", "CNN"):
        units = dataset.sel(kind=f"{network} units", edges="cofiring")
        found += [_growth(units, network), _outgoing(units.isel(step=-1), network)]
        found += [_shared(units.isel(step=-1), network)]
        found += [_information(units, dataset[f"{network}_input"], network)]
        found += [_accuracy(units, network)]
    return [*found, _sparsity(dataset)]


def _of_kind(end: xr.Dataset, kind: str) -> list[Claim]:
    phi, elastic = _graphs(end.pathways), _graphs(end.elasticity)
    top = end.sel(level=2, measure="strength")
    amplified, frequency = _graphs(top.amplification), top.frequency.values
    rows = (
        ("pathways", "the nodes that fire in the graph are those active in the network",
         "phi of level 2", _beyond(phi)),
        ("amplification", "nodes that neurashed amplifies are strong in the network",
         "rank correlation of amplification with strength, level 2,", _beyond(amplified)),
        ("amplification beyond frequency", "it knows more of strength than how often a node fires",
         "rank correlation of amplification with strength, level 2,",
         over_seeds(amplified["wired"] - frequency)),
        ("elasticity", "updates spread in neurashed as in the network",
         "rank correlation of local elasticities",
         _beyond({**elastic, "overlap": end.overlap.values})),
    )  # fmt: skip
    above = (
        "that of both null models", "that of both null models", "that of firing frequency itself",
        "that of both null models and of the overlap of level 1 for the two inputs",
    )  # fmt: skip
    return [
        Claim(f"{kind}: {name}", SOURCE, statement, f"{what} above {bound} {AGAINST}",
              *change, change.above(0))
        for (name, statement, what, change), bound in zip(rows, above, strict=True)
    ]  # fmt: skip


def _graphs(values: xr.DataArray) -> dict[str, np.ndarray]:
    return {str(graph): values.sel(graph=graph).values for graph in values.graph.values}


def _beyond(values: Mapping[str, np.ndarray]) -> Estimate:
    """The graph's value minus that of the best of its rivals."""
    rivals = [rival for name, rival in values.items() if name != "wired"]
    return over_seeds(values["wired"] - max(rivals, key=np.mean))


def _answer(network: str, by_kind: Mapping[str, list[Claim]]) -> Claim:
    own = {kind: some for kind, some in by_kind.items() if kind.startswith(network)}
    passed = {kind.split()[1]: sum(bool(c.holds) for c in some) for kind, some in own.items()}
    best = max(passed.values())
    counted = ", ".join(f"{kind} {count} of 4" for kind, count in passed.items())
    return Claim(
        f"which unit of the {network} is a feature node", SOURCE,
        f"some choice of node passes all four tests above ({counted})",
        "number of tests that the best choice passes is 4", best, None, best == 4,
    )  # fmt: skip


def _closest(phi: xr.DataArray, closer: str, other: str) -> Claim:
    wired = phi.sel(graph="wired")
    change = over_seeds(wired.sel(kind=closer).values - wired.sel(kind=other).values)
    return Claim(
        f"{closer} closer than {other.split()[1]}", SOURCE,
        "which choice of node fires in its graph most as in the network",
        f"phi of level 2, {closer} minus {other}, above 0 {AGAINST}", *change, change.above(0),
    )  # fmt: skip


def _growth(units: xr.Dataset, network: str) -> Claim:
    follows = units.frequency.sel(level=2, measure="outgoing norm")
    change = over_seeds(follows.isel(step=-1) - follows.isel(step=0))
    return Claim(
        f"{network}: what fires often grows", "arXiv 2112.09741, Section 2; found after looking",
        "training amplifies what fires: outgoing weights follow firing in the end",
        "rank correlation of firing frequency (in the end) with outgoing norms, level 2: end minus "
        "start above 0 by more than 2 SE", *change, change.above(0),
    )  # fmt: skip


def _outgoing(end: xr.Dataset, network: str) -> Claim:
    top = end.amplification.sel(level=2, measure="outgoing norm")
    change = _beyond(_graphs(top))
    return Claim(
        f"{network} units: amplification and outgoing weights", SOURCE,
        "nodes that neurashed amplifies have large outgoing weights",
        f"rank correlation, level 2, above that of both null models {AGAINST}",
        *change, change.above(0),
    )  # fmt: skip


def _shared(end: xr.Dataset, network: str) -> Claim:
    change = over_seeds(end.overlap - end.nearness)
    return Claim(
        f"{network} units: shared units tell elasticity better than pixels",
        "arXiv 2112.09741, Section 3, Figure 5; found after looking",
        "an update at one input moves others, the more of their pathways they share",
        "rank correlation of the network's elasticity with the overlap of active units of level 1 "
        f"above that with nearness in pixels {AGAINST}", *change, change.above(0),
    )  # fmt: skip


def _information(units: xr.Dataset, network_bits: xr.DataArray, network: str) -> Claim:
    theirs = network_bits.sel(level=2).transpose("seed", "step").values
    ours = units.input.sel(level=2).transpose("graph", "seed", "step")
    change = _beyond({name: rank_correlation(v, theirs) for name, v in _graphs(ours).items()})
    return Claim(
        f"{network} units: information plane", SOURCE,
        "I(level 2; input) rises and falls together in neurashed and network",
        f"rank correlation over training above that of both null models {AGAINST}",
        *change, change.above(0),
    )  # fmt: skip


def _accuracy(units: xr.Dataset, network: str) -> Claim:
    course = units.accuracy.sel(graph="wired")
    change = over_seeds(course.isel(step=-1) - course.isel(step=0))
    return Claim(
        f"{network} units: neurashed learns", "arXiv 2112.09741, Section 2",
        "training makes the probability of the true class tend to 1",
        "test accuracy of neurashed on the network's graph, end minus start, above 0 by 2 SE",
        *change, change.above(0),
    )  # fmt: skip


def _sparsity(dataset: xr.Dataset) -> Claim:
    order = np.argsort(dataset.batch.values)
    theirs = dataset.network_effective.values[order].T
    ours = dataset.neurashed_effective.sel(graph="wired").values[order].T
    change = over_seeds(rank_correlation(ours, theirs))
    return Claim(
        "MLP units: sparsity by batch size", "arXiv 2112.09741, Section 3, Figure 3",
        "neurashed orders batch sizes by effective number of features as the network does",
        "mean rank correlation over batch sizes above 0 by more than 2 SE",
        *change, change.above(0),
    )  # fmt: skip
