"""What the theory says of noisy gradient descent, and whether it holds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim
from experiments.harness.statistics import Estimate, over_seeds

PAPER = "Fang, Dong, Zhang, arXiv 2012.13982, mean-field view"
KOLMOGOROV = 0.8687  # mean of sqrt(m) times the largest difference of distribution functions
SETTLED = 0.6  # share of a run that is left out of averages over the law at rest
MOMENTS = {"u_square": "E u²", "theta_square": "E θ²", "amplitude": "outputs"}


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Moments, marginals, free energy, convexity."""
    found = []
    for name, label in MOMENTS.items():
        exact = float(dataset[f"gibbs_{name}"])
        value = extrapolated(dataset, name)
        found.append(Claim(
            f"{label} of particles at rest: Gibbs", PAPER,
            "noisy gradient descent converges to the Gibbs law",
            "time average at rest, extrapolated to learning rate 0, over Gibbs: 1 within 3 SE",
            value.mean / exact, value.error / exact,
            value.within(exact),
        ))  # fmt: skip
    found += [_marginal_claim(dataset, name) for name in ("u", "theta")]
    return found + _free_energy_claims(dataset) + _convexity_claims(dataset)


def _marginal_claim(dataset: xr.Dataset, name: str) -> Claim:
    places = dataset[f"end_{name}"].transpose("seed", "particle").values
    law = dataset.gibbs_mass.sum("theta" if name == "u" else "u").values
    counts = np.stack([np.histogram(one, edges(dataset[name].values))[0] for one in places])
    particles = places.shape[1]
    apart = np.abs(np.cumsum(counts, 1) / particles - np.cumsum(law)[None]).max(1)
    scaled = over_seeds(apart * np.sqrt(particles))
    return Claim(
        f"marginal law of {name} at the end: Gibbs", PAPER,
        "particles at rest are distributed as p*",
        "largest difference of distribution functions times sqrt(m): not above Kolmogorov's mean, "
        f"{KOLMOGOROV}, by 3 SE",
        *scaled, scaled.at_most(KOLMOGOROV, 3),
    )  # fmt: skip


def _free_energy_claims(dataset: xr.Dataset) -> list[Claim]:
    Q, least = dataset.equation.values, float(dataset.gibbs_free_energy)
    measured = dataset.free_energy.transpose("seed", "time")
    rises = np.diff(measured.values, axis=1)
    largest = max((over_seeds(rise) for rise in rises.T), key=lambda e: e.mean / e.error)
    end = over_seeds(settled(measured) - least)
    away = over_seeds((measured - dataset.equation).mean("time"))
    rounding = 1e-5 * abs(least)
    statement = "the free energy falls along noisy gradient descent"
    return [
        Claim(
            "free energy falls (Fokker-Planck)", PAPER, statement,
            "largest change of Q from record to record, by the equation on the grid: not above 0 "
            "by more than rounding",
            np.diff(Q).max(), None, np.diff(Q).max() <= rounding,
        ),
        Claim(
            "free energy falls (particles)", PAPER, statement,
            "the change from record to record that is highest in SEs, entropy from nearest "
            "neighbours: not above 0 by 3 SE",
            *largest, bool(largest.at_most(0, 3)),
        ),
        Claim(
            "free energy ends at its minimum (Fokker-Planck)", PAPER, "p* minimises Q",
            "Q at the end minus Q(p*), over its fall from the start: within 0.001",
            (Q[-1] - least) / (Q[0] - least), None, abs(Q[-1] - least) <= 1e-3 * (Q[0] - least),
        ),
        Claim(
            "free energy ends at its minimum (particles)", PAPER, "p* minimises Q",
            "time average at rest minus Q(p*): 0 within 1% of the fall + 3 SE",
            *end, end.within(0, 3, 0.01 * (Q[0] - least)),
        ),
        Claim(
            "particles' free energy is that of the limiting law", PAPER,
            "infinitely many particles follow the Fokker-Planck equation",
            "difference averaged over time: 0 within 1% of the fall + 3 SE",
            *away, away.within(0, 3, 0.01 * (Q[0] - least)),
        ),
    ]  # fmt: skip


def _convexity_claims(dataset: xr.Dataset) -> list[Claim]:
    second = np.diff(dataset.mixture_free_energy.values, 2)
    mixed = np.diff(dataset.mixture_loss.values, 2, axis=1)
    path = dataset.path_loss.values
    hump = over_seeds(path[:, path.shape[1] // 2] - (path[:, 0] + path[:, -1]) / 2)
    statement = "loss and free energy are convex in the law, not in the parameters"
    return [
        Claim(
            "free energy is convex along a mixture", PAPER, statement,
            "least second difference of Q from the start's law to p*: above 0",
            second.min(), None, second.min() > 0,
        ),
        Claim(
            "loss is convex along mixtures of networks", PAPER, statement,
            "least second difference over pairs: not below 0 by more than rounding",
            mixed.min(), None, mixed.min() >= -1e-5,
        ),
        Claim(
            "loss is not convex along paths of parameters", PAPER, statement,
            "loss half way between two trained networks minus the mean of theirs, over pairs: "
            "above 0 by 2 SE",
            *hump, hump.above(0),
        ),
    ]  # fmt: skip


def edges(centres: np.ndarray) -> np.ndarray:
    """The ends of equal cells with these centres."""
    half = (centres[1] - centres[0]) / 2
    return np.append(centres - half, centres[-1] + half)


def settled(values: xr.DataArray) -> xr.DataArray:
    """The average over the last part of a run."""
    return values.isel(time=slice(int(SETTLED * values.sizes["time"]), None)).mean("time")


def by_rate(dataset: xr.Dataset, name: str) -> list[Estimate]:
    """At rest, at each learning rate."""
    values = settled(dataset[name]).transpose("rate", "seed").values
    return [over_seeds(of_rate) for of_rate in values]


def extrapolated(dataset: xr.Dataset, name: str) -> Estimate:
    """To learning rate 0, along the straight line through both (the same seeds)."""
    large, small = settled(dataset[name]).transpose("rate", "seed").values
    return over_seeds(2 * small - large)
