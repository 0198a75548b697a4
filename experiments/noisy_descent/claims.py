"""What the theory says of noisy gradient descent, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim, above, at_least, at_most, claim, within
from nsh.measure import Estimate, estimate

PAPER = "Fang, Dong, Zhang, arXiv 2012.13982, mean-field view"
KOLMOGOROV = 0.8687  # mean of sqrt(m) times the largest difference of distribution functions
SETTLED = 0.6  # share of a run that is left out of averages over the law at rest
MOMENTS = {"u_square": "E u²", "theta_square": "E θ²", "amplitude": "outputs"}


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Moments, marginals, free energy, convexity."""
    for name, label in MOMENTS.items():
        exact, rest = dataset[f"gibbs_{name}"].item(), extrapolated(dataset, name)
        ratio = Estimate(rest.mean / exact, rest.standard_error / exact, rest.count)
        quantity = "time average at rest, extrapolated to learning rate 0, over Gibbs"
        yield (
            claim(f"{label} of particles at rest: Gibbs", PAPER)
            .says("noisy gradient descent converges to the Gibbs law")
            .test(quantity, ratio, within(1))
        )
    for name, other in (("u", "theta"), ("theta", "u")):
        places = dataset[f"end_{name}"].transpose("seed", "particle").values
        law = dataset.gibbs_mass.sum(other).values
        counts = np.stack([np.histogram(one, edges(dataset[name].values))[0] for one in places])
        particles = places.shape[1]
        apart = np.abs(np.cumsum(counts, 1) / particles - np.cumsum(law)[None]).max(1)
        quantity = "largest difference of distribution functions times sqrt(m), Kolmogorov's mean"
        yield (
            claim(f"marginal law of {name} at the end: Gibbs", PAPER)
            .says("particles at rest are distributed as p*")
            .test(quantity, apart * np.sqrt(particles), at_most(KOLMOGOROV, 3))
        )
    yield from _free_energy(dataset)
    yield from _convexity(dataset)


def _free_energy(dataset: xr.Dataset) -> list[Claim]:
    Q, least = dataset.equation.values, dataset.gibbs_free_energy.item()
    measured, fall = dataset.free_energy.transpose("seed", "time"), Q[0] - least
    rises = [estimate(rise) for rise in np.diff(measured.values, axis=1).T]
    largest = max(rises, key=lambda rise: rise.mean / rise.standard_error)
    away, rounding = (measured - dataset.equation).mean("time"), 1e-5 * abs(least)
    near = within(0, 3, 0.01 * fall)
    falls = "the free energy falls along noisy gradient descent"
    change = "change from record to record"
    return [
        claim("free energy falls (Fokker-Planck)", PAPER)
        .says(falls)
        .test(
            f"{change} of Q on the grid, largest (rounding)", np.diff(Q).max(), at_most(rounding)
        ),
        claim("free energy falls (particles)", PAPER)
        .says(falls)
        .test(f"{change}, entropy by neighbours", largest, at_most(0, 3).of_worst("highest in SE")),
        claim("free energy ends at its minimum (Fokker-Planck)", PAPER)
        .says("p* minimises Q")
        .test(
            "Q at the end minus Q(p*), over its fall", (Q[-1] - least) / fall, within(0, 0, 1e-3)
        ),
        claim("free energy ends at its minimum (particles)", PAPER)
        .says("p* minimises Q")
        .test("time average at rest minus Q(p*) (1% of the fall)", settled(measured) - least, near),
        claim("particles' free energy is that of the limiting law", PAPER)
        .says("infinitely many particles follow the Fokker-Planck equation")
        .test("difference averaged over time (1% of the fall)", away, near),
    ]


def _convexity(dataset: xr.Dataset) -> list[Claim]:
    second = np.diff(dataset.mixture_free_energy.values, 2)
    mixed = np.diff(dataset.mixture_loss.values, 2, axis=1)
    path = dataset.path_loss.values
    hump = path[:, path.shape[1] // 2] - (path[:, 0] + path[:, -1]) / 2
    statement = "loss and free energy are convex in the law, not in the parameters"
    half_way = "loss half way between two trained networks minus the mean of theirs, over pairs"
    return [
        claim("free energy is convex along a mixture", PAPER)
        .says(statement)
        .test("least second difference of Q from the start's law to p*", second.min(), above(0)),
        claim("loss is convex along mixtures of networks", PAPER)
        .says(statement)
        .test("least second difference over pairs (rounding)", mixed.min(), at_least(-1e-5)),
        claim("loss is not convex along paths of parameters", PAPER)
        .says(statement)
        .test(half_way, hump, above(0)),
    ]


def edges(centres: np.ndarray) -> np.ndarray:
    """The ends of equal cells with these centres."""
    half = (centres[1] - centres[0]) / 2
    return np.append(centres - half, centres[-1] + half)


def settled(values: xr.DataArray) -> xr.DataArray:
    """The average over the last part of a run."""
    return values.isel(time=slice(int(SETTLED * values.sizes["time"]), None)).mean("time")


def by_rate(dataset: xr.Dataset, name: str) -> Estimate:
    """At rest, at each learning rate."""
    return estimate(settled(dataset[name]).transpose("rate", "seed"), 1)


def extrapolated(dataset: xr.Dataset, name: str) -> Estimate:
    """To learning rate 0, along the straight line through both (the same seeds)."""
    large, small = settled(dataset[name]).transpose("rate", "seed").values
    return estimate(2 * small - large)
