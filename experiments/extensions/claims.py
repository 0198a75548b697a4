"""Claims of `experiments.extensions`: each phenomenon in each extension of neurashed."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from experiments.harness.claim import Claim, above, claim
from nsh.measure import estimate

SOURCE = "arXiv 2112.09741, Sections 3 and 4"
PHENOMENA = {
    "regularization": (
        "small batches keep few features: implicit regularization",
        "effective number of features, large minus small batch",
        0.0,
    ),
    "compression": (
        "level 2 forgets about the input late in training: information bottleneck",
        "I(level 2; input), peak of the mean minus end, in bits",
        0.1,
    ),
    "label": (
        "level 2 keeps the label: information bottleneck",
        "I(level 2; label) at the end, in bits",
        0.9,
    ),
    "elasticity": (
        "an update moves inputs of its own class more: local elasticity",
        "local elasticity, (within - across) / (within + across)",
        0.0,
    ),
}
"""By name: what is said, what is measured, and the bound above which it has to be."""


def effects(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """The size of each phenomenon, [way, seed]."""
    features = dataset.effective_features.to_dataset("batch")
    pairs = dataset.elasticity.to_dataset("pairs")
    at_peak = [
        bits.isel(step=int(bits.mean("seed").argmax("step")), drop=True)
        for bits in (dataset.input.sel(way=way) for way in dataset.way)
    ]
    return {
        "regularization": features.large - features.small,
        "compression": xr.concat(at_peak, "way") - dataset.input.isel(step=-1, drop=True),
        "label": dataset.label.isel(step=-1, drop=True),
        "elasticity": (pairs.within - pairs.across) / (pairs.within + pairs.across).clip(1e-30),
    }


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Whether each phenomenon is there in plain neurashed and outlives each extension."""
    for name, effect in effects(dataset).items():
        for variant in dataset.way.values:
            statement, quantity, bound = PHENOMENA[name]
            if variant != "plain":
                change = estimate(effect.sel(way=variant) - effect.sel(way="plain"))
                off = f"{change.mean:.3g} ± {change.standard_error:.1g}"
                statement += f"; does it outlive {variant}?"
                quantity += f" (change from plain: {off})"
            asked = claim(f"{name}, {variant}", SOURCE).says(statement)
            yield asked.test(quantity, effect.sel(way=variant), above(bound))
