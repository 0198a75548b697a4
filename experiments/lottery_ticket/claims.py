"""What the lottery-ticket experiment claims."""

from __future__ import annotations

import xarray as xr

from experiments.harness.claim import Claim
from experiments.harness.statistics import Estimate, over_seeds

OUTLOOK = "arXiv 2112.09741, Section 4"
FRANKLE_CARBIN = "arXiv 1803.03635, Section 2"
AS_GOOD = 0.01  # of accuracy, that may be lost
NULLS = {
    "new start": ("the same part from a new start does worse", FRANKLE_CARBIN),
    "new start, rescaled": ("so it does with each layer's scale that of the ticket", "nsh"),
    "random mask": ("a part chosen at random does worse", FRANKLE_CARBIN),
}


def all_claims(dataset: xr.Dataset) -> list[Claim]:
    """Survivors against their law, and tickets against the whole and against their nulls."""
    sizes, shares = dataset.batch.values, dataset.kept.values
    return [
        *(_law(dataset.sel(batch=size)) for size in sizes),
        _rising(dataset),
        *(_whole(dataset.sel(batch=size)) for size in sizes),
        *(_random(dataset.sel(batch=size)) for size in sizes),
        _start(dataset),
        *_largest_half(dataset),
        *(claim for share in shares for claim in _pruned(dataset.sel(kept=share))),
    ]


def _law(at: xr.Dataset) -> Claim:
    excess = over_seeds(at.survivors - at.survivors_by_law)
    # one seed's worth of count is the least that can be resolved
    excess = Estimate(excess.mean, max(excess.error, 1 / at.sizes["seed"]))
    expected = at.survivors_by_law.mean().item()
    return Claim(
        f"survivors, batch size {at.batch.item()}", OUTLOOK + "; exact binomial law",
        f"{expected:.1f} of {at.nodes.item()} nodes are expected to survive",
        "simulated minus expected count within 3 standard errors of 0",
        *excess, excess.within(0),
    )  # fmt: skip


def _rising(dataset: xr.Dataset) -> Claim:
    rises = [over_seeds(rise) for rise in dataset.survivors.diff("batch")]
    least = min(rises, key=lambda rise: rise.mean)
    return Claim(
        "small batches leave fewer survivors", OUTLOOK,
        "the smaller the mini-batch, the sparser the part that survives",
        "each larger batch has more surviving nodes, by more than 2 SE (least rise shown)",
        *least, least.above(0),
    )  # fmt: skip


def _whole(at: xr.Dataset) -> Claim:
    results = at.accuracy.sel(selection="survivors")
    change = over_seeds(results.sel(part="ticket") - results.sel(part="whole"))
    return Claim(
        f"survivors as good as the whole, batch size {at.batch.item()}", OUTLOOK,
        "the sparse part of neurashed that survives does as well as the whole",
        f"test accuracy, survivors alone minus whole: above -{AS_GOOD} by more than 2 SE",
        *change, change.above(-AS_GOOD),
    )  # fmt: skip


def _random(at: xr.Dataset) -> Claim:
    results = at.accuracy.sel(selection="survivors")
    change = over_seeds(results.sel(part="ticket, new start") - results.sel(part="random part"))
    return Claim(
        f"survivors better than a random part, batch size {at.batch.item()}", "nsh",
        "it is survivors that matter, not how many nodes of each level are left",
        "test accuracy, survivors minus as many random nodes of each level, both from a new "
        "start: above 0 by more than 2 SE",
        *change, change.above(0),
    )  # fmt: skip


def _start(dataset: xr.Dataset) -> Claim:
    results = dataset.accuracy.sel(selection="survivors").mean("batch")
    change = over_seeds(results.sel(part="ticket") - results.sel(part="ticket, new start"))
    return Claim(
        "neurashed: the start does not matter", "nsh",
        "a factor grows by its node's firing alone, whatever it is, so a ticket needs no start of "
        "its own, unlike one of Frankle and Carbin's",
        f"test accuracy, old start minus new one, mean over batch sizes: within {AS_GOOD} of 0 by "
        "more than 2 SE",
        *change, change.surely_within(0, AS_GOOD),
    )  # fmt: skip


def _largest_half(dataset: xr.Dataset) -> list[Claim]:
    results = dataset.accuracy.sel(selection="largest half").mean("batch")
    ticket, new = results.sel(part="ticket"), results.sel(part="ticket, new start")
    whole = over_seeds(ticket - results.sel(part="whole"))
    other = over_seeds(new - results.sel(part="random part"))
    return [
        Claim(
            "most amplified half as good as the whole", OUTLOOK,
            "the half of each level that is amplified most does as well as the whole",
            f"test accuracy, half minus whole, mean over batch sizes: above -{AS_GOOD} by more "
            "than 2 SE",
            *whole, whole.above(-AS_GOOD),
        ),
        Claim(
            "most amplified half better than a random half", "nsh",
            "amplification tells which nodes matter",
            "test accuracy, most amplified minus random half, both from a new start, mean over "
            "batch sizes: above 0 by more than 2 SE",
            *other, other.above(0),
        ),
    ]  # fmt: skip


def _pruned(at: xr.Dataset) -> list[Claim]:
    kept = f"{at.kept.item():.0%} of weights"
    ticket = at.network_accuracy.sel(kind="ticket")
    whole = over_seeds(ticket - at.dense_accuracy)
    found = [
        Claim(
            f"digits, {kept}: ticket as good as the whole", FRANKLE_CARBIN,
            "pruned by magnitude and set back to its start, a network trains to the accuracy of "
            "the whole",
            f"test accuracy, ticket minus whole: above -{AS_GOOD} by more than 2 SE",
            *whole, whole.above(-AS_GOOD),
        )
    ]  # fmt: skip
    for kind, (statement, source) in NULLS.items():
        change = over_seeds(ticket - at.network_accuracy.sel(kind=kind))
        found.append(Claim(
            f"digits, {kept}: ticket better than {kind}", source, statement,
            f"test accuracy, ticket minus {kind}: above 0 by more than 2 SE",
            *change, change.above(0),
        ))  # fmt: skip
    return found
