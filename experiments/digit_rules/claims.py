"""Claims of `experiments.digit_rules`: the hypergradient, what it finds, and the baselines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim, above, at_most, below, claim

SOURCE = "arXiv 2112.09741, Section 4 (outlook); test by nsh"
LEVEL, NODE = "hypergradient, level", "hypergradient, node"
GRIDS = ("grid of 2", "grid of 4")
RANDOM = "random, level"
VARIANTS = (LEVEL, NODE, RANDOM, "random, node", *GRIDS)
RELATIVE_ERROR, LOST = 1e-6, 0.01
ACCURACY = "accuracy on held-out digits"
OF_THE_TASK = "tuned rates are a property of the task, not of the mini-batches they were tuned on"


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Exactness and cost of the gradient, who finds lower losses, and accuracy held out."""
    yield from _gradient(dataset)
    # the grid with the least mean loss in the end: the hardest to beat
    last = dataset.course.isel(cost=-1).sel(way=list(GRIDS)).mean("seed")
    grid = GRIDS[int(np.argmin(last.values))]
    rivals = (LEVEL, grid), (LEVEL, RANDOM), (NODE, grid), (NODE, "random, node"), (NODE, LEVEL)
    for method, rival in rivals:
        yield _lower_loss(dataset, method, rival)
        yield _accuracy(dataset, method, rival)
    for rival in (grid, RANDOM):
        yield _lower_loss(dataset, LEVEL, rival, 2)
    for method in (LEVEL, NODE):
        yield _accuracy(dataset, method, "untuned")
        yield from _held_out(dataset, method)
    ours = dataset.test_right.sel(rates=NODE).values
    for name in dataset.baseline.values:
        classifier = name.replace(",", " on")
        gain = ours - dataset.baseline_right.sel(baseline=name).values.astype(float)
        yield (
            claim(f"{NODE} > {name}", SOURCE)
            .says(f"neurashed, tuned, classifies better than scikit-learn's {classifier}")
            .test(f"{ACCURACY}, difference (mean over seeds; SE over the digits)", gain, above(0))
        )


def _gradient(dataset: xr.Dataset) -> list[Claim]:
    error = np.abs(dataset.slope - dataset.difference) / np.abs(dataset.difference)
    counted = dataset.gradient_counted_as.item()
    relative = "64-bit floats, by level and in random directions: largest relative difference"
    operations = "operations of a loss with its gradient by all rates over those of a loss"
    return [
        claim("hypergradient = finite differences", SOURCE)
        .says("training can be differentiated by every rate of g+ and g-")
        .test(relative, error.max(), below(RELATIVE_ERROR)),
        claim("cost of a hypergradient", SOURCE)
        .says("a gradient by all rates costs as much as a few runs, however many rates there are")
        .test(f"{operations} (assumed: {counted})", dataset.gradient_cost, at_most(counted)),
    ]


def _lower_loss(dataset: xr.Dataset, method: str, rival: str, dearer: int = 1) -> Claim:
    """`dearer`: how many times the usual price a gradient is counted as."""
    gradients, price = dataset.sizes["cost"] // dearer, dearer * int(dataset.gradient_counted_as)
    ours = f"{method} after {gradients} gradients, each counted as {price} (nats)"
    theirs = f"validation loss of {rival} after {int(dataset.cost[-1])} evaluations"
    loss = dataset.course.sel(way=method).isel(cost=gradients - 1).values
    gain = dataset.course.sel(way=rival).isel(cost=-1).values - loss
    return (
        claim(f"{method} < {rival}" + f", a gradient as {price}" * (dearer > 1), SOURCE)
        .says("hypergradients find better rates than search does at equal cost")
        .test(f"{theirs} minus that of {ours}", gain, above(0))
    )


def _accuracy(dataset: xr.Dataset, method: str, rival: str) -> Claim:
    accuracy = dataset.test_accuracy
    gain = accuracy.sel(rates=method).values - accuracy.sel(rates=rival).values
    return (
        claim(f"{method} > {rival}, held out", SOURCE)
        .says("what is tuned better classifies better")
        .test(f"{ACCURACY}, difference over seeds", gain, above(0))
    )


def _held_out(dataset: xr.Dataset, method: str) -> list[Claim]:
    tuned, untuned = dataset.sel(rates=method), dataset.sel(rates="untuned")
    gain = untuned.test_loss.values - tuned.test_loss.values
    lost = tuned.test_accuracy.values - tuned.other_accuracy.values
    return [
        claim(f"{method}: lower loss, held out", SOURCE)
        .says("rates tuned on some digits make honest predictions of others")
        .test("cross-entropy on held-out digits untuned minus tuned (nats)", gain, above(0)),
        claim(f"{method}: rates suit other mini-batches", SOURCE)
        .says(OF_THE_TASK)
        .test(f"{ACCURACY} lost on another seed's mini-batches", lost, below(LOST)),
    ]
