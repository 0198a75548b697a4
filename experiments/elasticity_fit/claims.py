"""What the elasticity fit claims."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim, above, claim
from nsh.measure import Estimate, estimate

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


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """The fitted rules against those before, the nulls and simple predictors."""
    rho = "rank correlation of elasticities with the network's"
    for pairs, statement in LEFT.items():
        fitted = dataset.rank_correlation.sel(predictor="fitted", pairs=pairs)
        yield (
            claim(f"fitted rules, held-out probes: {pairs}", SOURCE)
            .says(statement)
            .test(f"{rho}, pairs: {pairs}", fitted, above(0))
        )
    for rival, (statement, source) in RIVALS.items():
        bound = -AS_GOOD if rival == "other networks" else 0
        excess = _excess(dataset.sel(pairs="all"), rival)
        yield (
            claim(f"fitted against {rival}", source)
            .says(statement)
            .test(f"{rho}, all held-out pairs, fitted minus {rival}", excess, above(bound))
        )
    rival = "to target permuted within"
    excess = _excess(dataset.sel(pairs="within class"), rival)
    yield (
        claim(f"fitted against {rival}, pairs of the same class", "nsh")
        .says("the fit learns which inputs of a class are elastic")
        .test(f"{rho}, held-out pairs of one class, fitted minus {rival}", excess, above(0))
    )


def _excess(at: xr.Dataset, rival: str) -> Estimate:
    """Of the fitted rules over a rival: the error has seeds in it and, of nulls, their draws."""
    rho = at.rank_correlation
    excess = estimate(rho.sel(predictor="fitted") - rho.sel(predictor=rival))
    if rival not in at.null.values:
        return excess
    draws = estimate(at.null_rank_correlation.sel(null=rival).mean("seed"))
    error = np.hypot(excess.standard_error, draws.standard_error)
    return Estimate(excess.mean, error, excess.count)
