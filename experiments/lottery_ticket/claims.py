"""What the lottery-ticket experiment claims."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from experiments.harness.claim import Claim, above, claim, surely_within, within
from nsh.measure import Estimate, estimate

OUTLOOK = "arXiv 2112.09741, Section 4"
FRANKLE_CARBIN = "arXiv 1803.03635, Section 2"
AS_GOOD = 0.01  # of accuracy, that may be lost
NULLS = {
    "new start": ("the same part from a new start does worse", FRANKLE_CARBIN),
    "new start, rescaled": ("so it does with each layer's scale that of the ticket", "nsh"),
    "random mask": ("a part chosen at random does worse", FRANKLE_CARBIN),
}
START = (
    "a factor grows by its node's firing alone, whatever it is, so a ticket needs no start of its "
    "own, unlike one of Frankle and Carbin's"
)
OVER_SIZES = "test accuracy, mean over batch sizes"
RETRAINED = (
    "pruned by magnitude and set back to its start, a network trains to the accuracy of the whole"
)


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Survivors against their law, and tickets against the whole and against their nulls."""
    for size in dataset.batch.values:
        yield from _of_survivors(dataset.sel(batch=size))
    yield from _over_batch_sizes(dataset)
    for share in dataset.kept.values:
        yield from _of_pruned(dataset.sel(kept=share))


def _of_survivors(at: xr.Dataset) -> list[Claim]:
    size, expected = f"batch size {at.batch.item()}", at.survivors_by_law.mean().item()
    excess = estimate(at.survivors - at.survivors_by_law)
    # one seed's worth of count is the least that can be resolved
    excess = Estimate(excess.mean, max(excess.standard_error, 1 / excess.count), excess.count)
    part = _by_part(at, "survivors")
    loss = part["ticket"] - part["whole"]
    gain = part["ticket, new start"] - part["random part"]
    return [
        claim(f"survivors, {size}", f"{OUTLOOK}; exact binomial law")
        .says(f"{expected:.1f} of {at.nodes.item()} nodes are expected to survive")
        .test("simulated minus expected count", excess, within(0)),
        claim(f"survivors as good as the whole, {size}", OUTLOOK)
        .says("the sparse part of neurashed that survives does as well as the whole")
        .test("test accuracy, survivors alone minus whole", loss, above(-AS_GOOD)),
        claim(f"survivors better than a random part, {size}", "nsh")
        .says("it is survivors that matter, not how many nodes of each level are left")
        .test("test accuracy, survivors minus random part, both newly started", gain, above(0)),
    ]


def _over_batch_sizes(dataset: xr.Dataset) -> list[Claim]:
    rises = [estimate(rise) for rise in dataset.survivors.diff("batch")]
    least = min(rises, key=lambda rise: rise.mean)
    survivors, half = (_by_part(dataset, name).mean("batch") for name in dataset.selection.values)
    change = survivors["ticket"] - survivors["ticket, new start"]
    loss = half["ticket"] - half["whole"]
    gain = half["ticket, new start"] - half["random part"]
    return [
        claim("small batches leave fewer survivors", OUTLOOK)
        .says("the smaller the mini-batch, the sparser the part that survives")
        .test("surviving nodes, larger batch minus next smaller (least rise)", least, above(0)),
        claim("neurashed: the start does not matter", "nsh")
        .says(START)
        .test(f"{OVER_SIZES}, old start minus new one", change, surely_within(0, AS_GOOD)),
        claim("most amplified half as good as the whole", OUTLOOK)
        .says("the half of each level that is amplified most does as well as the whole")
        .test(f"{OVER_SIZES}, half minus whole", loss, above(-AS_GOOD)),
        claim("most amplified half better than a random half", "nsh")
        .says("amplification tells which nodes matter")
        .test(f"{OVER_SIZES}, half minus random half, both newly started", gain, above(0)),
    ]


def _of_pruned(at: xr.Dataset) -> Iterator[Claim]:
    digits = f"digits, {at.kept.item():.0%} of weights"
    accuracy = at.network_accuracy.to_dataset("kind")
    loss = accuracy.ticket - at.dense_accuracy
    yield (
        claim(f"{digits}: ticket as good as the whole", FRANKLE_CARBIN)
        .says(RETRAINED)
        .test("test accuracy, ticket minus whole", loss, above(-AS_GOOD))
    )
    for kind, (statement, source) in NULLS.items():
        yield (
            claim(f"{digits}: ticket better than {kind}", source)
            .says(statement)
            .test(f"test accuracy, ticket minus {kind}", accuracy.ticket - accuracy[kind], above(0))
        )


def _by_part(at: xr.Dataset, selection: str) -> xr.Dataset:
    """Test accuracy of each part."""
    return at.accuracy.sel(selection=selection).to_dataset("part")
