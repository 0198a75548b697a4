"""The claims of `scaling_law`: agreement with exact theory, growth exponents, phenomena."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim, above, at_most, claim, within, within_either
from nsh.measure import Estimate, estimate

EXACT = "nsh; exact law"
OURS = "nsh, on the phenomena of arXiv 2112.09741, Section 3"
AXES = ("size", "depth", "sharing", "batch")
LEAST_SIZE, SMALL = 100, 1_000
"""Where exponents are fitted from; and up to where ties in mean growth are common."""
HIERARCHY = (
    "exact shares of the top level's own nodes that fire for types of their own class and of the "
    "other, and of level 2's that distinguish two types of a class"
)
DISTINGUISH = (
    "the share of level-2 nodes that distinguish types of a class (slope -1/4 in the limit)"
)
ENDS = (
    ("label", "batch", 1, "large batches keep information about the label"),
    ("label", "sharing", -1, "sharing costs information about the label"),
    ("label", "size", -1, "large graphs end with less information about the label"),
    ("input", "size", -1, "large graphs end with less information about the input"),
    ("input", "depth", -1, "deep graphs end with less information about the input"),
    ("log_elasticity_final", "batch", 1, "large batches keep local elasticity"),
    ("log_elasticity_final", "sharing", -1, "sharing costs local elasticity"),
    ("log_elasticity_final", "depth", -1, "deep graphs end less locally elastic"),
)
"""What is measured at the end, along what, in which direction, and what is said."""
BITS, RATIO = 0.02, 0.01
"""Tolerances for Monte Carlo (of the information) and rounding, where runs hardly differ."""


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Exact theory first, then exponents, then what the phenomena do."""
    sizes = along(dataset, "size")
    yield from _laws(dataset, sizes)
    yield from _typical(sizes)
    yield from _limits(dataset, sizes)
    yield from _exponents(sizes)
    yield from _phenomena(dataset, sizes)


def along(dataset: xr.Dataset, axis: str) -> xr.Dataset:
    """The conditions in which only `axis` is varied, in its order."""
    config = json.loads(dataset.attrs["configuration"])
    base = dict(
        zip(AXES, (config[n] for n in ("size", "depth", "sharing", "batch_size")), strict=True)
    )
    chosen = np.all([dataset[name] == base[name] for name in AXES if name != axis], axis=0)
    return dataset.isel(condition=chosen).sortby(axis)


def early(dataset: xr.Dataset) -> int:
    """The middle of training, in steps."""
    return json.loads(dataset.attrs["configuration"])["early"]


def known(values: xr.DataArray) -> Estimate:
    """Mean over the seeds that have a value."""
    return estimate(values.values[np.isfinite(values.values)])


def fitted_exponent(x: np.ndarray, values: np.ndarray) -> Estimate:
    """Slope of log mean value against log x; standard error by leaving out one seed at a time.

    `values` [x, seeds]: a seed is left out at all x, so that seeds need not differ between them.
    """

    def slope(of: np.ndarray) -> float:
        return float(np.polyfit(np.log(x), np.log(of.mean(1)), 1)[0])

    seeds = values.shape[1]
    left_out = [slope(np.delete(values, seed, axis=1)) for seed in range(seeds)]
    return Estimate(slope(values), np.sqrt((seeds - 1) * np.var(left_out)), seeds)


def _by_size(sizes: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    for index, size in enumerate(sizes["size"].values):
        yield f"{size:,} nodes", sizes.isel(condition=index)


def _laws(dataset: xr.Dataset, sizes: xr.Dataset) -> Iterator[Claim]:
    step, last = early(dataset), dataset.isel(time=-1)
    for nodes, at in _by_size(sizes):
        now = at.sel(time=step)
        excess, quantity = now.survivors - now.survivors_exact, "share surviving minus the law's"
        yield (
            claim(f"survivors, {nodes}", EXACT)
            .says("a feature survives with the binomial law's chance, whatever the graph")
            .test(f"after {step} steps, {quantity} for each graph", excess, within(0))
        )
    # not at other times: where a survivor is rare, or rarely missing, standard errors mean nothing
    now = dataset.sel(time=step)
    yield (
        claim("survivors, all conditions", EXACT)
        .says("the same for every depth, sharing and batch size")
        .test(*_largest(now.survivors - now.survivors_exact), at_most(3))
    )
    yield (
        claim("mean growth, all conditions", EXACT)
        .says("mean log growth is T (q log a + (1-q) log b), averaged over the nodes of each graph")
        .test(*_largest(last.log_growth - last.log_growth_exact), at_most(3))
    )
    with np.errstate(divide="ignore"):
        ratio = (sizes.effective_number.isel(time=-1) / sizes.always).where(sizes.always > 0)
    features, near = "effective number at the end / features on all pathways", within_either
    yield (
        claim("features left in the long run", EXACT)
        .says("in the long run those features are left that fire in every step, if there are any")
        .test(features, known(ratio), near(1, 3, RATIO))
    )
    parts = ("own_top", "other_top", "within_second")
    yield (
        claim("what fires in random hierarchies", EXACT)
        .says(HIERARCHY)
        .test(*_largest(*(dataset[name] - dataset[f"{name}_limit"] for name in parts)), at_most(4))
    )


def _typical(sizes: xr.Dataset) -> Iterator[Claim]:
    run = "that of the run in which every batch comes up as often as expected"
    for nodes, at in _by_size(sizes):
        change = at.input.isel(time=-1) - at.input_typical
        yield (
            claim(f"final information, {nodes}: typical run", EXACT)
            .says("the nodes that dominate by exact mean growth decide what the top level tells")
            .test(f"final I(top; input) (bits) minus {run}", change, within_either(0, 3, BITS))
        )
    small = sizes.isel(condition=sizes["size"] <= SMALL)
    lost = (small.input_typical - small.input.isel(time=-1)).mean("condition")
    quantity = f"up to {SMALL:,} nodes, typical minus final I(top; input)"
    yield (
        claim("drift breaks ties in small graphs", OURS)
        .says("where nodes tie in mean growth, drift lets one win: less is left than typically")
        .test(f"{quantity} (chosen after seeing the claims above)", lost, above(0))
    )
    change = known((sizes.log_elasticity_final - sizes.log_elasticity_typical).mean("condition"))
    quantity = "over sizes, final log elasticity ratio minus the typical run's"
    yield (
        claim("final elasticity: typical run", EXACT)
        .says("the nodes that dominate by exact mean growth decide the local elasticity")
        .test(quantity, change, within_either(0, 3, RATIO))
    )


def _limits(dataset: xr.Dataset, sizes: xr.Dataset) -> Iterator[Claim]:
    (*_, (nodes, largest)), shared = _by_size(sizes), along(dataset, "sharing")
    minus = "minus the limit of large graphs"
    for name in ("label", "input"):
        change = largest[name].isel(time=-1) - largest.input_limit
        yield (
            claim(f"final information about the {name}, {nodes}", EXACT)
            .says("(1 - other)^4 - (1 - own)^4 bits are left: what always fires hides the rest")
            .test(f"final information {minus}", change, within(0))
        )
    for where, now in ((nodes, largest), ("nothing shared", shared.isel(condition=0))):
        change = known(now.log_elasticity_final - now.log_elasticity_limit)
        yield (
            claim(f"final elasticity, {where}", EXACT)
            .says("large graphs end with the elasticity of the paths that grow fastest")
            .test(f"log elasticity ratio {minus}", change, within_either(0, 3, RATIO))
        )


def _exponents(sizes: xr.Dataset) -> Iterator[Claim]:
    sizes = sizes.isel(condition=sizes["size"].values >= min(LEAST_SIZE, sizes["size"].values[-2]))
    x, step = sizes["size"].values.astype(float), early(sizes)
    slope = f"slope of log mean against log size, from {x[0]:,.0f} nodes on"
    for title, name, statement in (
        ("features left", "always", "the number of features left in the long run"),
        ("subclasses in level 2", "within_second", DISTINGUISH),
    ):
        law = float(np.polyfit(np.log(x), np.log(sizes[f"{name}_limit"].values), 1)[0])
        yield (
            claim(f"exponent: {title}", EXACT)
            .says(f"{statement}: exact slope {law:.3f}")
            .test(slope, fitted_exponent(x, sizes[name].values), within(law))
        )
    fit = fitted_exponent(x, sizes.effective_number.sel(time=step).values)
    yield (
        claim("exponent: features in the middle of training", OURS)
        .says(f"after {step} steps the effective number of features is a fixed share of the nodes")
        .test(slope, fit, within(1))
    )


def _phenomena(dataset: xr.Dataset, sizes: xr.Dataset) -> Iterator[Claim]:
    step, last = early(dataset), dataset.isel(time=-1)
    for nodes, now in _by_size(sizes):
        best = now.input.isel(time=now.input.mean("seed").argmax("time").item())
        fall = best - now.input.isel(time=-1)
        yield (
            claim(f"compression, {nodes}", OURS)
            .says("information about the input rises, then falls")
            .test("I(top; input) at the mean curve's peak minus that at the end", fall, above(0))
        )
    for nodes, now in _by_size(sizes):
        ratio = known(now.log_elasticity_early)
        yield (
            claim(f"local elasticity, {nodes}", OURS)
            .says("inputs of one class move together")
            .test(f"after {step} steps, log elasticity ratio", ratio, above(0))
        )
    number = along(dataset, "batch").effective_number.sel(time=step)
    rises = [estimate(rise) for rise in number.diff("condition").transpose("condition", "seed")]
    quantity = f"after {step} steps, larger batch minus next smaller (least rise)"
    yield (
        claim("sparsity: small batches", OURS)
        .says("small batches keep fewer features")
        .test(quantity, min(rises, key=lambda rise: rise.mean), above(0))
    )
    for name, axis, sign, statement in ENDS:
        values = along(last, axis)[name]
        change = known(values.isel(condition=-1) - values.isel(condition=0))
        change = Estimate(sign * change.mean, change.standard_error, change.count)
        order = "largest minus least" if sign > 0 else "least minus largest"
        yield (
            claim(f"{name.removesuffix('_final').replace('_', ' ')} against {axis}", OURS)
            .says(statement)
            .test(f"at the end, {order} {axis}", change, above(0))
        )


def _largest(*changes: xr.DataArray) -> tuple[str, float]:
    """The largest of many differences that should be 0, in standard errors."""
    rows = np.concatenate([change.transpose("condition", "seed").values for change in changes])
    means = [estimate(row) for row in rows]
    sizes = [abs(m.mean) / m.standard_error for m in means if m.standard_error > 1e-6]
    return f"largest of {len(sizes)} differences from the exact values, in SE", max(sizes)
