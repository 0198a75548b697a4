"""What the experiment on depth over width claims of its data."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim
from experiments.harness.statistics import Estimate, over_seeds

SOURCE = "arXiv 2106.10165"
MODEST = 1.0  # nu r up to which some thousand networks show a variance, and first order means much


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Fluctuations against theory, family by family; what becomes of generalisation."""
    found = []
    for _, one in dataset.groupby("family", squeeze=False):
        one = one.squeeze("family")
        found += [*_fluctuation_claims(one), *_generalisation_claims(one)]
    return [*found, *_comparisons(dataset)]


def _fluctuation_claims(one: xr.Dataset) -> list[Claim]:
    family, complexity = one.family.item(), (one.nu * one.r).values
    modest = complexity <= max(MODEST, complexity[0])
    found = []
    if np.isfinite(one.outputs_exact).all():
        deviation = (np.abs(one.outputs - one.outputs_exact) / one.outputs_error).values[modest]
        found.append(Claim(
            f"{family}: V / K^2 is the exact product", f"{SOURCE}, section 3.4 (linear)",
            "V / K^2 = (1 + nu / n)^layers - 1 at initialisation",
            "largest deviation where nu r <= 1, in standard errors, below 3",
            deviation.max(), None, deviation.max() < 3,
        ))  # fmt: skip
    for name, what in (("outputs", "V / K^2"), ("kernel", "the NTK's (A + 2 B) / Theta^2")):
        ratio = (one[name] / one[f"{name}_theory"]).values - 1
        error = (one[f"{name}_error"] / one[f"{name}_theory"]).values
        excess = (np.abs(ratio) - 3 * error - complexity)[modest]
        worst = np.flatnonzero(modest)[np.argmax(excess)]
        found.append(Claim(
            f"{family}: {what} as theory says", f"{SOURCE}, sections 5.4 and 8.4",
            "to first order in 1 / width; terms left out are of relative order nu r",
            "deviation / theory at most nu r plus 3 SE, where nu r <= 1 (the worst is shown)",
            float(ratio[worst]), float(error[worst]), excess.max() < 0,
        ))  # fmt: skip
    return found


def _generalisation_claims(one: xr.Dataset) -> list[Claim]:
    family, error = one.family.item(), one.error.values
    best = error.mean(-1).argmin()
    rise = _difference(error[-1], error[best])
    nearest = np.argmin(np.abs(np.log(one.r.values / one.best_r.item())))
    others = [i for i in range(len(error)) if i != nearest]
    rival = others[np.argmin(error[others].mean(-1))]
    gain = _difference(error[rival], error[nearest])
    return [
        Claim(
            f"{family}: too deep generalises worse", f"{SOURCE}, appendix A",
            "far above the optimal ratio, fluctuations between networks spoil learning",
            "test error at the largest r minus the least, above 0 by 2 SE",
            *rise, rise.above(0),
        ),
        Claim(
            f"{family}: no depth beats the one nearest r*", f"{SOURCE}, appendix A",
            "r* = 4 / [(20 + 3 n_L) nu] is optimal (of a truncated series; no theorem)",
            "test error of the best other depth minus that nearest r*, not below 0 by 2 SE",
            *gain, gain.at_least(0),
        ),
    ]  # fmt: skip


def _comparisons(dataset: xr.Dataset) -> list[Claim]:
    """At equal r: two widths of one activation; and two activations of one width."""
    found = []
    for a, b in itertools.combinations(range(dataset.sizes["family"]), 2):
        one, two = dataset.isel(family=a), dataset.isel(family=b)
        if one.nu < two.nu:
            one, two = two, one
        pairs = [
            (i, j)
            for (i, r), (j, s) in itertools.product(
                enumerate(one.r.values), enumerate(two.r.values)
            )
            if np.isclose(r, s)
        ]
        names = f"{one.family.item()} and {two.family.item()}"
        change = _difference(
            np.mean([one.error[i] for i, _ in pairs], axis=0),
            np.mean([two.error[j] for _, j in pairs], axis=0),
        )
        if one.nu == two.nu:
            found.append(Claim(
                f"{names}: the same error at equal r", f"{SOURCE}, section 3.4",
                "depth and width matter through their ratio (said of fluctuations, not errors)",
                "difference of test errors, averaged over equal r, within 2 SE of 0",
                *change, change.within(0, 2),
            ))  # fmt: skip
        elif one.width == two.width:
            found.append(Claim(
                f"{names}: the larger nu, the larger error", f"{SOURCE}, section 5.4",
                "nu r counts: of networks of one shape, those of larger nu are worse",
                "difference of test errors, averaged over depths, above 0 by 2 SE",
                *change, change.above(0),
            ))  # fmt: skip
    return found


def _difference(one: np.ndarray, two: np.ndarray) -> Estimate:
    """Mean difference over seeds; of different architectures, so the seeds are not paired."""
    first, second = over_seeds(one), over_seeds(two)
    return Estimate(first.mean - second.mean, float(np.hypot(first.error, second.error)))
