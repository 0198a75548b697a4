"""Claims of `experiments.digit_rules`: the hypergradient, what it finds, and the baselines."""

from __future__ import annotations

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim
from experiments.harness.statistics import over_seeds

SOURCE = "arXiv 2112.09741, Section 4 (outlook); test by nsh"
LEVEL, NODE = "hypergradient, level", "hypergradient, node"
GRIDS = ("grid of 2", "grid of 4")
WAYS = (LEVEL, NODE, "random, level", "random, node", *GRIDS)
RELATIVE_ERROR, LOST = 1e-6, 0.01


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Exactness and cost of the gradient, who finds lower losses, and accuracy held out."""
    found = [_slopes(dataset), _cost(dataset)]
    best_grid = _best_grid(dataset)
    for method, rival in (
        (LEVEL, best_grid), (LEVEL, "random, level"), (NODE, best_grid), (NODE, "random, node"),
        (NODE, LEVEL),
    ):  # fmt: skip
        found += [_lower_loss(dataset, method, rival), _accuracy(dataset, method, rival)]
    found += [_lower_loss(dataset, LEVEL, rival, 2) for rival in (best_grid, "random, level")]
    for method in (LEVEL, NODE):
        found.append(_accuracy(dataset, method, "untuned"))
        found.append(_held_out_loss(dataset, method))
        found.append(_carries_over(dataset, method))
    return found + [_baseline(dataset, str(name)) for name in dataset.baseline.values]


def _best_grid(dataset: xr.Dataset) -> str:
    """The grid with the least mean loss in the end: the hardest to beat."""
    last = dataset.course.isel(cost=-1).sel(way=list(GRIDS)).mean("seed")
    return GRIDS[int(np.argmin(last.values))]


def _slopes(dataset: xr.Dataset) -> Claim:
    error = np.abs(dataset.slope - dataset.difference) / np.abs(dataset.difference)
    worst = float(error.max())
    return Claim(
        "hypergradient = finite differences", SOURCE,
        "training can be differentiated by every rate of g+ and g-",
        f"64-bit floats, along the rates of each level and in random directions of all nodes' "
        f"rates: largest relative difference below {RELATIVE_ERROR:g}",
        worst, None, worst < RELATIVE_ERROR,
    )  # fmt: skip


def _cost(dataset: xr.Dataset) -> Claim:
    ratio, counted = float(dataset.gradient_cost), int(dataset.gradient_counted_as)
    return Claim(
        "cost of a hypergradient", SOURCE,
        "a gradient by all rates costs as much as a few runs, however many rates there are",
        f"operations of a loss with its gradient by the rates of all nodes over those of a loss "
        f"at most {counted}, the assumed cost of a gradient",
        ratio, None, ratio <= counted,
    )  # fmt: skip


def _lower_loss(dataset: xr.Dataset, method: str, rival: str, dearer: int = 1) -> Claim:
    """`dearer`: how many times the usual price a gradient is counted as."""
    last = dataset.sizes["cost"] - 1
    gradients = (last + 1) // dearer
    ours = dataset.course.sel(way=method).isel(cost=gradients - 1)
    gain = over_seeds(dataset.course.sel(way=rival).isel(cost=last).values - ours.values)
    price = dearer * int(dataset.gradient_counted_as)
    return Claim(
        f"{method} < {rival}" + f", a gradient as {price}" * (dearer > 1), SOURCE,
        "hypergradients find better rates than search does at equal cost",
        f"validation loss of {rival} after {int(dataset.cost[last])} evaluations minus that of "
        f"{method} after {gradients} gradients, each counted as {price} (nats), above 0 by "
        "more than 2 SE",
        *gain, gain.above(0),
    )  # fmt: skip


def _accuracy(dataset: xr.Dataset, method: str, rival: str) -> Claim:
    accuracy = dataset.test_accuracy
    gain = over_seeds(accuracy.sel(rates=method).values - accuracy.sel(rates=rival).values)
    return Claim(
        f"{method} > {rival}, held out", SOURCE,
        "what is tuned better classifies better",
        "difference of accuracy on held-out digits, over seeds, above 0 by more than 2 SE",
        *gain, gain.above(0),
    )  # fmt: skip


def _held_out_loss(dataset: xr.Dataset, method: str) -> Claim:
    loss = dataset.test_loss
    gain = over_seeds(loss.sel(rates="untuned").values - loss.sel(rates=method).values)
    return Claim(
        f"{method}: lower loss, held out", SOURCE,
        "rates tuned on some digits make honest predictions of others",
        "cross-entropy on held-out digits untuned minus tuned (nats), above 0 by more than 2 SE",
        *gain, gain.above(0),
    )  # fmt: skip


def _carries_over(dataset: xr.Dataset, method: str) -> Claim:
    own, other = (dataset[name].sel(rates=method) for name in ("test_accuracy", "other_accuracy"))
    lost = over_seeds(own.values - other.values)
    return Claim(
        f"{method}: rates suit other mini-batches", SOURCE,
        "tuned rates are a property of the task, not of the mini-batches they were tuned on",
        "accuracy on held-out digits lost when trained on another seed's mini-batches "
        f"below {LOST} by more than 2 SE",
        *lost, lost.below(LOST),
    )  # fmt: skip


def _baseline(dataset: xr.Dataset, name: str) -> Claim:
    ours = dataset.test_right.sel(rates=NODE).values
    theirs = dataset.baseline_right.sel(baseline=name).values
    gain = over_seeds(ours - theirs.astype(float))
    return Claim(
        f"{NODE} > {name}", SOURCE,
        f"neurashed, tuned, classifies better than scikit-learn's {name.replace(',', ' on')}",
        "difference of accuracy on held-out digits (seeds averaged; SE over the digits) above 0 "
        "by more than 2 SE",
        *gain, gain.above(0),
    )  # fmt: skip
