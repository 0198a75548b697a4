"""The figure of noisy gradient descent against the Gibbs law."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.harness.figures import panels
from experiments.noisy_descent.claims import MOMENTS, by_rate, edges, extrapolated, settled
from nsh.figures import PALETTE, band, colour
from nsh.measure import estimate

SHOWN = 300  # particles drawn


CAPTIONS = (
    "What is learned: examples, particles and the Gibbs law.",
    "The Gibbs law of both weights of a unit, and particles.",
    "Its density over the input weight.",
    "Moments: difference from the Gibbs law, over the learning rate.",
    "Free energy through training: particles, Fokker–Planck equation, least value.",
    "Free energy and losses between two laws: mixtures and moved particles.",
)


@panels(2, 3, CAPTIONS, height=2.3)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """What is learned, the law at rest, its marginals, moments, free energy and convexity."""
    _draw_outputs(ax[0], dataset)
    _draw_law(ax[1], dataset)
    _draw_marginals(ax[2], dataset)
    _draw_moments(ax[3], dataset)
    _draw_free_energy(ax[4], dataset)
    _draw_convexity(ax[5], dataset)


def _draw_outputs(ax: Axes, dataset: xr.Dataset) -> None:
    x = dataset.x.values
    ax.plot(x, dataset.target, "o", color=PALETTE["black"], label="examples")
    ax.plot(x, dataset.gibbs_output, color=colour(1), label="Gibbs law")
    found = estimate(settled(dataset.output).isel(rate=1).transpose("seed", "point"), 0)
    looks = {"fmt": "D", "color": colour(0), "capsize": 2, "markersize": 3}
    ax.errorbar(x, found.mean, 3 * found.standard_error, label="particles ± 3 SE", **looks)
    ax.set(xlabel="x", ylabel="output f(x)")
    ax.set_ylim(top=2 * float(dataset.target.max()))
    ax.legend(loc="upper left")


def _draw_law(ax: Axes, dataset: xr.Dataset) -> None:
    mass = dataset.gibbs_mass.values
    levels = np.linspace(0.04, 1, 9)
    ax.contourf(dataset.theta, dataset.u, mass / mass.max(), levels=levels, cmap="Oranges")
    some = dataset.isel(seed=0, particle=slice(SHOWN))
    ax.plot(some.end_theta, some.end_u, ".", color=colour(0), markersize=1.5)
    ax.set(xlim=(-4.5, 4.5), ylim=(-7, 7), xlabel="input weight θ", ylabel="readout weight u")
    ax.set_title(f"Gibbs law, and {some.sizes['particle']} particles")


def _draw_marginals(ax: Axes, dataset: xr.Dataset) -> None:
    theta = dataset.theta.values
    spacing = theta[1] - theta[0]
    density, _ = np.histogram(dataset.end_theta, edges(theta), density=True)
    ax.stairs(density, edges(theta), fill=True, color=colour(0), alpha=0.35, label="particles")
    ax.plot(theta, dataset.gibbs_mass.sum("u") / spacing, color=colour(1), label="Gibbs law")
    start, label = dataset.start_mass.sum("u") / spacing, "start; law without data"
    ax.plot(theta, start, ":", color=PALETTE["black"], label=label)
    ax.set(xlim=(-4, 4), xlabel="input weight θ", ylabel="density")
    ax.margins(y=0.35)
    ax.legend()


def _draw_moments(ax: Axes, dataset: xr.Dataset) -> None:
    rates = dataset.rate.values
    for place, (name, label) in enumerate(MOMENTS.items()):
        exact = float(dataset[f"gibbs_{name}"])
        estimates = by_rate(dataset, name), extrapolated(dataset, name)
        at = np.append(rates, 0.0) + (place - 1) * rates[1] / 12  # side by side
        means = np.hstack([e.mean for e in estimates])
        errors = np.hstack([e.standard_error for e in estimates])
        looks = {"fmt": "osD"[place], "color": colour(place), "capsize": 2, "label": label}
        ax.errorbar(at, 100 * (means / exact - 1), 300 * errors / exact, **looks)
    ax.axhline(0, color=colour(1), linewidth=0.8, zorder=1)
    ax.set_xticks([0, *rates], ["0 (limit)", *map(str, rates)])
    ax.set(xlabel="learning rate", ylabel="difference from Gibbs (%)")
    ax.margins(y=0.3)
    ax.legend(title="particles ± 3 SE", title_fontsize=7, ncols=3, columnspacing=1)


def _draw_free_energy(ax: Axes, dataset: xr.Dataset) -> None:
    time = dataset.time.values
    band(ax, time, dataset.free_energy.values, label="particles ± SE", colour=colour(0))
    ax.plot(time, dataset.equation, "--", color=colour(1), label="Fokker–Planck")
    least = float(dataset.gibbs_free_energy)
    ax.axhline(least, color=PALETTE["black"], linestyle=":", linewidth=0.8, label="Q(p*), Gibbs")
    ax.set(
        xlim=(0, min(8, time[-1])), xlabel="time (steps × learning rate)", ylabel="free energy Q"
    )
    ax.legend()


def _draw_convexity(ax: Axes, dataset: xr.Dataset) -> None:
    share = dataset.share.values
    ax.plot(share, dataset.mixture_free_energy, color=colour(1), label="Q, laws mixed: start to p*")
    band(ax, share, dataset.path_loss.values, label="L, particles moved", colour=colour(2))
    band(ax, share, dataset.mixture_loss.values, label="L, networks mixed", colour=colour(0))
    ax.set(xlabel="share s of the second", ylabel="free energy Q or loss L")
    ax.margins(y=0.4)
    ax.legend(loc="upper center")
