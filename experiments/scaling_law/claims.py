"""The claims of `scaling_law`: agreement with exact theory, growth exponents, phenomena."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim
from experiments.harness.statistics import Estimate, over_seeds

EXACT = "nsh; exact law"
OURS = "nsh, on the phenomena of arXiv 2112.09741, Section 3"
AXES = ("size", "depth", "sharing", "batch")
LEAST_SIZE, SMALL = 100, 1_000
"""Where exponents are fitted from; and up to where ties in mean growth are common."""
BITS, RATIO = 0.02, 0.01
"""Tolerances for Monte Carlo (of the information) and rounding, where runs hardly differ."""


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Exact theory first, then exponents, then what the phenomena do."""
    sizes = along(dataset, "size")
    return [
        *_survivors(dataset, sizes),
        _growth(dataset),
        _long_run_number(dataset),
        *_typical(sizes),
        _hierarchy(dataset),
        *_limits(dataset, sizes),
        *_exponents(sizes),
        *_phenomena(dataset, sizes),
    ]


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
    return over_seeds(values.values[np.isfinite(values.values)])


def fitted_exponent(x: np.ndarray, values: np.ndarray) -> Estimate:
    """Slope of log mean value against log x; standard error by leaving out one seed at a time.

    `values` [x, seeds]: a seed is left out at all x, so that seeds need not differ between them.
    """

    def slope(of: np.ndarray) -> float:
        return float(np.polyfit(np.log(x), np.log(of.mean(1)), 1)[0])

    seeds = values.shape[1]
    left_out = [slope(np.delete(values, seed, axis=1)) for seed in range(seeds)]
    return Estimate(slope(values), float(np.sqrt((seeds - 1) * np.var(left_out))))


def _survivors(dataset: xr.Dataset, sizes: xr.Dataset) -> list[Claim]:
    step = early(dataset)
    found = []
    for place, size in enumerate(sizes["size"].values):
        now = sizes.isel(condition=place).sel(time=step)
        found.append(_agreement(
            f"survivors, {size:,} nodes", EXACT,
            "a feature survives with the binomial law's chance, whatever the graph",
            f"after {step} steps, share surviving minus the law's for each graph: 0 within 3 SE",
            over_seeds(now.survivors - now.survivors_exact),
        ))  # fmt: skip
    # not at other times: where a survivor is rare, or rarely missing, standard errors mean nothing
    now = dataset.sel(time=step)
    found.append(_largest(
        "survivors, all conditions", EXACT, "the same for every depth, sharing and batch size",
        (now.survivors - now.survivors_exact).rename(condition="at"), 3,
    ))  # fmt: skip
    return found


def _growth(dataset: xr.Dataset) -> Claim:
    last = dataset.isel(time=-1)
    return _largest(
        "mean growth, all conditions", EXACT,
        "mean log growth is T (q log a + (1-q) log b), averaged over the nodes of each graph",
        (last.log_growth - last.log_growth_exact).rename(condition="at"), 3,
    )  # fmt: skip


def _long_run_number(dataset: xr.Dataset) -> Claim:
    single = along(dataset, "size")
    with np.errstate(divide="ignore"):
        ratio = (single.effective_number.isel(time=-1) / single.always).where(single.always > 0)
    found = known(ratio)
    return Claim(
        "features left in the long run", EXACT,
        "in the long run those features are left that fire in every step, where there are any",
        f"effective number at the end / features on all pathways: 1 within {RATIO} or 3 SE",
        *found, found.within_either(1, 3, RATIO),
    )  # fmt: skip


def _typical(sizes: xr.Dataset) -> list[Claim]:
    found = []
    for place, size in enumerate(sizes["size"].values):
        now = sizes.isel(condition=place)
        found.append(_agreement(
            f"final information, {size:,} nodes: typical run", EXACT,
            "the nodes that dominate by exact mean growth decide what the top level tells",
            "final I(top; input) minus that of the run in which every batch comes up as often as "
            f"expected: 0 within 3 SE or {BITS} bits",
            over_seeds(now.input.isel(time=-1) - now.input_typical), BITS,
        ))  # fmt: skip
    small = sizes.isel(condition=sizes["size"] <= SMALL)
    lost = (small.input_typical - small.input.isel(time=-1)).mean("condition")
    found.append(_above(
        "drift breaks ties in small graphs",
        "where nodes tie in mean growth, drift lets one win: less is left than in the typical run",
        f"up to {SMALL:,} nodes, typical minus final I(top; input) above 0 by 2 SE (chosen after "
        "seeing the claims above)", over_seeds(lost),
    ))  # fmt: skip
    change = sizes.log_elasticity_final - sizes.log_elasticity_typical
    found.append(_agreement(
        "final elasticity: typical run", EXACT,
        "the nodes that dominate by exact mean growth decide the local elasticity",
        f"over sizes, final log elasticity ratio minus the typical run's: 0 within 3 SE or {RATIO}",
        known(change.mean("condition")), RATIO,
    ))  # fmt: skip
    return found


def _hierarchy(dataset: xr.Dataset) -> Claim:
    parts = [
        dataset[name] - dataset[f"{name}_limit"]
        for name in ("own_top", "other_top", "within_second")
    ]
    change = xr.concat([part.rename(condition="at") for part in parts], "at")
    return _largest(
        "what fires in random hierarchies", EXACT,
        "exact shares of the top level's own nodes that fire for types of their own class and of "
        "the other, and of level 2's that distinguish two types of a class", change, 4,
    )  # fmt: skip


def _limits(dataset: xr.Dataset, sizes: xr.Dataset) -> list[Claim]:
    largest = sizes.isel(condition=-1)
    count = f"{largest['size'].item():,} nodes"
    nothing_shared = along(dataset, "sharing").isel(condition=0)
    found = []
    for name in ("label", "input"):
        found.append(_agreement(
            f"final information about the {name}, {count}", EXACT,
            "(1 - other)^4 - (1 - own)^4 bits are left: what always fires hides the rest",
            "final information minus the limit of large graphs: 0 within 3 SE",
            over_seeds(largest[name].isel(time=-1) - largest.input_limit),
        ))  # fmt: skip
    for where, now in ((count, largest), ("nothing shared", nothing_shared)):
        found.append(_agreement(
            f"final elasticity, {where}", EXACT,
            "large graphs end with the elasticity of the paths that grow fastest",
            f"log elasticity ratio minus the limit of large graphs: 0 within 3 SE or {RATIO}",
            known(now.log_elasticity_final - now.log_elasticity_limit), RATIO,
        ))  # fmt: skip
    return found


def _exponents(sizes: xr.Dataset) -> list[Claim]:
    sizes = sizes.isel(condition=sizes["size"].values >= min(LEAST_SIZE, sizes["size"].values[-2]))
    x = sizes["size"].values.astype(float)
    found = []
    for title, name, statement in (
        ("features left", "always", "the number of features left in the long run"),
        ("subclasses in level 2", "within_second",
         "the share of level-2 nodes that distinguish types of a class (slope -1/4 in the limit)"),
    ):  # fmt: skip
        fit = fitted_exponent(x, sizes[name].values)
        law = float(np.polyfit(np.log(x), np.log(sizes[f"{name}_limit"].values), 1)[0])
        found.append(Claim(
            f"exponent: {title}", EXACT, f"{statement}: exact slope {law:.3f}",
            f"slope of log mean against log size, from {x[0]:,.0f} nodes on: exact within 3 SE",
            *fit, fit.within(law),
        ))  # fmt: skip
    step = early(sizes)
    fit = fitted_exponent(x, sizes.effective_number.sel(time=step).values)
    found.append(Claim(
        "exponent: features in the middle of training", OURS,
        f"after {step} steps the effective number of features is a fixed share of the nodes",
        "slope of log mean against log size: 1 within 3 SE",
        *fit, fit.within(1),
    ))  # fmt: skip
    return found


def _phenomena(dataset: xr.Dataset, sizes: xr.Dataset) -> list[Claim]:
    found, step = [], early(dataset)
    for place, size in enumerate(sizes["size"].values):
        now = sizes.isel(condition=place)
        best = now.input.isel(time=now.input.mean("seed").argmax("time").item())
        found.append(_above(
            f"compression, {size:,} nodes", "information about the input rises, then falls",
            "I(top; input) at the mean curve's peak minus that at the end above 0 by 2 SE",
            over_seeds(best - now.input.isel(time=-1)),
        ))  # fmt: skip
    for place, size in enumerate(sizes["size"].values):
        found.append(_above(
            f"local elasticity, {size:,} nodes", "inputs of one class move together",
            f"after {step} steps, log elasticity ratio above 0 by 2 SE",
            known(sizes.isel(condition=place).log_elasticity_early),
        ))  # fmt: skip
    last = dataset.isel(time=-1)
    number = along(dataset, "batch").effective_number.sel(time=step)
    steps = [
        over_seeds(change) for change in number.diff("condition").transpose("condition", "seed")
    ]
    found.append(_above(
        "sparsity: small batches", "small batches keep fewer features",
        f"after {step} steps, each larger batch has more (least rise shown) by 2 SE",
        min(steps, key=lambda rise: rise.mean),
    ))  # fmt: skip
    ends = (
        ("label", "batch", 1, "large batches keep information about the label"),
        ("label", "sharing", -1, "sharing costs information about the label"),
        ("label", "size", -1, "large graphs end with less information about the label"),
        ("input", "size", -1, "large graphs end with less information about the input"),
        ("input", "depth", -1, "deep graphs end with less information about the input"),
        ("log_elasticity_final", "batch", 1, "large batches keep local elasticity"),
        ("log_elasticity_final", "sharing", -1, "sharing costs local elasticity"),
        ("log_elasticity_final", "depth", -1, "deep graphs end less locally elastic"),
    )
    for name, axis, sign, statement in ends:
        values = along(last, axis)[name]
        change = known(sign * (values.isel(condition=-1) - values.isel(condition=0)))
        found.append(_above(
            f"{name.removesuffix('_final').replace('_', ' ')} against {axis}", statement,
            f"at the end, largest {axis} against least, in this direction: above 0 by 2 SE", change,
        ))  # fmt: skip
    return found


def _above(name: str, statement: str, criterion: str, found: Estimate) -> Claim:
    return Claim(name, OURS, statement, criterion, *found, found.above(0))


def _agreement(
    name: str, source: str, statement: str, criterion: str, change: Estimate, least: float = 0.0
) -> Claim:
    holds = change.within_either(0, 3, least)
    return Claim(name, source, statement, criterion, *change, holds)


def _largest(name: str, source: str, statement: str, change: xr.DataArray, most: float) -> Claim:
    """The largest of many differences that should be 0, in standard errors."""
    estimates = [over_seeds(one) for one in change.transpose("at", "seed").values]
    sizes = [abs(e.mean) / e.error for e in estimates if e.error > 1e-6]
    return Claim(
        name, source, statement,
        f"largest of {len(sizes)} differences from the exact values: at most {most} SE",
        max(sizes), None, max(sizes) <= most,
    )  # fmt: skip
