"""What is claimed of crops, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments import rare_features
from experiments.data_augmentation import digits
from experiments.harness.claim import Claim, above, at_least, at_most, beyond, claim

OUTLOOK = "arXiv 2112.09741, Section 4"
LAW = "nsh; exact law of geometric rules"
SEPARATE = "cropping makes a model learn features separately"
SUFFICES = "with crops, each part suffices"
# field, sign, which of the conditions crops are compared with, what is said, what is measured
ON_DIGITS = {
    "one half suffices, more than with scattered pixels": (
        ("half_accuracy", 1, 2, SUFFICES),
        "accuracy on halves, crops minus as many pixels masked at random",
    ),
    "one half suffices, more than with whole images": (
        ("half_accuracy", 1, 0, SUFFICES),
        "accuracy on halves, crops minus whole images",
    ),
    "crops help with whole images": (
        ("accuracy", 1, 0, "augmentation makes a model generalise better"),
        "accuracy on whole images, crops minus no crops",
    ),
    "units keep to one half": (
        ("dependence", 1, 0, SEPARATE),
        "how much units of the last hidden level depend on one half, crops minus whole images",
    ),
    "halves do not move each other": (
        ("elasticity", -1, 0, SEPARATE),
        "local elasticity of one half under an update at the other, crops minus whole images",
    ),
}


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """The model against its law and the outlook; the digits."""
    yield from _laws(dataset)
    yield from _model(dataset)
    yield from _digits(dataset)


def firing(growth: np.ndarray, steps: int, factors: tuple[float, float]) -> np.ndarray:
    """Share of steps in which a factor grew, from what its logarithm gained."""
    grown, shrunk = np.log(factors)
    return (growth / steps - shrunk) / (grown - shrunk)


def deviation(measured: np.ndarray, law: np.ndarray, axis: int, steps: int) -> np.ndarray:
    """Mean firing over seeds minus the law, in exact standard errors of independent steps."""
    seeds = measured.shape[axis]
    # not below what one firing more or less of all would make, and rounding may
    least = 1 / (steps * seeds)
    error = np.maximum(np.sqrt(np.clip(law * (1 - law), 0, None) / (steps * seeds)), least)
    return (measured.mean(axis=axis) - law) / error


def growth(dataset: xr.Dataset) -> xr.DataArray:
    """How much the log amplification of the level-2 nodes grew through training."""
    return dataset.nodes.isel(step=-1) - dataset.nodes.isel(step=0)


def growth_correlation(dataset: xr.Dataset) -> np.ndarray:
    """Of head and tail over seeds, mean of the classes: [batch, crops]."""
    grown = growth(dataset).transpose("batch", "crops", "class", "view", "seed")
    apart = (grown - grown.mean("seed")).values
    both = (apart[..., 1, :] * apart[..., 2, :]).sum(-1)
    size = np.sqrt((apart[..., 1, :] ** 2).sum(-1) * (apart[..., 2, :] ** 2).sum(-1))
    return (both / np.maximum(size, 1e-12)).mean(axis=-1)


def _laws(dataset: xr.Dataset) -> list[Claim]:
    steps, on_digits = int(dataset.step.values[-1]), int(dataset.neurashed_steps)
    share = firing(growth(dataset).values, steps, rare_features.FACTORS)
    worst = abs(deviation(share, dataset.q.values, 2, steps)).max()
    share = firing(dataset.growth.values, on_digits, digits.FACTORS)
    close = (abs(deviation(share, dataset.law.values, 1, on_digits)) < 3).mean()
    law = dataset.correlation.values[0]
    error = (1 - law**2) / np.sqrt(dataset.sizes["seed"] * dataset.sizes["class"])
    off = (abs(growth_correlation(dataset)[0] - law) / np.maximum(error, 1e-3)).max()
    parts = "batch size 1: correlation over seeds of head's and tail's growth"
    return [
        claim("growth follows the law", LAW)
        .says("crops change how often nodes fire, and that is all they change")
        .test("mean firing of a node minus the law's, in SE, largest", worst, at_most(4)),
        claim("growth follows the law, digits", LAW)
        .says("so it is on the rules found in the digits")
        .test("share of nodes (all conditions) within 3 SE of the law", close, at_least(0.97)),
        claim("crops end the lockstep of the parts", LAW)
        .says("head and tail grow in lockstep on whole images, and less so with more crops")
        .test(f"{parts} minus the law's (1 without crops), in SE, largest", off, at_most(4)),
    ]


def _model(dataset: xr.Dataset) -> list[Claim]:
    end, grown = dataset.isel(step=-1, batch=0), growth(dataset).isel(batch=0)
    middle = dataset.sizes["crops"] // 2
    none, half = end.isel(crops=0), end.isel(crops=middle)
    parts = (half.nodes.isel(view=1) + half.nodes.isel(view=2)) / 2
    lead = (parts - half.nodes.isel(view=0)).mean("class")
    carried = (half.carried - none.carried).mean("class")
    more = (grown.isel(crops=middle) - grown.isel(crops=0)).isel(view=slice(1, None))
    gain = more.mean(("class", "view"))
    alone = (half.accuracy - none.accuracy).isel(view=slice(1, None)).mean("view")
    crops = f"batch size 1, {half.crops.item():.0%} crops"
    than_none = f"{crops}, minus no crops"
    logit = "share of a whole image's logit which its parts alone add up to"
    return [
        claim("parts overtake their conjunction", OUTLOOK)
        .says(SEPARATE)
        .test(f"{crops}: log amplification, parts' nodes minus node for both", lead, above(0)),
        claim("parts carry the logit", OUTLOOK)
        .says(SEPARATE)
        .test(f"{than_none}: {logit}", carried, above(0)),
        claim("crops make the parts grow", OUTLOOK)
        .says(SEPARATE)
        .test(f"{than_none}: growth of the parts' nodes", gain, above(0)),
        claim("one part suffices with crops", OUTLOOK)
        .says("with crops, head and tail each suffice for cat")
        .test(f"{than_none}: accuracy on noisy inputs of one part", alone, above(0)),
    ]


def _digits(dataset: xr.Dataset) -> Iterator[Claim]:
    for system in dataset.system.values:
        for name, ((field, sign, other, statement), quantity) in ON_DIGITS.items():
            values = dataset[f"digits_{field}"]
            kind = values.dims[0]
            if system in values[kind]:
                of_system = values.sel({kind: system})
                change = of_system.isel(condition=1) - of_system.isel(condition=other)
                asked = claim(f"{name}, {system}", OUTLOOK).says(statement)
                yield asked.test(f"digits: {quantity}", change, beyond(0, sign))
