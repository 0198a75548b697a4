"""What of neurashed is seen in the networks its graphs were read off, and for which unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr

from experiments.correspondence.graphs import KINDS
from experiments.harness.claim import Claim, above, at_least, claim
from experiments.rank_correlation import rank_correlation

SOURCE = "nsh, on a question left open by arXiv 2112.09741, Section 4"
PAPER = "arXiv 2112.09741, Section"
NULLS = "minus that of the better null model, paired by seed"


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """For each choice of node; then the answer to "which unit?", and phenomena over training."""
    end = dataset.isel(step=-1).sel(edges="cofiring")
    by_kind = {kind: _of_kind(end.sel(kind=kind), kind) for kind in KINDS}
    for of_kind in by_kind.values():
        yield from of_kind
    for network in ("MLP", "CNN"):
        yield _answer(network, by_kind)
    phi = end.pathways.sel(graph="wired")
    for closer, other in (
        ("MLP units", "MLP clusters"),
        ("CNN units", "CNN clusters"),
        ("CNN units", "CNN filters"),
    ):
        change = phi.sel(kind=closer).values - phi.sel(kind=other).values
        yield (
            claim(f"{closer} closer than {other.split()[1]}", SOURCE)
            .says("which choice of node fires in its graph most as in the network")
            .test(f"phi of level 2, {closer} minus {other}, paired by seed", change, above(0))
        )
    for network in ("MLP", "CNN"):
        units = dataset.sel(kind=f"{network} units", edges="cofiring")
        yield from _of_network(units, dataset[f"{network}_input"], network)
    order = np.argsort(dataset.batch.values)
    theirs = dataset.network_effective.values[order].T
    ours = dataset.neurashed_effective.sel(graph="wired").values[order].T
    follows = rank_correlation(ours, theirs)
    yield (
        claim("MLP units: sparsity by batch size", f"{PAPER} 3, Figure 3")
        .says("neurashed orders batch sizes by effective number of features as the network does")
        .test("rank correlation over batch sizes", follows, above(0))
    )


def _of_kind(end: xr.Dataset, kind: str) -> list[Claim]:
    top, elastic = end.sel(level=2, measure="strength"), _graphs(end.elasticity)
    amplified = _graphs(top.amplification)
    strong = "rank correlation of amplification with strength, level 2"
    more = amplified["wired"] - top.frequency.values
    elastic_lead = _lead({**elastic, "overlap": end.overlap.values})
    rivals = "minus that of the better null model or of the overlap of level 1, paired by seed"
    return [
        claim(f"{kind}: pathways", SOURCE)
        .says("the nodes that fire in the graph are those active in the network")
        .test(f"phi of level 2, {NULLS}", _lead(_graphs(end.pathways)), above(0)),
        claim(f"{kind}: amplification", SOURCE)
        .says("nodes that neurashed amplifies are strong in the network")
        .test(f"{strong}, {NULLS}", _lead(amplified), above(0)),
        claim(f"{kind}: amplification beyond frequency", SOURCE)
        .says("it knows more of strength than how often a node fires")
        .test(f"{strong}, minus that of firing frequency, paired by seed", more, above(0)),
        claim(f"{kind}: elasticity", SOURCE)
        .says("updates spread in neurashed as in the network")
        .test(f"rank correlation of local elasticities, {rivals}", elastic_lead, above(0)),
    ]


def _graphs(values: xr.DataArray) -> dict[str, np.ndarray]:
    return {str(graph): values.sel(graph=graph).values for graph in values.graph.values}


def _lead(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The graph's value minus that of the best of its rivals."""
    rivals = [rival for name, rival in values.items() if name != "wired"]
    return values["wired"] - max(rivals, key=np.mean)


def _answer(network: str, by_kind: Mapping[str, list[Claim]]) -> Claim:
    own = {kind: some for kind, some in by_kind.items() if kind.startswith(network)}
    passed = {kind.split()[1]: sum(bool(c.holds) for c in some) for kind, some in own.items()}
    counted = ", ".join(f"{kind} {count} of 4" for kind, count in passed.items())
    return (
        claim(f"which unit of the {network} is a feature node", SOURCE)
        .says(f"some choice of node passes all four tests above ({counted})")
        .test("number of tests that the best choice passes", max(passed.values()), at_least(4))
    )


def _of_network(units: xr.Dataset, network_bits: xr.DataArray, network: str) -> list[Claim]:
    end = units.isel(step=-1)
    follows = units.frequency.sel(level=2, measure="outgoing norm")
    grown = follows.isel(step=-1) - follows.isel(step=0)
    outgoing = _lead(_graphs(end.amplification.sel(level=2, measure="outgoing norm")))
    theirs = network_bits.sel(level=2).transpose("seed", "step").values
    ours = _graphs(units.input.sel(level=2).transpose("graph", "seed", "step"))
    together = _lead({name: rank_correlation(bits, theirs) for name, bits in ours.items()})
    accuracy = units.accuracy.sel(graph="wired")
    learned = accuracy.isel(step=-1) - accuracy.isel(step=0)
    firing = "rank correlation of firing frequency (in the end) with outgoing norms, level 2"
    overlap = "rank correlation of elasticity with the overlap of active units of level 1"
    shared = f"{network} units: shared units tell elasticity better than pixels"
    return [
        claim(f"{network}: what fires often grows", f"{PAPER} 2; found after looking")
        .says("training amplifies what fires: outgoing weights follow firing in the end")
        .test(f"{firing}, end minus start", grown, above(0)),
        claim(f"{network} units: amplification and outgoing weights", SOURCE)
        .says("nodes that neurashed amplifies have large outgoing weights")
        .test(f"rank correlation, level 2, {NULLS}", outgoing, above(0)),
        claim(shared, f"{PAPER} 3, Figure 5; found after looking")
        .says("an update at one input moves others, the more of their pathways they share")
        .test(f"{overlap} minus nearness in pixels", end.overlap - end.nearness, above(0)),
        claim(f"{network} units: information plane", SOURCE)
        .says("I(level 2; input) rises and falls together in neurashed and network")
        .test(f"rank correlation over training, {NULLS}", together, above(0)),
        claim(f"{network} units: neurashed learns", f"{PAPER} 2")
        .says("training makes the probability of the true class tend to 1")
        .test("accuracy on the network's graph, end minus start", learned, above(0)),
    ]
