"""What the elasticity fit claims."""

from __future__ import annotations

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim
from experiments.harness.statistics import Estimate, over_seeds

SOURCE = "arXiv 2112.09741, Section 3, Figures 5 and 6"
RIVALS = {
    "before the fit": ("fitted rules are better than rules alike for all levels", SOURCE),
    "to target permuted within": ("the fit learns more than the classes of the probes", "nsh"),
    "to target permuted across": ("the fit learns something of these probes", "nsh"),
    "on shuffled edges": ("the graph's edges matter, not only its degrees", "nsh"),
    "same class": ("fitted rules tell more than whether two inputs are of the same class", SOURCE),
    "same pixels": ("fitted rules tell more than the overlap of pixels", "nsh"),
    "other networks": ("fitted rules tell as much as other networks do", SOURCE),
}
LEFT = {
    "all": "the more elastic pairs of neurashed are those of networks",
    "within class": "of pairs of the same class too, so it is not class identity alone",
    "across classes": "of pairs of different classes too, so it is not class identity alone",
    "given class and pixels": "with what being of the same class and overlap of pixels explain "
    "taken out",
}
AS_GOOD = 0.05


def all_claims(dataset: xr.Dataset) -> list[Claim]:
    """The fitted rules against those before, the nulls and simple predictors."""
    rho = dataset.rank_correlation
    return [
        *(_left(rho.sel(predictor="fitted", pairs=pairs)) for pairs in LEFT),
        *(_rival(dataset.sel(pairs="all"), name) for name in RIVALS),
        _rival_within(dataset.sel(pairs="within class")),
    ]


def _excess(at: xr.Dataset, rival: str) -> Estimate:
    """Of the fitted rules over a rival: the error has seeds in it and, of nulls, their draws."""
    rho = at.rank_correlation
    found = over_seeds(rho.sel(predictor="fitted") - rho.sel(predictor=rival))
    if rival not in at.null.values:
        return found
    draws = over_seeds(at.null_rank_correlation.sel(null=rival).mean("seed"))
    return Estimate(found.mean, float(np.hypot(found.error, draws.error)))


def _left(rho: xr.DataArray) -> Claim:
    found, pairs = over_seeds(rho), rho.pairs.item()
    return Claim(
        f"fitted rules, held-out probes: {pairs}", SOURCE, LEFT[pairs],
        f"rank correlation of elasticities with the network's, pairs: {pairs}: above 0 by more "
        "than 2 SE",
        *found, found.above(0),
    )  # fmt: skip


def _rival(at: xr.Dataset, rival: str) -> Claim:
    statement, source = RIVALS[rival]
    excess = _excess(at, rival)
    bound = -AS_GOOD if rival == "other networks" else 0
    return Claim(
        f"fitted against {rival}", source, statement,
        f"rank correlation over all held-out pairs, fitted minus {rival}: above {bound} by more "
        "than 2 SE",
        *excess, excess.above(bound),
    )  # fmt: skip


def _rival_within(at: xr.Dataset) -> Claim:
    excess = _excess(at, "to target permuted within")
    return Claim(
        "fitted against to target permuted within, pairs of the same class", "nsh",
        "the fit learns which inputs of a class are elastic",
        "rank correlation over held-out pairs of the same class, fitted minus that of fits to the "
        "target permuted within classes: above 0 by more than 2 SE",
        *excess, excess.above(0),
    )  # fmt: skip
