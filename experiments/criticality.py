"""Criticality: which initialisations carry signals through a hundred layers, in real networks.

The book (Roberts, Yaida, Hanin, arXiv 2106.10165, chapters 5 and 9): for each activation there is
at most one initialisation (C_b, C_W) at which kernels, tangent kernels and the distances between
inputs neither die nor explode exponentially with depth. Seven activations of three universality
classes at criticality, and with C_W a fifth below and a quarter above it, against finite networks.

Of networks of two widths, n/2 and n, the means are extrapolated to infinite width: twice the mean
at n minus the mean at n/2 is free of the correction of order 1/n, and off by about
(V/K^2)^2 relatively, V/K^2 being the relative variance of the kernel at width n.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure

from experiments.harness.claim import Claim
from experiments.harness.progress import Progress
from experiments.harness.statistics import Estimate, over_seeds
from nsh.figures import PALETTE, new_figure, panel_label, style
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.critical.criticality import Criticality, criticality
from nsh.theory.effective.critical.perturbation_growth import perturbation_growth
from nsh.theory.effective.finite_width.fluctuations import fluctuations
from nsh.theory.effective.samples.forward_samples import ForwardSamples, forward_samples

SOURCE = "arXiv 2106.10165, chapters 5 and 9"
FACTORS = (0.8, 1.0, 1.25)
LOOKS = {0.8: "blue", 1.0: "black", 1.25: "vermilion"}
QUANTITIES = {
    "kernel": "kernel K",
    "tangent": "tangent kernel Θ",
    "distance": "squared distance\nof nearby inputs",
}
SPREAD = "standard deviation\nof K, over K"


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the experiment."""

    activations: tuple[str, ...] = ("relu", "tanh", "sin", "erf", "elu", "gelu", "swish")
    """With a critical point each, and one of K* = 0 and one of another class among them."""
    depth: int = 100
    width: int = 512
    """Of every hidden layer; networks of half this width are run too."""
    seeds: int = 128
    """Networks of each activation, initialisation and width."""
    seed: int = 0


FULL = Config(width=1024, seeds=512)
TINY = Config(activations=("relu", "tanh"), depth=10, width=32, seeds=4)


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Kernels, tangent kernels and distances in all layers: theory and finite networks."""

    names = config.activations

    def one(name: str) -> xr.Dataset:
        key = jax.random.fold_in(jax.random.key(config.seed), names.index(name))
        return _one_activation(criticality(name), config, key)

    found = []
    # most of the time goes into compiling, which one thread does on one core
    with progress("criticality", len(names)) as advance, ThreadPoolExecutor(2) as pool:
        for dataset in pool.map(one, names):
            found.append(dataset)
            advance(1)
    dataset = xr.concat(found, xr.IndexVariable("activation", list(names)))
    widths = [config.width // 2, config.width]
    coordinates = {"factor": list(FACTORS), "width": widths, "layer": 1 + np.arange(config.depth)}
    dataset = dataset.assign_coords(coordinates)
    for variable in dataset.data_vars.values():
        variable.attrs["units"] = "1"
    return dataset


def _one_activation(critical: Criticality, config: Config, key: Array) -> xr.Dataset:
    start = critical.K if critical.K > 0 else 1.0

    def network(factor: Array, width: int) -> tuple[Architecture, Array]:
        C_b, C_W = critical.C_b, factor * critical.C_W
        net = Architecture(critical.activation, config.depth, width, C_b=C_b, C_W=C_W)
        return net, (start - net.C_b[0]) / net.C_W[0]

    @jax.jit
    @jax.vmap
    def theory(factor: Array) -> dict[str, Array]:
        net, x2 = network(factor, config.width)
        leading, near = fluctuations(net, x2), perturbation_growth(net, start, 0.0, 1.0)
        return {
            "kernel": leading.K, "tangent": leading.Theta, "distance": near.distance,
            "kernel_correction": leading.G1, "kernel_variance": leading.V,
        }  # fmt: skip

    factors = jnp.asarray(FACTORS)
    variables: dict[str, Any] = {
        f"{name}_theory": (("factor", "layer"), np.asarray(values))
        for name, values in theory(factors).items()
    }
    samples = []
    for place, factor in enumerate(factors):
        for half in (2, 1):
            net, x2 = network(factor, config.width // half)
            own = jax.random.fold_in(key, 2 * place + half)
            samples.append(forward_samples(net, x2, own, seeds=config.seeds, padded=config.width))
    dims = ("factor", "width", "seed", "layer")
    for name, values in _measured(samples).items():
        shape = (len(FACTORS), 2, *values.shape[1:])
        variables[name] = (dims, values.reshape(shape))
    variables["p_K"], variables["C_b"], variables["C_W"] = critical.p_K, critical.C_b, critical.C_W
    return xr.Dataset(variables)


def _measured(samples: list[ForwardSamples]) -> dict[str, np.ndarray]:
    kernel, tangent, log_distance = (
        np.stack([np.asarray(part) for part in parts])
        for parts in zip(*map(jax.tree.leaves, samples), strict=True)
    )
    # logarithms too large for 32 bits come of depths of many hundred layers only
    return {"kernel": kernel, "tangent": tangent, "distance": np.exp(log_distance.astype(float))}


def figure(dataset: xr.Dataset) -> Figure:
    """A column for each activation, a row for each quantity, and one for the networks' spread."""
    names = dataset.activation.values
    with style():
        drawn, axes = new_figure(
            4, len(names), width="double", height=6.0, sharex=True, sharey="row"
        )
        for name, column in zip(names, axes.T, strict=True):
            one = dataset.sel(activation=name)
            column[0].set_title(name)
            for quantity, ax in zip(QUANTITIES, column, strict=False):
                _draw(ax, one, quantity)
            _draw_spread(column[3], one)
            column[3].set_xlabel("layer")
        for label, ax in zip((*QUANTITIES.values(), SPREAD), axes[:, 0], strict=True):
            ax.set_ylabel(label)
        for letter, ax in zip("abcd", axes[:, 0], strict=True):
            panel_label(ax, letter)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=4)
        axes[3, 1].legend(loc="upper left", handlelength=1)
    return drawn


def _draw(ax: Any, one: xr.Dataset, quantity: str) -> None:
    """Theory as a line, and networks as a band of one standard deviation around their mean."""
    wide = one.isel(width=-1)
    for factor in FACTORS:
        here = wide.sel(factor=factor)
        colour = PALETTE[LOOKS[factor]]
        name = "critical" if factor == 1 else f"$C_W$ × {factor:g}"
        ax.plot(one.layer, here[f"{quantity}_theory"], color=colour, label=name, zorder=3)
        low, high = (here[quantity].quantile(q, "seed") for q in (1 / 6, 5 / 6))
        label = "two thirds of the networks" if factor == FACTORS[-1] else None
        shade = {"color": colour, "alpha": 0.3, "linewidth": 0, "zorder": 2}
        ax.fill_between(one.layer, low, high, label=label, **shade)
    ax.set_yscale("log")


def _draw_spread(ax: Any, one: xr.Dataset) -> None:
    """Standard deviation over networks, +- one standard error, and the leading order's."""
    here = one.isel(width=-1).sel(factor=1.0)
    predicted = np.sqrt(here.kernel_variance_theory) / here.kernel_theory
    ax.plot(one.layer, predicted, color=PALETTE["black"], label="V/n")
    some = here.isel(layer=slice(9, None, 10))
    squares = (some.kernel - some.kernel.mean("seed")) ** 2
    spread = np.sqrt(squares.mean("seed"))
    error = squares.std("seed") / np.sqrt(some.sizes["seed"]) / (2 * spread)
    ax.errorbar(
        some.layer, spread / some.kernel_theory, error / some.kernel_theory, fmt="o",
        color=PALETTE["purple"], markersize=2.5, elinewidth=0.8, label="networks", zorder=3,
    )  # fmt: skip


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Networks against theory for each activation, and the laws that hold at criticality."""
    found = []
    for name in dataset.activation.values:
        one = dataset.sel(activation=name)
        found += [_agreement(name, one), _rates(name, one)]
    falling = dataset.where(dataset.p_K > 0, drop=True)
    lasting = dataset.where(dataset.p_K == 0, drop=True)
    found += [_spread("K* = 0", falling), _spread("scale-invariant, half-stable", lasting)]
    found += [_power(group) for _, group in dataset.groupby("p_K")]
    return [*found, _correction(falling)]


def _extrapolated(values: np.ndarray) -> Estimate:
    """To infinite width, from one number per seed at half the width and at all of it."""
    half, whole = (over_seeds(part) for part in values)
    return Estimate(2 * whole.mean - half.mean, float(np.hypot(2 * whole.error, half.error)))


def _agreement(name: str, one: xr.Dataset) -> Claim:
    deep = np.ceil(np.array([0.1, 0.3, 1.0]) * one.sizes["layer"]).astype(int)
    layers = np.unique(np.maximum(deep, 2))  # the first is the same in all networks
    off = []
    for quantity in QUANTITIES:
        for factor in FACTORS:
            for layer in layers:
                here = one.sel(factor=factor, layer=layer)
                found = _extrapolated(here[quantity].values)
                off.append((found.mean - here[f"{quantity}_theory"].item()) / found.error)
    worst = float(np.max(np.abs(off)))
    return Claim(
        f"{name}: means in depth", SOURCE,
        "kernel, tangent kernel and distance follow their recursions, on criticality and off it",
        f"the largest of {len(off)} deviations of extrapolated means, in SE, is at most 4",
        worst, None, worst <= 4,
    )  # fmt: skip


def _rates(name: str, one: xr.Dataset) -> Claim:
    depth = one.sizes["layer"]
    last = one.sel(layer=[depth // 2, depth])
    span = depth - depth // 2
    off = []
    for factor in (FACTORS[0], FACTORS[-1]):
        here = last.sel(factor=factor)
        rate = np.log(here.distance).diff("layer").isel(layer=0) / span
        exact = np.log(here.distance_theory).diff("layer").item() / span
        found = _extrapolated(rate.transpose("width", "seed").values)
        off.append(Estimate(abs(found.mean - exact), found.error))
    worst = max(off, key=lambda found: found.mean / found.error)
    return Claim(
        f"{name}: rate off criticality", SOURCE,
        "off criticality distances die or grow exponentially, by chi_perp a layer",
        "rate a layer, last half of the layers: largest deviation of the extrapolated is <= 3 SE",
        worst.mean, worst.error, bool(worst.within(0)),
    )  # fmt: skip


def _spread(name: str, group: xr.Dataset) -> Claim:
    """Pooled over activations, in a layer where the leading order is good to some percent."""
    layer = max(int(np.ceil(0.1 * group.sizes["layer"])), 2)
    here = group.sel(factor=1.0, layer=layer).isel(width=-1)
    squares = (here.kernel - here.kernel.mean("seed")) ** 2 / here.kernel_variance_theory
    found = over_seeds(squares.values.ravel())
    return Claim(
        f"{name}: spread of kernels", SOURCE,
        "at criticality kernels differ from network to network by V/n, which grows with depth",
        f"variance in layer {layer} over V/n: 1 within 0.1 and 3 SE",
        *found, found.within(1, 3, 0.1),
    )  # fmt: skip


def _power(group: xr.Dataset) -> Claim:
    """Pooled over the activations of one power; the error is that of the logarithms of means."""
    depth, exact = group.sizes["layer"], group.p_K.values[0]
    kernel = group.kernel.sel(factor=1.0, layer=[depth // 2, depth]).isel(width=-1)
    mean = kernel.mean("seed")
    change = (np.log(mean) + kernel / mean - 1).diff("layer")
    found = over_seeds(-change.values.ravel() / np.log(depth / (depth // 2)))
    names = ", ".join(map(str, group.activation.values))
    return Claim(
        f"{names}: power law", SOURCE,
        f"critical kernels fall as the layer to the power -{exact:g}",
        f"power over the last half of the layers is {exact:g} within 0.15 and 3 SE",
        *found, found.within(exact, 3, 0.15),
    )  # fmt: skip


def _correction(falling: xr.Dataset) -> Claim:
    here = falling.sel(factor=1.0).isel(layer=-1, width=-1)
    ratio = (here.kernel - here.kernel_theory) / here.kernel_correction_theory
    found = over_seeds(ratio.values.ravel())
    return Claim(
        "K* = 0: first correction to the mean", SOURCE,
        "at finite width critical kernels that fall lie lower, by G1/n",
        "deviation over G1/n in the last layer is 1 within 3 SE, and above 0 by 2 SE",
        *found, bool(found.within(1) and found.above(0)),
    )  # fmt: skip
