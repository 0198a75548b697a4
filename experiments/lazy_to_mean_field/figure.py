"""The figure of `lazy_to_mean_field`."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.harness.figures import panels
from experiments.lazy_to_mean_field.claims import MEASURED, slope_over
from nsh.figures import band, colour

RELATIVE = ("movement", "drift", "kernel")
SHOWN = ("movement", "drift", "linearised", "lazy_limit", "field_limit")
CAPTIONS = (
    "How far parameters move, over the width, in all regimes.",
    "How far the tangent kernel moves.",
    "Distance of outputs from those of the linearised network.",
    "Distance of outputs from the lazy limit.",
    "Distance of outputs from the mean-field limit.",
    "All of these at one width, over the dial α.",
)


@panels(2, 3, CAPTIONS, height=2.4)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Distances against width in all regimes, and over the dial."""
    for panel, name in zip(ax, SHOWN, strict=False):
        _draw_widths(panel, dataset, name)
    _draw_dial(ax[5], dataset)


def _draw_widths(ax: Axes, dataset: xr.Dataset, name: str) -> None:
    ax.set(xscale="log", yscale="log", xlabel="width", title=MEASURED[name])
    ax.set_ylabel("relative size" if name in RELATIVE else "r.m.s. on test inputs")
    regimes = list(dataset.regime.values)
    lines = [(name, regime, regime) for regime in regimes]
    if name == "lazy_limit":
        lines.insert(1, ("between", "symmetric", "its linearisation"))
    if name == "field_limit":
        lines = lines[2:]
    for measured, regime, label in lines:
        values = dataset[measured].sel(regime=regime)
        slope = slope_over(values, "width")
        mean = round(slope.mean, 2) + 0.0  # no negative zero
        text = f"{label}: {mean:.2f} ± {2 * slope.standard_error:.2f}".replace("-", "−")
        place = 3 if measured == "between" else regimes.index(regime)
        band(ax, dataset.width.values, values.values.T, label=text, colour=colour(place))
    shown = dataset.width.values[:: 1 + len(dataset.width) // 5]
    ax.set_xticks(shown, [str(width) for width in shown])
    ax.minorticks_off()
    ax.margins(x=0)
    ax.set_ylim(bottom=ax.get_ylim()[0] / 100, top=ax.get_ylim()[1] * 2)
    ax.legend(loc="lower left", title="exponent ± 2 SE", title_fontsize=7)


def _draw_dial(ax: Axes, dataset: xr.Dataset) -> None:
    ax.set(xscale="log", yscale="log", xlabel="α", ylabel="relative size, or r.m.s.")
    ax.set_title(f"over the dial, width {dataset.attrs['dial_width']}")
    for place, name in enumerate(SHOWN):
        values = dataset[f"dial_{name}"].values.T
        band(ax, dataset.alpha.values, values, label=MEASURED[name], colour=colour(place))
    ax.margins(x=0)
    ax.set_ylim(bottom=ax.get_ylim()[0] / 200)
    ax.legend(loc="lower left")
