"""Finite width: the fluctuation tensors of the effective theory against finite networks.

Roberts, Yaida and Hanin (arXiv 2106.10165, chapters 4, 8 and 11) give how outputs, tangent kernel
and its movement fluctuate over networks at initialisation, to first order in 1/width: G1, V, A, B,
D, F, P and Q. Here each is measured on random networks, at widths n and 2n, whose difference tells
the second order off, and the rest is compared with the recursions.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness.claim import Claim
from experiments.harness.progress import Advance, Progress
from nsh.activations.program import Elementwise
from nsh.figures import colour_bar, new_figure, panel_label, style
from nsh.figures.style import MARKERS, MID_GREY, colour
from nsh.theory.effective import Architecture
from nsh.theory.effective.finite_width.fluctuations import fluctuations
from nsh.theory.effective.samples.dntk_sampler import dntk_samples
from nsh.theory.effective.samples.estimates import Measured, estimates, extrapolate, widen
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


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Measured, extrapolated and predicted tensors of all activations and depths."""
    keys = jax.random.split(jax.random.key(config.seed), (len(CASES), len(config.depths)))
    total = 2 * (config.seeds + config.dntk_seeds) * len(config.depths)
    found = []
    for (name, case), of_depths in zip(CASES.items(), keys, strict=True):
        with progress(f"finite width, {name}", total) as advance:
            for depth, key in zip(config.depths, of_depths, strict=True):
                found.append(_compared(case, depth, config, key, advance))
    shape = len(CASES), len(config.depths)
    parts = zip(*found, strict=True)
    return _as_dataset(config, *(np.reshape(part, (*shape, *part[0].shape)) for part in parts))


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
        np.array([[each[tensor][:2] for tensor in TENSORS] for each in some], np.float64)
        for some in (pair, [extrapolate(*pair)])
    )
    return theory, at_widths, first_order[0]


def _measured(
    network: Architecture, x2: float, K: float, config: Config, key: Array, advance: Advance
) -> dict[str, Measured]:
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
    return found | {"G1": Measured(found["K"].value - K, found["K"].error)}


def _as_dataset(
    config: Config, theory: np.ndarray, at_widths: np.ndarray, first_order: np.ndarray
) -> xr.Dataset:
    dims, plain = ("activation", "depth"), {"units": "1"}
    widths = config.width * np.asarray(config.depths)[:, None] * [1, 2]
    everywhere = (*dims, "scale", "tensor")
    return xr.Dataset(
        {
            "theory": ((*dims, "tensor"), theory, plain),
            "first_order": ((*dims, "tensor"), first_order[..., 0], plain),
            "first_order_error": ((*dims, "tensor"), first_order[..., 1], plain),
            "measured": (everywhere, at_widths[..., 0], plain),
            "measured_error": (everywhere, at_widths[..., 1], plain),
            "width": (("depth", "scale"), widths, {"units": "neurons"}),
        },
        {
            "activation": list(CASES),
            "depth": ("depth", list(config.depths), {"units": "layers"}),
            "scale": [1, 2],
            "tensor": list(TENSORS),
        },
    )


def deviations(dataset: xr.Dataset) -> xr.DataArray:
    """(Measured to first order - theory) / standard error; 0 where both are 0 in every network."""
    off = dataset.first_order - dataset.theory
    return off / dataset.first_order_error.where(off != 0, 1.0)


def figure(dataset: xr.Dataset) -> Figure:
    """Measured over theory, at both widths and extrapolated to first order, and all deviations."""
    with style():
        rows = len(dataset.depth)
        drawn, axes = new_figure(rows, 2, width="double", height=2.6 * rows, width_ratios=[3, 2])
        for place, (ratios, table) in enumerate(axes):
            at = dataset.isel(depth=place)
            _ratios(ratios, at)
            _table(table, at)
            if place == 0:
                panel_label(ratios, "a")
                panel_label(table, "b")
    return drawn


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
            ax.plot(
                shift - 0.04, raw, MARKERS[i], color=colour(i), fillstyle="none",
                markersize=1 + 1.5 * scale, markeredgewidth=0.6, alpha=0.7,
            )  # fmt: skip
        for place, there, exact in zip(shift, seen.values, one.theory.values, strict=True):
            if not there:
                why = "theory: 0" if exact == 0 else "SE > 20%"
                ax.text(
                    place, 0.02, why, rotation=90, va="bottom", ha="center", fontsize=6,
                    color=colour(i), transform=ax.get_xaxis_transform(),
                )  # fmt: skip
        error = one.first_order_error / np.abs(theory)
        ax.errorbar(
            shift, one.first_order / theory, error, fmt=MARKERS[i], color=colour(i), capsize=2,
            elinewidth=0.9, label=name,
        )  # fmt: skip
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


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Every tensor of every activation and depth, and ReLU's V beyond first order."""
    found = []
    for name in dataset.activation.values:
        for depth in dataset.depth.values:
            at = dataset.sel(activation=name, depth=depth)
            off = np.abs(deviations(at).values)
            worst = at.tensor.values[off.argmax()]
            found.append(Claim(
                f"{name}, {depth} layers", SOURCE,
                "G1, V, A, B, D, F, P, Q to first order in 1/width, by recursion over layers",
                f"|measured - theory| <= {ERRORS:g} SE for all eight; value reported: largest "
                f"deviation ({worst}), in SE. {_precision(at)}",
                off.max(), None, off.max() <= ERRORS,
            ))  # fmt: skip
    square = float(np.mean(deviations(dataset).values ** 2))
    found.append(Claim(
        "all activations, depths and tensors", SOURCE,
        "what is left between measurement and theory is chance",
        "mean of ((measured - theory) / SE)^2, which is 1 on average, below 2",
        square, None, square < 2,
    ))  # fmt: skip
    return found + [_exact(dataset, depth) for depth in dataset.depth.values]


def _precision(at: xr.Dataset) -> str:
    """Standard errors relative to what they are errors of."""
    share = 100 * at.first_order_error / np.abs(at.theory)
    groups = {"V, A, B, D, F": list("VABDF"), "P, Q": [t for t in "PQ" if at.theory.sel(tensor=t)]}
    return "SE: " + "; ".join(
        f"{', '.join(group)} up to {share.sel(tensor=group).max().item():.2g}%"
        for group in groups.values()
    )


def _exact(dataset: xr.Dataset, depth: int) -> Claim:
    at = dataset.sel(activation="ReLU", depth=depth, tensor="V")
    widths = at.width.values
    exact = (1 + 5 / widths) ** (depth - 1) - 1
    off = np.abs((at.measured - exact) / at.measured_error).max()
    return Claim(
        f"ReLU's V, {depth} layers, to all orders", f"{SOURCE}; exact in the width",
        "Var K_hat / K^2 = prod_l (1 + 5 / n_l) - 1",
        f"measured at widths {widths[0]} and {widths[1]} within {ERRORS:g} SE; the larger "
        "deviation is shown, in SE",
        off, None, off <= ERRORS,
    )  # fmt: skip
