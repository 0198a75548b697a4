"""A run of a neurashed graph as a moving picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from nsh._checks import require, require_numeric
from nsh.figures._graph_layout import shares
from nsh.figures.curves import curves as draw_curves
from nsh.figures.drawing import draw_graph
from nsh.figures.styling import MID_GREY, new_figure
from nsh.neurashed.graph import Graph


def animate_graph(
    graph: Graph,
    steps: ArrayLike,
    log_amplification: ArrayLike,
    *,
    fired: ArrayLike | None = None,
    curves: Mapping[str, ArrayLike],
    ylabel: str,
    interval: int = 100,
) -> FuncAnimation:
    """The graph at each recorded step, with curves beside it and the step marked on them.

    `steps` [times]; `log_amplification` [times, nodes], natural logarithms; `fired`
    [nodes + classes]: the pathway to be highlighted, as in `draw_graph`; `curves`: name -> [times],
    for example information in bits; `interval`: milliseconds for each step. Save it by
    ``animation.save("run.gif")`` (Pillow) or ``"run.mp4"`` (where there is ffmpeg). Raises
    `ValueError` on shapes that do not fit.

    Example:
        >>> from nsh.figures import animate_graph
        >>> graph = nsh.neurashed.figure2().graph
        >>> logs = np.zeros((2, graph.nodes))
        >>> bits = {"level 2": [0.0, 1.0]}
        >>> animation = animate_graph(graph, [0, 10], logs, curves=bits, ylabel="bits")
        >>> len(list(animation.new_frame_seq()))
        2
        >>> animation.save("run.gif")
    """
    steps = require_numeric("steps", steps)
    logs = checked_course(graph, steps, log_amplification)
    figure, [[left, right]] = new_figure(1, 2, width="double", height=3.0, width_ratios=[1.3, 1])
    drawing = draw_graph(left, graph, log_amplification=logs[0], fired=fired)
    lines = {name: np.asarray(values)[None] for name, values in curves.items()}
    draw_curves(right, steps, lines, ylabel=ylabel)
    _pin_legend(figure, right)
    marker = right.axvline(steps[0], color=MID_GREY, linewidth=0.8)
    title = left.set_title("", fontsize=8)
    radii = [outline.get_width() / 2 for outline in drawing.outlines[: graph.nodes]]  # pyright: ignore

    def show(time: int) -> list[Artist]:
        for disc, radius, share in zip(
            drawing.discs, radii, shares(graph, logs[time]), strict=True
        ):
            disc.set_radius(radius * np.sqrt(share))
        marker.set_xdata([steps[time]] * 2)
        title.set_text(f"step {steps[time]:,}")
        return [*drawing.discs, marker, title]

    return FuncAnimation(figure, show, frames=len(steps), interval=interval)


def _pin_legend(figure: Figure, ax: Axes) -> None:
    """Keep the legend where it is best now: the marker would drive it about."""
    legend = ax.get_legend()
    if legend is not None:
        figure.draw_without_rendering()
        corner = legend.get_window_extent().p0
        legend.set_loc(tuple(ax.transAxes.inverted().transform(corner)))


def checked_course(graph: Graph, steps: np.ndarray, log_amplification: ArrayLike) -> np.ndarray:
    """Log amplification factors as an array [times, nodes], one row for each of `steps`."""
    require(steps.ndim == 1 and steps.size > 0, "steps.shape", steps.shape, "(times,), not empty")
    logs = require_numeric("log_amplification", log_amplification)
    expected = (steps.size, graph.nodes)
    require(logs.shape == expected, "log_amplification.shape", logs.shape, f"{expected}")
    return logs
