"""Criticality of an activation: susceptibilities, the map of kernels, and kernels in depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nsh._checks import require, require_all, require_numeric
from nsh.figures import styling

NEAR_ONE = (0.4, 2.0)  # of K'/K, what is shown


class KernelProfile(NamedTuple):
    """One initialisation: its `name`, a layer's output kernel at each K, and kernels in depth.

    `mapped` [kernels]: K' at each K of the figure; `kernels` [layers]: K of layer 1, 2, ...

    Example:
        >>> from nsh.figures import KernelProfile
        >>> KernelProfile("C_W = 2", mapped=np.ones(2), kernels=np.ones(5)).name
        'C_W = 2'
    """

    name: str
    mapped: Float[np.ndarray, " kernels"]
    kernels: Float[np.ndarray, " layers"]


def criticality_figure(
    K: ArrayLike,
    parallel: ArrayLike,
    perpendicular: ArrayLike,
    courses: Sequence[KernelProfile],
    *,
    K_star: float | None = None,
    title: str = "",
) -> styling.StyledFigure:
    """Three panels: chi against K, K'/K against K, and K against the layer.

    `K`: [kernels], increasing, above 0; `parallel`, `perpendicular`: chi_par and chi_perp there;
    `K_star`: fixed point to be marked. Kernels of 0 are not drawn, on axes that are logarithmic.
    Raises `ValueError` on bad shapes, and on K that does not increase from above 0.

    Example:
        >>> from nsh.figures import KernelProfile, criticality_figure
        >>> K = np.array([0.5, 1.0, 2.0])
        >>> relu = KernelProfile("C_W = 2", mapped=K, kernels=np.ones(5))
        >>> len(criticality_figure(K, np.ones(3), np.ones(3), [relu], K_star=1.0).axes)
        3
    """
    K = require_numeric("K", K).astype(float)
    require(K.ndim == 1 and K.size >= 2, "K.shape", K.shape, "two or more")
    require_all((np.diff(K, prepend=0) > 0) & np.isfinite(K), "K", K, "increasing from above 0")
    shown = {"chi_par": parallel, "chi_perp": perpendicular}
    shown |= {f"mapped of {course.name!r}": course.mapped for course in courses}
    for field, values in shown.items():
        require(np.shape(values) == K.shape, f"{field}.shape", np.shape(values), f"{K.shape}")
    figure, axes = styling.new_figure(1, 3, width="double", height=2.3)
    with styling.style():
        chi, step, depth = axes[0]
        chi.plot(K, parallel, color=styling.colour(0), label="χ∥, norms")
        chi.plot(K, perpendicular, color=styling.colour(1), linestyle="--", label="χ⊥, directions")
        chi.set(xscale="log", xlabel="kernel K", ylabel="susceptibility χ of a layer")
        for i, course in enumerate(courses):
            look = {"color": styling.colour(i + 2), "label": course.name}
            step.plot(K, np.asarray(course.mapped) / K, **look)
            layers = np.arange(1, len(course.kernels) + 1)
            kernels = np.asarray(course.kernels, float)
            depth.plot(layers, np.where(kernels > 0, kernels, np.nan), **look)
        step.set(xscale="log", xlabel="kernel K", ylabel="next layer's kernel / K", ylim=NEAR_ONE)
        depth.set(xscale="log", yscale="log", xlabel="layer", ylabel="kernel K")
        for ax in (chi, step):
            ax.axhline(1, color=styling.MID_GREY, linewidth=0.8, zorder=1)
            if K_star is not None:
                ax.axvline(K_star, color=styling.MID_GREY, linewidth=0.8, linestyle=":", zorder=1)
        if K_star is not None:
            chi.annotate(
                "K*", (K_star, 0), xytext=(2, 2), xycoords=chi.get_xaxis_transform(),
                textcoords="offset points", color=styling.TEXT_GREY,
            )  # fmt: skip
        chi.legend()
        depth.legend()
        for ax, letter in zip(axes[0], "abc", strict=True):
            styling.panel_label(ax, letter)
        figure.suptitle(title, fontsize=8)
    return figure
