"""Finite width: the fluctuation tensors of the effective theory against finite networks.

Roberts, Yaida and Hanin (arXiv 2106.10165, chapters 4, 8 and 11) give how outputs, tangent kernel
and its movement fluctuate over networks at initialisation, to first order in 1/width: G1, V, A, B,
D, F, P and Q. Here each is measured on random networks, at widths n and 2n, whose difference tells
the second order off, and the rest is compared with the recursions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.axes import Axes

from experiments.harness.claim import Claim, at_most, below, claim
from experiments.harness.dataset import dataset
from experiments.harness.figures import panels
from nsh.activations.program import Elementwise
from nsh.figures import colour_bar
from nsh.figures.styling import MARKERS, MID_GREY, colour
from nsh.measure import Estimate
from nsh.study.progress import Advance, Progress
from nsh.theory.effective import Architecture
from nsh.theory.effective.finite_width.fluctuations import fluctuations
from nsh.theory.effective.samples.dntk_sampler import dntk_samples
from nsh.theory.effective.samples.estimates import estimates, extrapolate, widen
from nsh.theory.effective.samples.sampler import output_samples

SOURCE = "arXiv 2106.10165, chapters 4, 8, 11"
TENSORS = ("G1", "V", "A", "B", "D", "F", "P", "Q")
ERRORS = 3.0


def algebraic(z: Array) -> Array:
    """z / sqrt(1 + z^2): bounded as tanh, and nothing the theory was made for."""
    return z * jax.lax.rsqrt(1 + z**2)


class Case(NamedTuple):
    """An activation at its critical initialisation, and the kernel K of layer 1."""

    activation: str | Elementwise
    C_b: float
    C_W: float
    K: float

    @property
    def x2(self) -> float:
        """The squared input over its length that gives this K."""
        return (self.K - self.C_b) / self.C_W


CASES = {
    "ReLU": Case("relu", 0.0, 2.0, 1.0),
    "tanh": Case("tanh", 0.0, 1.0, 1.0),
    "GELU": Case("gelu", 0.17292239, 1.98305826, (3 + 17**0.5) / 2),
    "algebraic": Case(algebraic, 0.0, 1.0, 1.0),
}
"""As `nsh.theory.effective.critical.criticality` finds them; "algebraic" is z / sqrt(1 + z^2)."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the ensembles."""

    depths: tuple[int, ...] = (4,)
    """Layers, the output's included."""
    width: int = 16
    """Of all hidden layers, per layer of depth, so that depth / width is the same for all."""
    seeds: int = 8192
    """Networks for G1, V, A, B, D and F, at each of the two widths."""
    dntk_seeds: int = 4096
    """Networks for P and Q."""
    outputs: int = 4
    """Outputs of each, over the pairs of which A, B and D are averaged."""
    chunk: int = 16384
    seed: int = 0


FULL = Config(depths=(3, 6), width=32, seeds=300_000, dntk_seeds=65_536, outputs=8)
TINY = Config(depths=(2,), width=4, seeds=64, dntk_seeds=64, outputs=2, chunk=64)


TABLE = """
    theory first_order first_order_error: activation depth tensor [1]
    measured measured_error: activation depth scale tensor [1]
    width: depth scale [neurons]
    depth: depth [layers]
"""


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Measured, extrapolated and predicted tensors of all activations and depths."""
    keys = jax.random.split(jax.random.key(config.seed), (len(CASES), len(config.depths)))
    total = 2 * (config.seeds + config.dntk_seeds) * len(config.depths)
    results = []
    for (name, case), of_depths in zip(CASES.items(), keys, strict=True):
        with progress(f"finite width, {name}", total) as advance:
            for depth, key in zip(config.depths, of_depths, strict=True):
                results.append(_compared(case, depth, config, key, advance))
    shape = len(CASES), len(config.depths)
    theory, at_widths, first_order = (
        np.reshape(part, (*shape, *part[0].shape)) for part in zip(*results, strict=True)
    )
    values = {
        "theory": theory,
        "first_order": first_order[..., 0],
        "first_order_error": first_order[..., 1],
        "measured": at_widths[..., 0],
        "measured_error": at_widths[..., 1],
        "width": config.width * np.asarray(config.depths)[:, None] * [1, 2],
    }
    names = {"activation": list(CASES), "tensor": list(TENSORS)}
    return dataset(TABLE, values, **names, depth=list(config.depths), scale=[1, 2])


def _compared(
    case: Case, depth: int, config: Config, key: Array, advance: Advance
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Theory [tensor]; estimates with errors at both widths [2, tensor, 2], and extrapolated."""
    narrow = Architecture(case.activation, depth, config.width * depth, C_b=case.C_b, C_W=case.C_W)
    predicted = fluctuations(narrow, case.x2)
    pair = [
        _measured(network, case.x2, predicted.K[-1].item(), config, part, advance)
        for network, part in zip((narrow, widen(narrow)), jax.random.split(key), strict=True)
    ]
    theory = np.array([getattr(predicted, tensor)[-1] for tensor in TENSORS], np.float64)
    at_widths, first_order = (
        np.array([[_pair(each[tensor]) for tensor in TENSORS] for each in some])
        for some in (pair, [extrapolate(*pair)])
    )
    return theory, at_widths, first_order[0]


def _pair(estimate: Estimate) -> tuple[float, float]:
    return estimate.mean, estimate.standard_error


def _measured(
    network: Architecture, x2: float, K: float, config: Config, key: Array, advance: Advance
) -> dict[str, Estimate]:
    """All tensors of one width; G1 is the mean kernel's excess over K, its limit."""
    to_outputs, to_dntk = jax.random.split(key)
    # small ensembles cost less to sample than to compile: one program for both widths
    padded = 2 * config.width * network.depth if config.seeds < 50_000 else None
    common: dict[str, Any] = {"padded": padded, "chunk": config.chunk, "callback": advance}
    found = estimates(
        output_samples(
            network, x2, to_outputs, seeds=config.seeds, outputs=config.outputs, **common
        )
    ) | estimates(dntk_samples(network, x2, to_dntk, seeds=config.dntk_seeds, **common))
    K_hat = found["K"]
    return found | {"G1": Estimate(K_hat.mean - K, K_hat.standard_error, K_hat.count)}


def deviations(dataset: xr.Dataset) -> xr.DataArray:
    """(Measured to first order - theory) / standard error; 0 where both are 0 in every network."""
    off = dataset.first_order - dataset.theory
    return off / dataset.first_order_error.where(off != 0, 1.0)


CAPTIONS = (
    "Each tensor as measured, over what theory says. Open symbols: at the two widths. Full ones, "
    "with their standard errors: extrapolated. No ratio is shown where theory says 0 or the "
    "standard error is above 20%; this is written in its place.",
    "Measured minus theoretical values, in standard errors, of all tensors. There is a row of "
    "panels for each depth.",
)


@panels("depth", 2, CAPTIONS, height=2.6, width_ratios=[3, 2])
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Measured over theory, at both widths and extrapolated to first order, and all deviations."""
    for place, (ratios, table) in enumerate(ax.reshape(-1, 2)):
        _ratios(ratios, dataset.isel(depth=place))
        _table(table, dataset.isel(depth=place))


def _ratios(ax: Axes, at: xr.Dataset) -> None:
    places = np.arange(len(TENSORS))
    ax.axhline(1, color=MID_GREY, linewidth=0.6)
    for i, name in enumerate(at.activation.values):
        one = at.sel(activation=name)
        # what is 0, or measured to worse than 20%, has no ratio to show: it is written instead
        seen = 5 * one.first_order_error < np.abs(one.theory)
        theory = np.where(seen, one.theory, np.nan)
        shift = places + 0.17 * (i - (len(CASES) - 1) / 2)
        for scale in (1, 2):  # actual tensors fall as 1 / width
            raw = scale * one.measured.sel(scale=scale) / theory
            looks = {"fillstyle": "none", "markersize": 1 + 1.5 * scale, "markeredgewidth": 0.6}
            ax.plot(shift - 0.04, raw, MARKERS[i], color=colour(i), alpha=0.7, **looks)
        for place, there, exact in zip(shift, seen.values, one.theory.values, strict=True):
            if not there:
                why = "theory: 0" if exact == 0 else "SE > 20%"
                at_bottom = {"rotation": 90, "va": "bottom", "transform": ax.get_xaxis_transform()}
                ax.text(place, 0.02, why, ha="center", fontsize=6, color=colour(i), **at_bottom)
        error = one.first_order_error / np.abs(theory)
        looks = {"fmt": MARKERS[i], "color": colour(i), "capsize": 2, "elinewidth": 0.9}
        ax.errorbar(shift, one.first_order / theory, error, label=name, **looks)
    ax.set_xticks(places, TENSORS)
    ax.set_xlim(-0.5, len(TENSORS) - 0.5)
    low, high = at.width.values
    ax.set_title(f"{at.depth.item()} layers; open: widths {low}, {high}; full: extrapolated")
    ax.set_ylabel("measured / theory")
    ax.legend(ncols=2)


def _table(ax: Axes, at: xr.Dataset) -> None:
    values = deviations(at).transpose("tensor", "activation").values
    image = ax.imshow(values, cmap="RdBu_r", vmin=-4, vmax=4, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        shade = "white" if abs(value) > 2.8 else "black"
        ax.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize=7, color=shade)
    ax.set_xticks(range(len(CASES)), at.activation.values)
    ax.set_yticks(range(len(TENSORS)), TENSORS)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    colour_bar(ax, image, "(measured - theory) / SE")


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Every tensor of every activation and depth, and ReLU's V beyond first order."""
    for name, depth in product(dataset.activation.values, dataset.depth.values):
        at = dataset.sel(activation=name, depth=depth)
        off = np.abs(deviations(at).values)
        which = f"{at.tensor.values[off.argmax()]}; {_precision(at)}"
        yield (
            claim(f"{name}, {depth} layers", SOURCE)
            .says("G1, V, A, B, D, F, P, Q to first order in 1/width, by recursion over layers")
            .test(
                f"|measured - theory| in SE, largest of all ({which})", off.max(), at_most(ERRORS)
            )
        )
    square = np.mean(deviations(dataset).values ** 2)
    yield (
        claim("all activations, depths and tensors", SOURCE)
        .says("what is left between measurement and theory is chance")
        .test("mean of ((measured - theory) / SE)^2, which is 1 on average", square, below(2))
    )
    for depth in dataset.depth.values:
        at = dataset.sel(activation="ReLU", depth=depth, tensor="V")
        exact = (1 + 5 / at.width.values) ** (depth - 1) - 1
        off = np.abs((at.measured - exact) / at.measured_error).max()
        widths = " and ".join(map(str, at.width.values))
        yield (
            claim(f"ReLU's V, {depth} layers, to all orders", f"{SOURCE}; exact in the width")
            .says("Var K_hat / K^2 = prod_l (1 + 5 / n_l) - 1")
            .test(f"deviation in SE, larger of those at widths {widths}", off, at_most(ERRORS))
        )


def _precision(at: xr.Dataset) -> str:
    """Standard errors relative to what they are errors of."""
    share = 100 * at.first_order_error / np.abs(at.theory)
    groups = {"V, A, B, D, F": list("VABDF"), "P, Q": [t for t in "PQ" if at.theory.sel(tensor=t)]}
    return "SE: " + "; ".join(
        f"{', '.join(group)} up to {share.sel(tensor=group).max().item():.2g}%"
        for group in groups.values()
    )
