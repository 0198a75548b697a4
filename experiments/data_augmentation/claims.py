"""What is claimed of crops, and whether it holds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from experiments.data_augmentation.digits import CONDITIONS
from experiments.data_augmentation.digits import DECAY as SLOW_DECAY
from experiments.data_augmentation.digits import GROWTH as FAST_GROWTH
from experiments.harness.claim import Claim
from experiments.harness.statistics import over_seeds
from experiments.rare_features import DECAY, GROWTH

OUTLOOK = "arXiv 2112.09741, Section 4"
LAW = "nsh; exact law of geometric rules"
SEPARATE = "cropping makes a model learn features separately"


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The model against its law and the outlook; the digits."""
    return [*_laws(dataset), *_model(dataset), *_digits(dataset)]


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


def growth_correlation(dataset: xr.Dataset) -> np.ndarray:
    """Of head and tail over seeds, mean of the classes: [batch, crops]."""
    growth = (dataset.nodes.isel(step=-1) - dataset.nodes.isel(step=0)).transpose(
        "batch", "crops", "class", "view", "seed"
    )
    apart = (growth - growth.mean("seed")).values
    both = (apart[..., 1, :] * apart[..., 2, :]).sum(-1)
    size = np.sqrt((apart[..., 1, :] ** 2).sum(-1) * (apart[..., 2, :] ** 2).sum(-1))
    return (both / np.maximum(size, 1e-12)).mean(axis=-1)


def _laws(dataset: xr.Dataset) -> list[Claim]:
    steps = int(dataset.step.values[-1])
    growth = (dataset.nodes.isel(step=-1) - dataset.nodes.isel(step=0)).values
    share = firing(growth, steps, (GROWTH, DECAY))
    worst = float(abs(deviation(share, dataset.q.values, 2, steps)).max())
    on_digits = int(dataset.neurashed_steps)
    share = firing(dataset.growth.values, on_digits, (FAST_GROWTH, SLOW_DECAY))
    within = float((abs(deviation(share, dataset.law.values, 1, on_digits)) < 3).mean())
    found, law = growth_correlation(dataset)[0], dataset.correlation.values[0]
    error = (1 - law**2) / np.sqrt(dataset.sizes["seed"] * dataset.sizes["class"])
    off = float((abs(found - law) / np.maximum(error, 1e-3)).max())
    return [
        Claim(
            "growth follows the law", LAW,
            "crops change how often nodes fire, and that is all they change",
            "largest deviation of a node's mean firing from the law, over all batch sizes and "
            "shares of crops: at most 4 standard errors",
            worst, None, worst <= 4,
        ),
        Claim(
            "growth follows the law, digits", LAW,
            "so it is on the rules found in the digits",
            "share of nodes (in all conditions) within 3 standard errors of the law: at least 97%",
            within, None, within >= 0.97,
        ),
        Claim(
            "crops end the lockstep of the parts", LAW,
            "head and tail grow in lockstep on whole images, and less so with more crops",
            "batch size 1: largest deviation of the correlation (over seeds) of head's and tail's "
            "growth from the law (1 without crops): at most 4 standard errors",
            off, None, off <= 4,
        ),
    ]  # fmt: skip


def _model(dataset: xr.Dataset) -> list[Claim]:
    end = dataset.isel(step=-1, batch=0)
    none, half = end.isel(crops=0), end.isel(crops=dataset.sizes["crops"] // 2)
    share = half.crops.item()
    parts = (half.nodes.isel(view=1) + half.nodes.isel(view=2)) / 2
    lead = over_seeds((parts - half.nodes.isel(view=0)).mean("class"))
    change = half.carried - none.carried
    carried = over_seeds(change.mean("class"))
    growth = (dataset.nodes.isel(step=-1, batch=0) - dataset.nodes.isel(step=0, batch=0)).isel(
        view=slice(1, None)
    )
    gain = over_seeds((growth.sel(crops=share) - growth.isel(crops=0)).mean(("class", "view")))
    before, after = none.accuracy.isel(view=slice(1, None)), half.accuracy.isel(view=slice(1, None))
    alone = over_seeds((after - before).mean("view"))
    words = f"batch size 1, {share:.0%} crops"
    return [
        Claim(
            "parts overtake their conjunction", OUTLOOK, SEPARATE,
            f"{words}: log amplification of the parts' nodes minus that of the node for both, "
            "above 0 by 2 SE",
            *lead, lead.above(0),
        ),
        Claim(
            "parts carry the logit", OUTLOOK, SEPARATE,
            f"{words}, minus no crops: share of a whole image's logit which its parts alone "
            "add up to; above 0 by 2 SE",
            *carried, carried.above(0),
        ),
        Claim(
            "crops make the parts grow", OUTLOOK, SEPARATE,
            f"{words}, minus no crops: growth of the parts' nodes above 0 by 2 SE",
            *gain, gain.above(0),
        ),
        Claim(
            "one part suffices with crops", OUTLOOK,
            "with crops, head and tail each suffice for cat",
            f"{words}, minus no crops: accuracy on noisy inputs of one part, above 0 by 2 SE",
            *alone, alone.above(0),
        ),
    ]  # fmt: skip


def _digits(dataset: xr.Dataset) -> list[Claim]:
    whole, crops, scattered = (dataset.sel(condition=name) for name in CONDITIONS)
    found = []
    tests = {
        "one half suffices, more than with scattered pixels": (
            "half_accuracy", 1, scattered, "with crops, each part suffices",
            "accuracy on halves, crops minus as many pixels masked at random",
        ),
        "one half suffices, more than with whole images": (
            "half_accuracy", 1, whole, "with crops, each part suffices",
            "accuracy on halves, crops minus whole images",
        ),
        "crops help with whole images": (
            "accuracy", 1, whole, "augmentation makes a model generalise better",
            "accuracy on whole images, crops minus no crops",
        ),
        "units keep to one half": (
            "dependence", 1, whole, SEPARATE,
            "how much a unit of the last hidden level depends on one half alone, crops minus whole "
            "images",
        ),
        "halves do not move each other": (
            "elasticity", -1, whole, SEPARATE,
            "local elasticity of one half under an update at the other, crops minus whole images",
        ),
    }  # fmt: skip
    for system in dataset.system.values:
        for name, (field, sign, other, statement, measure) in tests.items():
            values = (crops - other)[f"digits_{field}"]
            kind = values.dims[0]
            if system not in values[kind]:
                continue
            shown = over_seeds(values.sel({kind: system}))
            words = "above" if sign > 0 else "below"
            found.append(Claim(
                f"{name}, {system}", OUTLOOK, statement,
                f"digits: {measure}: {words} 0 by 2 SE",
                *shown, shown.beyond(0, sign),
            ))  # fmt: skip
    return found
