"""The phase diagram of implicit regularization: which features survive at which batch size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.colors import TwoSlopeNorm
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike

from nsh._checks import require, require_all, require_numeric
from nsh.figures import styling

_HALO = [withStroke(linewidth=2.5, foreground="white")]


class Features(NamedTuple):
    """Features of an experiment: firing probability[n], batch size[n], and which survived[n].

    Example:
        >>> from nsh.figures import Features
        >>> Features(p=[0.5], batch_sizes=[4], survived=[True]).survived
        [True]
    """

    p: ArrayLike
    batch_sizes: ArrayLike
    survived: ArrayLike


class Phase(NamedTuple):
    """The drawn artists. `regions`: the texts "survives" and "fades", where there are such."""

    mesh: QuadMesh
    boundary: Line2D
    regions: tuple[Text, ...]
    survived: PathCollection | None
    faded: PathCollection | None
    colour_bar: Colorbar


def draw_phase_diagram(
    ax: Axes,
    p: ArrayLike,
    batch_sizes: ArrayLike,
    growth_exponent: ArrayLike,
    boundary: ArrayLike,
    *,
    features: Features | None = None,
) -> Phase:
    """Growth exponent over batch size (log2 axis) and firing probability (log axis).

    `p`[p]: probability that a sample fires the feature. `batch_sizes`[B]: samples.
    `growth_exponent`[p, B]: growth of the feature's log amplification per step; its colours are
    centred at 0, each sign on its own scale. `boundary`[B]: the critical p*(B). `features`: drawn
    as points, filled where the feature survived. Raises `ValueError` on bad shapes, NaN, grids
    that do not increase, and probabilities outside (0, 1].

    Example:
        >>> from nsh.figures import draw_phase_diagram, new_figure
        >>> figure, axes = new_figure()
        >>> exponent, boundary = [[-1.0, 0.5], [0.5, 1.0]], [0.4, 0.2]
        >>> drawn = draw_phase_diagram(axes[0, 0], [0.1, 0.6], [1, 16], exponent, boundary)
        >>> [region.get_text() for region in drawn.regions]
        ['survives', 'fades']
    """
    p = _grid("p", p)
    batch_sizes = _grid("batch_sizes", batch_sizes)
    require_all(p <= 1, "p", p, "at most 1")
    exponent = require_numeric("growth_exponent", growth_exponent).astype(float)
    shape = (p.size, batch_sizes.size)
    require(exponent.shape == shape, "growth_exponent.shape", exponent.shape, f"{shape}, [p, B]")
    require_all(np.isfinite(exponent), "growth_exponent", exponent, "finite")
    critical = _probabilities("boundary", boundary, batch_sizes.size)
    x_edges, y_edges = _cell_edges(batch_sizes), _cell_edges(p)
    with styling.style():
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        norm = _centred(exponent)
        mesh = ax.pcolormesh(x_edges, y_edges, exponent, cmap="RdBu", norm=norm, rasterized=True)
        (line,) = ax.plot(batch_sizes, critical, color=styling.INK)
        _name_boundary(ax, batch_sizes, critical, y_edges[0], y_edges[-1])
        regions = [
            _name_region(ax, batch_sizes, p, mask, name)
            for name, mask in (("survives", exponent > 0), ("fades", exponent < 0))
            if mask.any()
        ]
        survived, faded = _draw_features(ax, features) if features is not None else (None, None)
        ax.set_xlim(x_edges[0], x_edges[-1])
        ax.set_ylim(y_edges[0], y_edges[-1])
        ax.xaxis.set_major_locator(LogLocator(base=2))
        ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        ax.set(xlabel="batch size B (samples)", ylabel="firing probability p (per sample)")
        if features is not None:
            ax.legend(
                loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2,
                columnspacing=1, handletextpad=0.2,
            )  # fmt: skip
    bar = styling.colour_bar(ax, mesh, "growth exponent (per step)")
    ticks = _ticks(norm)
    bar.set_ticks(ticks, labels=[f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in ticks])
    return Phase(mesh, line, tuple(regions), survived, faded, bar)


def _grid(field: str, values: ArrayLike) -> np.ndarray:
    array = require_numeric(field, values).astype(float)
    require(array.ndim == 1 and array.size >= 2, f"{field}.shape", array.shape, "two or more")
    require_all((array > 0) & np.isfinite(array), field, array, "above 0 and finite")
    require_all(np.diff(array, prepend=0) > 0, field, array, "increasing")
    return array


def _probabilities(field: str, values: ArrayLike, count: int) -> np.ndarray:
    array = require_numeric(field, values).astype(float)
    require(array.shape == (count,), f"{field}.shape", array.shape, f"({count},)")
    require_all((array > 0) & (array <= 1), field, array, "above 0 and at most 1")
    return array


def _cell_edges(values: np.ndarray) -> np.ndarray:
    """Edges half-way between neighbours on a logarithmic axis, so that values are centres."""
    logs = np.log(values)
    middles = (logs[1:] + logs[:-1]) / 2
    return np.exp(
        np.concatenate([[2 * logs[0] - middles[0]], middles, [2 * logs[-1] - middles[-1]]])
    )


def _centred(exponent: np.ndarray) -> TwoSlopeNorm:
    low, high = min(exponent.min(), 0.0), max(exponent.max(), 0.0)
    largest = max(-low, high) or 1.0
    return TwoSlopeNorm(0, low or -largest, high or largest)


def _ticks(norm: TwoSlopeNorm) -> list[float]:
    """A few round numbers on either side of 0: one locator for both forgets the shorter side."""
    low, high = float(norm.vmin or 0), float(norm.vmax or 0)
    sides = [MaxNLocator(3).tick_values(*ends) for ends in ((low, 0), (0, high))]
    return sorted({float(tick) for side in sides for tick in side if low <= tick <= high})


def _name_region(
    ax: Axes, batch_sizes: np.ndarray, p: np.ndarray, mask: np.ndarray, name: str
) -> Text:
    """`name` in the middle of the region, as the logarithmic axes show it."""
    rows, columns = np.nonzero(mask)
    x, y = np.exp(np.log(batch_sizes)[columns].mean()), np.exp(np.log(p)[rows].mean())
    return ax.text(
        x, y, name, ha="center", va="center", fontsize=9,
        path_effects=_HALO,
    )  # fmt: skip


def _name_boundary(
    ax: Axes, batch_sizes: np.ndarray, critical: np.ndarray, lowest: float, highest: float
) -> None:
    """The line's name, written along it, below the middle of what is seen of it."""
    seen = np.flatnonzero((critical > lowest) & (critical < highest))
    if seen.size < 2:
        return
    middle = min(seen[seen.size // 2], seen[-1] - 1)
    x, y = (float(np.sqrt(a[middle] * a[middle + 1])) for a in (batch_sizes, critical))
    slope = np.diff(critical)[middle] / np.diff(batch_sizes)[middle]
    beside = ax.transData + ScaledTranslation(-2 / 72, -2 / 72, ax.figure.dpi_scale_trans)
    ax.text(
        x, y, "critical p*(B)", rotation=np.degrees(np.arctan(slope)), fontsize=7, zorder=1.8,
        transform=beside, transform_rotates_text=True, rotation_mode="anchor",
        ha="center", va="top", path_effects=_HALO,
    )  # fmt: skip


def _draw_features(ax: Axes, features: Features) -> tuple[PathCollection, PathCollection]:
    p = require_numeric("features.p", features.p)
    p = _probabilities("features.p", p, p.size)
    sizes = require_numeric("features.batch_sizes", features.batch_sizes).astype(float)
    allowed = f"{p.shape}, as of features.p"
    require(sizes.shape == p.shape, "features.batch_sizes.shape", sizes.shape, allowed)
    require_all(sizes > 0, "features.batch_sizes", sizes, "above 0")
    survived = np.asarray(features.survived)
    require(survived.dtype == bool, "features.survived.dtype", str(survived.dtype), "bool")
    require(survived.shape == p.shape, "features.survived.shape", survived.shape, allowed)
    look = {"s": 14, "edgecolors": styling.INK, "linewidths": 0.8, "zorder": 3}
    return (
        ax.scatter(sizes[survived], p[survived], c=styling.INK, label="survived", **look),
        ax.scatter(sizes[~survived], p[~survived], c="white", label="faded", **look),
    )
