"""The figure of noisy gradient descent against the Gibbs law."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.noisy_descent.claims import MOMENTS, by_rate, edges, extrapolated, settled
from nsh.figures import PALETTE, band, colour, new_figure, panel_label, style

SHOWN = 300  # particles drawn


def figure(dataset: xr.Dataset) -> Figure:
    """What is learned, the law at rest, its marginals, moments, free energy and convexity."""
    with style():
        drawn, axes = new_figure(2, 3, width="double", height=4.6)
        ax = axes.ravel()
        _draw_outputs(ax[0], dataset)
        _draw_law(ax[1], dataset)
        _draw_marginals(ax[2], dataset)
        _draw_moments(ax[3], dataset)
        _draw_free_energy(ax[4], dataset)
        _draw_convexity(ax[5], dataset)
        for panel, letter in zip(ax, "abcdef", strict=True):
            panel_label(panel, letter)
    return drawn


def _draw_outputs(ax: Axes, dataset: xr.Dataset) -> None:
    x = dataset.x.values
    ax.plot(x, dataset.target, "o", color=PALETTE["black"], label="examples")
    ax.plot(x, dataset.gibbs_output, color=colour(1), label="Gibbs law")
    found = settled(dataset.output).isel(rate=1)
    ax.errorbar(x, found.mean("seed"), 3 * found.std("seed", ddof=1) / _root_seeds(dataset),
                fmt="D", color=colour(0), capsize=2, markersize=3,
                label="particles ± 3 SE")  # fmt: skip
    ax.set(xlabel="x", ylabel="output f(x)")
    ax.set_ylim(top=2 * float(dataset.target.max()))
    ax.legend(loc="upper left")


def _draw_law(ax: Axes, dataset: xr.Dataset) -> None:
    mass = dataset.gibbs_mass.values
    ax.contourf(dataset.theta, dataset.u, mass / mass.max(), levels=np.linspace(0.04, 1, 9),
                cmap="Oranges")  # fmt: skip
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
    ax.plot(theta, dataset.start_mass.sum("u") / spacing, ":", color=PALETTE["black"],
            label="start; law without data")  # fmt: skip
    ax.set(xlim=(-4, 4), xlabel="input weight θ", ylabel="density")
    ax.margins(y=0.35)
    ax.legend()


def _draw_moments(ax: Axes, dataset: xr.Dataset) -> None:
    rates = dataset.rate.values
    for place, (name, label) in enumerate(MOMENTS.items()):
        exact = float(dataset[f"gibbs_{name}"])
        estimates = [*by_rate(dataset, name), extrapolated(dataset, name)]
        at = np.append(rates, 0.0) + (place - 1) * rates[1] / 12  # side by side
        means = np.array([e.mean for e in estimates])
        errors = np.array([e.error for e in estimates])
        ax.errorbar(at, 100 * (means / exact - 1), 300 * errors / exact, fmt="osD"[place],
                    color=colour(place), capsize=2, label=label)  # fmt: skip
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


def _root_seeds(dataset: xr.Dataset) -> float:
    return float(np.sqrt(dataset.sizes["seed"]))
