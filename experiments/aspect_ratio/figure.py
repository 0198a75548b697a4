"""The figure of the experiment on depth over width."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter

from experiments.harness.figures import panels
from nsh.figures import colour
from nsh.figures.styling import INK, MARKERS
from nsh.measure import Estimate, estimate

CAPTIONS = (
    "Variance of outputs at the start over depth / width, with theory's.",
    "Variance of the tangent kernel, with theory's.",
    "Test error after training; dotted lines: the aspect ratio that theory finds best.",
    "Share of decisions in which two trained networks differ.",
)


@panels(2, 2, CAPTIONS, height=2.3)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Fluctuations at initialisation with theory's, and test error and disagreement after it."""
    outputs, kernel, error, disagreement = ax
    for panel in ax:
        panel.set(xscale="log", yscale="log", xlabel="depth over width $r$")
    disagreement.set_xlabel("effective complexity $\\nu r$")
    for panel, name in ((outputs, "outputs"), (kernel, "kernel")):
        found = Estimate(dataset[name].values, dataset[f"{name}_error"].values, 1)
        _points(panel, dataset, dataset.r, found)
        for i in range(dataset.sizes["family"]):
            panel.plot(dataset.r[i], dataset[f"{name}_theory"][i], "--", color=colour(i), lw=0.9)
        panel.plot([], [], "--", color=INK, lw=0.9, label="theory, first order")
    for i in range(dataset.sizes["family"]):
        outputs.plot(dataset.r[i], dataset.outputs_exact[i], color=colour(i), lw=0.9)
    outputs.plot([], [], color=INK, lw=0.9, label="theory, exact (ReLU)")
    outputs.set_ylabel("variance of outputs, $V/K^2$")
    kernel.set_ylabel("variance of NTK, $(A + 2B)/\\Theta^2$")
    for panel, x, name in (
        (error, dataset.r, "error"),
        (disagreement, dataset.nu * dataset.r, "disagreement"),
    ):
        percent = 100 * dataset[name].transpose("family", "layers", "seed").values
        _points(panel, dataset, x, estimate(percent, -1), joined=True)
        panel.yaxis.set_major_locator(FixedLocator([2, 5, 10, 20, 50, 100]))
        panel.yaxis.set_major_formatter(ScalarFormatter())
        panel.yaxis.set_minor_formatter(NullFormatter())
    for i, best in enumerate(dataset.best_r.values):
        error.axvline(best, color=colour(i), ls=(2 * i, (1, 3)), lw=1.2)
    (best,) = error.plot([], [], ":", color=INK, label="$r^*$ (truncated series)")
    error.set_ylabel("test error after training (%)")
    disagreement.set_ylabel("decisions that differ\nbetween trained networks (%)")
    outputs.legend()
    error.legend(handles=[best])


def _points(
    ax: Axes, dataset: xr.Dataset, x: xr.DataArray, found: Estimate, *, joined: bool = False
) -> None:
    for i, name in enumerate(dataset.family.values):
        looks = {"fmt": MARKERS[i] + ("-" if joined else ""), "color": colour(i), "label": name}
        at = x.transpose("family", "layers")[i]
        ax.errorbar(at, found.mean[i], found.standard_error[i], capsize=2, lw=0.9, **looks)
