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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from experiments.harness.claim import Claim, above, at_most, claim, within
from experiments.harness.figures import panels
from nsh.figures import PALETTE
from nsh.measure import Estimate, estimate
from nsh.study.progress import Progress
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
            "kernel": leading.K,
            "tangent": leading.Theta,
            "distance": near.distance,
            "kernel_correction": leading.G1,
            "kernel_variance": leading.V,
        }

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


CAPTIONS = (
    "Row: the kernel K over layers, a column for each activation.",
    "Row: the tangent kernel.",
    "Row: the squared distance of two nearby inputs.",
    "Row: the standard deviation of K over networks, over K.",
)


@panels(4, "activation", CAPTIONS, height=1.5, sharex=True, sharey="row")
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """A column for each activation, a row for each quantity, and one for the networks' spread."""
    names = dataset.activation.values
    axes = ax.reshape(4, len(names))
    for name, column in zip(names, axes.T, strict=True):
        one = dataset.sel(activation=name)
        column[0].set_title(name)
        for quantity, panel in zip(QUANTITIES, column, strict=False):
            _draw(panel, one, quantity)
        _draw_spread(column[3], one)
        column[3].set_xlabel("layer")
    for label, panel in zip((*QUANTITIES.values(), SPREAD), axes[:, 0], strict=True):
        panel.set_ylabel(label)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    ax[0].figure.legend(handles, labels, loc="outside upper center", ncols=4)
    axes[3, 1].legend(loc="upper left", handlelength=1)


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
    looks = {"fmt": "o", "color": PALETTE["purple"], "markersize": 2.5, "elinewidth": 0.8}
    y, errors = spread / some.kernel_theory, error / some.kernel_theory
    ax.errorbar(some.layer, y, errors, label="networks", zorder=3, **looks)


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Networks against theory for each activation, and the laws that hold at criticality."""
    for name in dataset.activation.values:
        yield from _recursions(name, dataset.sel(activation=name))
    falling = dataset.where(dataset.p_K > 0, drop=True)
    lasting = dataset.where(dataset.p_K == 0, drop=True)
    yield _spread("K* = 0", falling)
    yield _spread("scale-invariant, half-stable", lasting)
    for _, group in dataset.groupby("p_K"):
        yield _power(group)
    here = falling.sel(factor=1.0).isel(layer=-1, width=-1)
    ratio = (here.kernel - here.kernel_theory) / here.kernel_correction_theory
    yield (
        claim("K* = 0: first correction to the mean", SOURCE)
        .says("at finite width critical kernels that fall lie lower, by G1/n")
        .test("deviation over G1/n in the last layer", ratio, within(1) & above(0))
    )


def _extrapolated(values: np.ndarray) -> Estimate:
    """To infinite width, from one number per seed at half the width and at all of it."""
    half, whole = (estimate(part) for part in values)
    error = np.hypot(2 * whole.standard_error, half.standard_error)
    return Estimate(2 * whole.mean - half.mean, error, whole.count)


def _recursions(name: str, one: xr.Dataset) -> list[Claim]:
    depth = one.sizes["layer"]
    deep = np.ceil(np.array([0.1, 0.3, 1.0]) * depth).astype(int)
    off, rates = [], []
    # the first layer is the same in all networks
    for quantity, factor, layer in product(QUANTITIES, FACTORS, np.unique(np.maximum(deep, 2))):
        here = one.sel(factor=factor, layer=layer)
        mean = _extrapolated(here[quantity].values)
        off.append((mean.mean - here[f"{quantity}_theory"].item()) / mean.standard_error)
    for factor in (FACTORS[0], FACTORS[-1]):
        last = one.sel(factor=factor, layer=[depth // 2, depth])
        span = depth - depth // 2
        exact = np.log(last.distance_theory).diff("layer").item() / span
        rate = np.log(last.distance).diff("layer").isel(layer=0) / span
        rate = _extrapolated(rate.transpose("width", "seed").values)
        rates.append(Estimate(abs(rate.mean - exact), rate.standard_error, rate.count))
    worst = max(rates, key=lambda rate: rate.mean / rate.standard_error)
    largest, known = np.max(np.abs(off)), within(0).of_worst("the largest")
    return [
        claim(f"{name}: means in depth", SOURCE)
        .says("kernel, tangent kernel and distance follow their recursions, critical or not")
        .test(
            f"largest of {len(off)} deviations of extrapolated means, in SE", largest, at_most(4)
        ),
        claim(f"{name}: rate off criticality", SOURCE)
        .says("off criticality distances die or grow exponentially, by chi_perp a layer")
        .test("rate a layer, last half of the layers, extrapolated: deviation", worst, known),
    ]


def _spread(name: str, group: xr.Dataset) -> Claim:
    """Pooled over activations, in a layer where the leading order is good to some percent."""
    layer = max(int(np.ceil(0.1 * group.sizes["layer"])), 2)
    here = group.sel(factor=1.0, layer=layer).isel(width=-1)
    squares = (here.kernel - here.kernel.mean("seed")) ** 2 / here.kernel_variance_theory
    return (
        claim(f"{name}: spread of kernels", SOURCE)
        .says("at criticality kernels differ from network to network by V/n, growing with depth")
        .test(f"variance in layer {layer} over V/n", squares, within(1, 3, 0.1))
    )


def _power(group: xr.Dataset) -> Claim:
    """Pooled over the activations of one power; the error is that of the logarithms of means."""
    depth, exact = group.sizes["layer"], group.p_K.values[0]
    kernel = group.kernel.sel(factor=1.0, layer=[depth // 2, depth]).isel(width=-1)
    mean = kernel.mean("seed")
    change = (np.log(mean) + kernel / mean - 1).diff("layer")
    power = -change / np.log(depth / (depth // 2))
    return (
        claim(f"{', '.join(map(str, group.activation.values))}: power law", SOURCE)
        .says(f"critical kernels fall as the layer to the power -{exact:g}")
        .test("power over the last half of the layers", power, within(exact, 3, 0.15))
    )
