"""Claims of the experiment on repopulation, approximation and bounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim, above, at_least, at_most, below, claim, within
from nsh.measure import Estimate, estimate

SURVEY = "arXiv 2012.13982, feature repopulation"
OPTIMAL = "arXiv 1910.11508"
BARRON = "arXiv 1906.08039"
MOHRI = "Foundations of Machine Learning (2018), Theorem 3.3"
CONTRACTION = "Understanding Machine Learning (2014), Lemma 26.9"
LAWS = {"own": "its own law", "optimal": "p*", "start": "the start's law"}
LAYERS = {"u": "random features", "both": "both layers trained"}
NEAR_OPTIMAL = (
    "noisy, regularised descent leads to nearly optimal features (plain descent, as here, does not "
    "meet the conditions)"
)


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Samples, alternation, bounds."""
    yield from _of_samples(dataset)
    yield from _of_alternation(dataset.isel(step=-1))
    yield from _of_variance(dataset.isel(step=-1))
    yield from _of_bounds(dataset)


def _of_samples(dataset: xr.Dataset) -> Iterator[Claim]:
    for law, name in LAWS.items():
        square = dataset.square.sel(law=law).transpose("draw", "unit").values
        sizes, exact = estimate(square, 0), dataset.exact.sel(law=law).item()
        worst = np.abs((sizes.mean - exact) / sizes.standard_error).max()
        yield (
            claim(f"m E|f_m − f|² of units drawn from {name}", SURVEY)
            .says("the squared error of m independent units is an exact variance over m")
            .test("difference from the exact value, in SE, largest of all m", worst, at_most(3))
        )
        (few, many), errors = sizes.mean[[0, -1]], (sizes.standard_error / sizes.mean)[[0, -1]]
        decades = np.log(dataset.unit.values[-1] / dataset.unit.values[0])
        slope = Estimate(np.log(many / few) / decades, np.hypot(*errors) / decades, sizes.count)
        yield (
            claim(f"1/m: m E|f_m − f|² does not depend on m, {name}", SURVEY)
            .says("the error of m units is O(1/m)")
            .test("log-log slope in m between the least and the most units", slope, within(0))
        )
    loose = dataset.exact_bound.item() / dataset.exact.sel(law="optimal").item()
    yield (
        claim("path norm bounds the variance of p*", BARRON)
        .says("a network of path norm Q is within L² Q² λ / m of one of m units")
        .test("bound over exact variance of p*", loose, at_least(1))
    )


def _of_alternation(end: xr.Dataset) -> Iterator[Claim]:
    cases = [("u", width, end.u_test.sel(width=width)) for width in end.width.values]
    for layers, width, test in (*cases, ("both", end.width.values[-1], end.both_test)):
        plain = [test.sel(way=way) for way in ("plain", "plain, no decay")]
        best = min(plain, key=lambda values: float(values.mean()))
        gain = best - test.sel(way="alternating")
        yield (
            claim(f"alternation learns better: {LAYERS[layers]}, width {width}", SURVEY)
            .says("repopulation moves features to where the target needs them")
            .test(
                "test error after as many steps, plain training (the better of decay and none) "
                "minus alternation",
                gain,
                above(0),
            )
        )
    widest = end.u_test.isel(width=-1)
    gain = widest.sel(way="alternating, no jitter") - widest.sel(way="alternating")
    yield (
        claim("copies have to be set apart: random features", "this package")
        .says("copies of a unit add no feature")
        .test("test error without jitter minus that with it", gain, above(0))
    )


def _of_variance(end: xr.Dataset) -> Iterator[Claim]:
    ratio, wide = {}, end.isel(width=-1)
    for layers, own, best in (
        ("u", wide.u_variance, wide.u_optimal),
        ("both", end.both_variance, end.both_optimal),
    ):
        ratio[layers] = own.sel(way="plain") / best.sel(way="plain")
        gain = own.sel(way="plain") / own.sel(way="alternating")
        yield (
            claim(f"p* has the least variance: {LAYERS[layers]}", SURVEY)
            .says("of all laws, p* represents the network with the least variance")
            .test("plain training: variance, own law over p*", ratio[layers], above(1))
        )
        yield (
            claim(f"alternation makes representations efficient: {LAYERS[layers]}", SURVEY)
            .says("repopulated networks represent their function with less variance")
            .test("variance of units drawn, plain over alternating training", gain, above(1))
        )
    change = ratio["u"] - ratio["both"]
    yield (
        claim("plain descent makes its own law near optimal", OPTIMAL)
        .says(NEAR_OPTIMAL)
        .test("variance over that of p*, random features minus both layers", change, above(0))
    )


def _of_bounds(dataset: xr.Dataset) -> list[Claim]:
    most = dataset.isel(n=-1)
    share = (dataset.gap <= dataset.gap_bound).mean()
    loose = most.gap_bound.mean() / np.abs(most.gap.mean())
    signs = dataset.rademacher.mean("data") / dataset.rademacher_bound.mean("data")
    both = dataset.deviation.mean("data") / (2 * dataset.rademacher.mean("data"))
    deviation = "deviation over all units of norm 1, over twice the complexity, largest of all n"
    return [
        claim("the generalisation bound is valid", MOHRI)
        .says("risk minus training error is below the bound with probability 0.95")
        .test("share of all data sets with gap below the bound", share, at_least(0.95)),
        claim("the generalisation bound is within a factor of 10", MOHRI)
        .says("(a bound may be loose)")
        .test("bound over mean measured gap at the largest n", loose, below(10)),
        claim("the generalisation bound says something", MOHRI)
        .says("(the loss is at most 1, so that a larger bound says nothing)")
        .test("bound at the largest n", most.gap_bound, below(1)),
        claim("contraction: bound on the Rademacher complexity", CONTRACTION)
        .says("complexity at path norm 1 is at most 2 L sqrt(mean |x|² / n)")
        .test("Monte Carlo over signs, over the bound, largest of all n", signs.max(), at_most(1)),
        claim("symmetrisation: means of units against twice the complexity", MOHRI)
        .says(
            "the largest deviation of a mean over the class is at most twice its complexity, "
            "on average"
        )
        .test(deviation, both.max(), at_most(1)),
    ]
