"""Claims of the experiment on repopulation, approximation and bounds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim
from experiments.harness.statistics import Estimate, over_seeds

SURVEY = "arXiv 2012.13982, feature repopulation"
OPTIMAL = "arXiv 1910.11508"
BARRON = "arXiv 1906.08039"
MOHRI = "Foundations of Machine Learning (2018), Theorem 3.3"
CONTRACTION = "Understanding Machine Learning (2014), Lemma 26.9"
LAWS = {"own": "its own law", "optimal": "p*", "start": "the start's law"}
LAYERS = {"u": "random features", "both": "both layers trained"}


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Samples, alternation, bounds."""
    return [*_of_samples(dataset), *_of_alternation(dataset), *_of_bounds(dataset)]


def _of_samples(dataset: xr.Dataset) -> list[Claim]:
    found = []
    for law, name in LAWS.items():
        square = dataset.square.sel(law=law)
        errors = square.std("draw", ddof=1) / np.sqrt(dataset.sizes["draw"])
        worst = float(np.abs((square.mean("draw") - dataset.exact.sel(law=law)) / errors).max())
        found.append(Claim(
            f"m E|f_m − f|² of units drawn from {name}", SURVEY,
            "the squared error of m independent units is an exact variance over m",
            "at every m within 3 SE of the exact value (measured: largest distance in SE)",
            worst, None, worst <= 3,
        ))  # fmt: skip
        few, many = (over_seeds(square.isel(unit=place)) for place in (0, -1))
        decades = np.log(dataset.unit.values[-1] / dataset.unit.values[0])
        error = np.hypot(few.error / few.mean, many.error / many.mean) / decades
        slope = Estimate(float(np.log(many.mean / few.mean) / decades), float(error))
        found.append(Claim(
            f"1/m: m E|f_m − f|² does not depend on m, {name}", SURVEY,
            "the error of m units is O(1/m)",
            "log-log slope in m between the least and the most units 0 within 3 SE",
            *slope, slope.within(0),
        ))  # fmt: skip
    bound, optimal = float(dataset.exact_bound), float(dataset.exact.sel(law="optimal"))
    found.append(Claim(
        "path norm bounds the variance of p*", BARRON,
        "a network of path norm Q is within L² Q² λ / m of one of m units",
        "bound over exact variance of p* at least 1 (measured: how loose)",
        bound / optimal, None, bound >= optimal,
    ))  # fmt: skip
    return found


def _of_alternation(dataset: xr.Dataset) -> list[Claim]:
    found, end = [], dataset.isel(step=-1)
    cases = [("u", f"width {width}", end.u_test.sel(width=width)) for width in end.width.values]
    cases.append(("both", f"width {end.width.values[-1]}", end.both_test))
    for layers, width, test in cases:
        plain = [test.sel(way=way) for way in ("plain", "plain, no decay")]
        best = min(plain, key=lambda values: float(values.mean()))
        gain = over_seeds(best - test.sel(way="alternating"))
        found.append(Claim(
            f"alternation learns better: {LAYERS[layers]}, {width}", SURVEY,
            "repopulation moves features to where the target needs them",
            "test error of plain training (the better of decay and none) minus that of "
            "alternation, as many steps, above 0 by 2 SE",
            *gain, gain.above(0),
        ))  # fmt: skip
    widest = end.u_test.isel(width=-1)
    gain = over_seeds(widest.sel(way="alternating, no jitter") - widest.sel(way="alternating"))
    found.append(Claim(
        "copies have to be set apart: random features", "this package",
        "copies of a unit add no feature",
        "test error without jitter minus that with it above 0 by 2 SE",
        *gain, gain.above(0),
    ))  # fmt: skip
    ratio = {}
    for layers, own, best in (
        ("u", end.u_variance.isel(width=-1), end.u_optimal.isel(width=-1)),
        ("both", end.both_variance, end.both_optimal),
    ):
        ratio[layers] = own.sel(way="plain") / best.sel(way="plain")
        excess = over_seeds(ratio[layers])
        found.append(Claim(
            f"p* has the least variance: {LAYERS[layers]}", SURVEY,
            "of all laws, p* represents the network with the least variance",
            "plain training: variance of the units' own law over that of p* above 1 by 2 SE",
            *excess, excess.above(1),
        ))  # fmt: skip
        gain = over_seeds(own.sel(way="plain") / own.sel(way="alternating"))
        found.append(Claim(
            f"alternation makes representations efficient: {LAYERS[layers]}", SURVEY,
            "repopulated networks represent their function with less variance",
            "variance of units drawn after plain training over after alternation above 1 by 2 SE",
            *gain, gain.above(1),
        ))  # fmt: skip
    change = over_seeds(ratio["u"] - ratio["both"])
    found.append(Claim(
        "plain descent makes its own law near optimal", OPTIMAL,
        "noisy, regularised descent leads to nearly optimal features (plain descent, as here, "
        "does not meet the conditions)",
        "variance over that of p*: of random features minus of both layers trained above 0 by 2 SE",
        *change, change.above(0),
    ))  # fmt: skip
    return found


def _of_bounds(dataset: xr.Dataset) -> list[Claim]:
    most = dataset.isel(n=-1)
    within = dataset.gap <= dataset.gap_bound
    looseness = float(most.gap_bound.mean() / np.abs(most.gap.mean()))
    share = float(within.mean())
    bound = over_seeds(most.gap_bound)
    signs = dataset.rademacher.mean("data") / dataset.rademacher_bound.mean("data")
    both = dataset.deviation.mean("data") / (2 * dataset.rademacher.mean("data"))
    return [
        Claim(
            "the generalisation bound is valid", MOHRI,
            "risk minus training error is below the bound with probability 0.95",
            "share of all data sets with gap below the bound at least 0.95",
            share, None, share >= 0.95,
        ),
        Claim(
            "the generalisation bound is within a factor of 10", MOHRI,
            "(a bound may be loose)",
            "bound over mean measured gap at the largest n below 10",
            looseness, None, looseness < 10,
        ),
        Claim(
            "the generalisation bound says something", MOHRI,
            "(the loss is at most 1, so that a larger bound says nothing)",
            "bound at the largest n below 1 by 2 SE",
            *bound, bound.below(1),
        ),
        Claim(
            "contraction: bound on the Rademacher complexity", CONTRACTION,
            "complexity at path norm 1 is at most 2 L sqrt(mean |x|² / n)",
            "Monte Carlo over signs, over the bound, at most 1 at every n (measured: largest)",
            float(signs.max()), None, float(signs.max()) <= 1,
        ),
        Claim(
            "symmetrisation: means of units against twice the complexity", MOHRI,
            "the largest deviation of a mean over the class is at most twice its complexity, "
            "on average",
            "deviation over all units of norm 1, over twice the complexity, at most 1 at every n",
            float(both.max()), None, float(both.max()) <= 1,
        ),
    ]  # fmt: skip
