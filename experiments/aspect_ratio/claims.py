"""What the experiment on depth over width claims of its data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim, above, at_least, below, claim, within
from nsh.measure import Estimate, estimate

SOURCE = "arXiv 2106.10165"
MODEST = 1.0  # nu r up to which some thousand networks show a variance, and first order means much


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Fluctuations against theory, family by family; what becomes of generalisation."""
    for _, one in dataset.groupby("family", squeeze=False):
        yield from _fluctuations(one.squeeze("family"))
        yield from _generalisation(one.squeeze("family"))
    for a, b in itertools.combinations(range(dataset.sizes["family"]), 2):
        yield from _comparison(dataset.isel(family=a), dataset.isel(family=b))


def _fluctuations(one: xr.Dataset) -> Iterator[Claim]:
    family, complexity = one.family.item(), (one.nu * one.r).values
    modest = complexity <= max(MODEST, complexity[0])
    if np.isfinite(one.outputs_exact).all():
        off = (np.abs(one.outputs - one.outputs_exact) / one.outputs_error).values[modest]
        yield (
            claim(f"{family}: V / K^2 is the exact product", f"{SOURCE}, section 3.4 (linear)")
            .says("V / K^2 = (1 + nu / n)^layers - 1 at initialisation")
            .test("largest deviation where nu r <= 1, in standard errors", off.max(), below(3))
        )
    for name, what in (("outputs", "V / K^2"), ("kernel", "the NTK's (A + 2 B) / Theta^2")):
        ratio = (one[name] / one[f"{name}_theory"]).values - 1
        error = (one[f"{name}_error"] / one[f"{name}_theory"]).values
        excess = (np.abs(ratio) - 3 * error - complexity)[modest]
        worst = np.flatnonzero(modest)[np.argmax(excess)]
        found = Estimate(ratio[worst], error[worst], 1)
        yield (
            claim(f"{family}: {what} as theory says", f"{SOURCE}, sections 5.4 and 8.4")
            .says("to first order in 1 / width; terms left out are of relative order nu r")
            .test(
                "deviation / theory where nu r <= 1, tolerance nu r",
                found,
                within(0, 3, complexity[worst]).of_worst(),
            )
        )


def _generalisation(one: xr.Dataset) -> list[Claim]:
    family, error = one.family.item(), one.error.values
    rise = _difference(error[-1], error[error.mean(-1).argmin()])
    nearest = np.argmin(np.abs(np.log(one.r.values / one.best_r.item())))
    others = [i for i in range(len(error)) if i != nearest]
    rival = others[np.argmin(error[others].mean(-1))]
    gain = _difference(error[rival], error[nearest])
    return [
        claim(f"{family}: too deep generalises worse", f"{SOURCE}, appendix A")
        .says("far above the optimal ratio, fluctuations between networks spoil learning")
        .test("test error at the largest r minus the least", rise, above(0)),
        claim(f"{family}: no depth beats the one nearest r*", f"{SOURCE}, appendix A")
        .says("r* = 4 / [(20 + 3 n_L) nu] is optimal (of a truncated series; no theorem)")
        .test("test error of the best other depth minus that nearest r*", gain, at_least(0)),
    ]


def _comparison(one: xr.Dataset, two: xr.Dataset) -> Iterator[Claim]:
    """At equal r: two widths of one activation; or two activations of one width."""
    if one.nu < two.nu:
        one, two = two, one
    at_one, at_two = np.nonzero(np.isclose(one.r.values[:, None], two.r.values))
    change = _difference(one.error.values[at_one].mean(0), two.error.values[at_two].mean(0))
    names = f"{one.family.item()} and {two.family.item()}"
    if one.nu == two.nu:
        yield (
            claim(f"{names}: the same error at equal r", f"{SOURCE}, section 3.4")
            .says("depth and width matter through their ratio (said of fluctuations, not errors)")
            .test("difference of test errors, averaged over equal r", change, within(0, 2))
        )
    elif one.width == two.width:
        yield (
            claim(f"{names}: the larger nu, the larger error", f"{SOURCE}, section 5.4")
            .says("nu r counts: of networks of one shape, those of larger nu are worse")
            .test("difference of test errors, averaged over depths", change, above(0))
        )


def _difference(one: np.ndarray, two: np.ndarray) -> Estimate:
    """Mean difference over seeds; of different architectures, so the seeds are not paired."""
    first, second = estimate(one), estimate(two)
    error = np.hypot(first.standard_error, second.standard_error)
    return Estimate(first.mean - second.mean, error, first.count)
