"""Claims of `experiments.extensions`: each phenomenon in each extension of neurashed."""

from __future__ import annotations

import xarray as xr

from experiments.harness.claim import Claim
from experiments.harness.statistics import over_seeds

SOURCE = "arXiv 2112.09741, Sections 3 and 4"
PHENOMENA = {
    "regularization": (
        "small batches keep few features: implicit regularization",
        "effective number of features, large minus small batch: above 0 by more than 2 SE",
        0.0,
    ),
    "compression": (
        "level 2 forgets about the input late in training: information bottleneck",
        "I(level 2; input), peak of the mean minus end: above 0.1 bits by more than 2 SE",
        0.1,
    ),
    "label": (
        "level 2 keeps the label: information bottleneck",
        "I(level 2; label) at the end: above 0.9 bits by more than 2 SE",
        0.9,
    ),
    "elasticity": (
        "an update moves inputs of its own class more: local elasticity",
        "local elasticity, (within - across) / (within + across): above 0 by more than 2 SE",
        0.0,
    ),
}
"""By name: what is said, the test, and its bound."""


def effects(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """The size of each phenomenon, [way, seed]."""
    features = dataset.effective_features
    within, across = (
        dataset.elasticity.sel(pairs=pairs, drop=True) for pairs in ("within", "across")
    )
    at_peak = [
        bits.isel(step=int(bits.mean("seed").argmax("step")), drop=True)
        for bits in (dataset.input.sel(way=way) for way in dataset.way)
    ]
    return {
        "regularization": features.sel(batch="large", drop=True)
        - features.sel(batch="small", drop=True),
        "compression": xr.concat(at_peak, "way") - dataset.input.isel(step=-1, drop=True),
        "label": dataset.label.isel(step=-1, drop=True),
        "elasticity": (within - across) / (within + across).clip(1e-30),
    }


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Whether each phenomenon is there in plain neurashed and outlives each extension."""
    return [
        _survives(name, str(way), effect)
        for name, effect in effects(dataset).items()
        for way in dataset.way.values
    ]


def _survives(name: str, way: str, effect: xr.DataArray) -> Claim:
    statement, criterion, bound = PHENOMENA[name]
    found = over_seeds(effect.sel(way=way))
    if way != "plain":
        change = over_seeds(effect.sel(way=way) - effect.sel(way="plain"))
        criterion += f" (change from plain: {change.mean:.3g} ± {change.error:.1g})"
        statement += f"; does it outlive {way}?"
    return Claim(f"{name}, {way}", SOURCE, statement, criterion, *found, found.above(bound))
