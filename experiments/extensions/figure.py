"""The figure of `experiments.extensions`."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.extensions.claims import effects
from experiments.harness.figures import panels
from nsh.figures import curves, grouped_points, reference

LABELS = {
    "regularization": "implicit regularization",
    "compression": "compression",
    "label": "label kept",
    "elasticity": "local elasticity",
}


CAPTIONS = (
    "Implicit regularization: effective features of level 2 in each extension.",
    "Local elasticity: within classes minus across, over their sum.",
    "Information about the input through training.",
    "Information about the label through training.",
    "Information about the input at its peak and at the end.",
    "Size of all effects over that in plain neurashed.",
)


@panels(3, 2, CAPTIONS, height=2.2)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """The phenomena in all extensions, and their size over that in plain neurashed."""
    size, names = effects(dataset), [str(way).replace(" ", "\n", 1) for way in dataset.way.values]
    features = {
        f"batch size {batch.batch_size.item()}": batch.values.T
        for batch in dataset.effective_features
    }
    grouped_points(ax[0], names, features, ylabel="effective features of level 2")
    ax[0].set_title("implicit regularization")
    elasticity = {"": size["elasticity"].values.T}
    grouped_points(ax[1], names, elasticity, ylabel="local elasticity, $(w - a) / (w + a)$")
    ax[1].set_title("local elasticity, $w$ithin and $a$cross classes")
    reference(ax[1], 0.0, "no difference")
    for panel, what in zip(ax[2:4], ("input", "label"), strict=True):
        _draw_information(panel, dataset, what)
    last = dataset.input.isel(step=-1, drop=True)
    ends = {"peak of the mean": (size["compression"] + last).values.T, "end": last.values.T}
    grouped_points(ax[4], names, ends, ylabel="I(level 2; input) (bits)")
    ax[4].set_title("information bottleneck, peak and end")
    shares = {
        LABELS[name]: (effect / max(effect.sel(way="plain").mean().item(), 0.01)).values.T
        for name, effect in size.items()
    }
    grouped_points(ax[5], names, shares, ylabel="effect / that in plain neurashed")
    ax[5].set_title("size of the effects")
    reference(ax[5], 1.0, "")
    reference(ax[5], 0.0, "none")


def _draw_information(ax: Axes, dataset: xr.Dataset, what: str) -> None:
    groups = {str(way): dataset[what].sel(way=way).values for way in dataset.way.values}
    curves(ax, dataset.step, groups, ylabel=f"I(level 2; {what}) (bits)")
    ax.legend(ncols=2, loc="upper right")
    ax.set_title(f"information about the {what}")
    top, ticks = {"input": (4.2, [0, 1, 2, 3]), "label": (1.75, [0, 0.5, 1])}[what]
    ax.set_ylim(0, top)  # room for the legend
    ax.set_yticks(ticks)
