"""Explore a run of a neurashed graph in a browser. Needs the extra ``neurashed[interactive]``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nsh._checks import require, require_numeric
from nsh._extras import extra
from nsh.figures._graph_layout import all_edges, all_widths, layout, on_path, shares
from nsh.figures.animation import checked_course
from nsh.figures.styling import EDGE_GREY, INK, LIGHT_GREY, MID_GREY, PALETTE, STEPS, colour
from nsh.neurashed.graph import Graph

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

WIDTH, HEIGHT = 1000, 500
SIDE, TOP, BOTTOM = 50, 60, 120
GRAPH_SHARE = 0.56


def explore_graph(
    graph: Graph,
    steps: ArrayLike,
    log_amplification: ArrayLike,
    *,
    pathways: Mapping[str, ArrayLike],
    curves: Mapping[str, ArrayLike],
    ylabel: str,
) -> Figure:
    """The graph with a slider over the recorded steps and a choice of inputs, curves beside it.

    A node's disc has an area proportional to its amplification factor, relative to the largest of
    its level; the pathway of the chosen input is orange, its edges dark. `steps` [times];
    `log_amplification` [times, nodes], natural logarithms; `pathways`: name of an input -> what
    fires [nodes + classes]; `curves`: name -> [times]. A Plotly figure: ``.write_html(path)``
    makes a page that needs no network. Raises `ValueError` on shapes that do not fit,
    `ImportError` without Plotly.

    Example:
        >>> from nsh.figures import explore_graph
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> logs = np.zeros((2, graph.nodes))
        >>> lit = {"an input": np.ones(graph.nodes + graph.classes, bool)}
        >>> figure = explore_graph(
        ...     graph, [0, 10], logs, pathways=lit, curves={"bits": [0.0, 1.0]}, ylabel="bits"
        ... )
        >>> len(figure.frames)
        2
    """
    steps = require_numeric("steps", steps)
    logs = checked_course(graph, steps, log_amplification)
    require(len(pathways) > 0, "pathways", dict(pathways), "at least one")
    lit = {name: on_path(graph, fired) for name, fired in pathways.items()}
    values = {name: require_numeric(f"curves[{name!r}]", curve) for name, curve in curves.items()}
    for name, curve in values.items():
        require(
            curve.shape == steps.shape, f"curves[{name!r}].shape", curve.shape, f"{steps.shape}"
        )
    go = _graph_objects()
    centres, radii = layout(all_widths(graph))
    diameters = 2 * radii * _pixels_per_unit(centres, radii)
    first = next(iter(lit.values()))
    discs = go.Scatter(
        x=centres[: graph.nodes, 0], y=centres[: graph.nodes, 1], mode="markers",
        marker=_discs(graph, diameters, logs[0]) | {"color": _fills(first[: graph.nodes])},
        customdata=np.exp(logs[0] - logs[0].max()), name="amplification",
        hovertemplate="node %{pointNumber}<br>amplification / largest: %{customdata:.3g}"
        "<extra></extra>", showlegend=False,
    )  # fmt: skip
    figure = go.Figure([
        *(_edges(go, graph, centres, first, dark) for dark in (False, True)),
        _outlines(go, graph, centres, diameters, first),
        discs,
        *(_curve(go, steps, i, name, curve) for i, (name, curve) in enumerate(values.items())),
        _marker(go, steps[0], values),
    ])  # fmt: skip
    moving = [3, len(figure.data) - 1]  # pyright: ignore[reportArgumentType]
    figure.frames = [
        go.Frame(
            name=str(step), traces=moving,
            data=[
                {"type": "scatter", "marker": _discs(graph, diameters, log),
                 "customdata": np.exp(log - log.max())},
                _marker(go, step, values),
            ],
        )
        for step, log in zip(steps, logs, strict=True)
    ]  # fmt: skip
    figure.update_layout(_page(steps, ylabel, _choices(graph, centres, lit)))
    return figure


def _graph_objects() -> ModuleType:
    with extra("interactive", "nsh.figures.explore_graph"):
        return importlib.import_module("plotly.graph_objects")


def _pixels_per_unit(centres: np.ndarray, radii: np.ndarray) -> float:
    spans = np.ptp(centres, axis=0) + 2 * radii.max()
    room = np.array([GRAPH_SHARE * (WIDTH - 2 * SIDE), HEIGHT - TOP - BOTTOM])
    return 0.85 * float((room / spans).min())  # the axes leave a border


def _discs(graph: Graph, diameters: np.ndarray, logs: np.ndarray) -> dict[str, object]:
    size = diameters[: graph.nodes] * np.sqrt(shares(graph, logs))
    return {"size": size, "line": {"width": 0}, "opacity": 1}


def _fills(lit: np.ndarray) -> list[str]:
    return [PALETTE["orange"] if fires else LIGHT_GREY for fires in lit]


def _outlines(
    go: ModuleType, graph: Graph, centres: np.ndarray, diameters: np.ndarray, lit: np.ndarray
) -> Any:
    """Circles of each level's largest amplification, and squares for the classes."""
    kinds = ["circle"] * graph.nodes + ["square"] * graph.classes
    white = ["white"] * graph.nodes + _fills(lit[graph.nodes :])
    rim = {"color": MID_GREY, "width": 1}
    marker = {"symbol": kinds, "size": diameters, "color": white, "line": rim, "opacity": 1}
    return go.Scatter(
        x=centres[:, 0], y=centres[:, 1], mode="markers", marker=marker, hoverinfo="skip",
        showlegend=False, name="largest amplification of the level",
    )  # fmt: skip


def _ends(graph: Graph, centres: np.ndarray, lit: np.ndarray, dark: bool) -> tuple[list, list]:
    """Lines of the edges on the pathway (`dark`) or off it, with gaps between them."""
    sources, targets = all_edges(graph)
    chosen = (lit[sources] & lit[targets]) == dark
    ends = centres[np.stack([sources[chosen], targets[chosen]], axis=1)]
    x, y = (
        [part for pair in ends[:, :, axis].tolist() for part in (*pair, None)] for axis in (0, 1)
    )
    return x, y


def _edges(go: ModuleType, graph: Graph, centres: np.ndarray, lit: np.ndarray, dark: bool) -> Any:
    x, y = _ends(graph, centres, lit, dark)
    line = {"color": INK if dark else EDGE_GREY, "width": 1.6 if dark else 0.8}
    name = "edges of the pathway" if dark else "other edges"
    return go.Scatter(
        x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False, name=name
    )


def _curve(go: ModuleType, steps: np.ndarray, place: int, name: str, curve: np.ndarray) -> Any:
    return go.Scatter(
        x=steps, y=curve, mode="lines", name=name, line={"color": colour(place)},
        xaxis="x2", yaxis="y2",
    )  # fmt: skip


def _marker(go: ModuleType, step: int | np.integer, values: Mapping[str, np.ndarray]) -> Any:
    together = np.concatenate([np.zeros(1), *values.values()])
    return go.Scatter(
        x=[step, step], y=[together.min(), together.max()], mode="lines", hoverinfo="skip",
        showlegend=False, line={"color": MID_GREY, "width": 1.5}, xaxis="x2", yaxis="y2",
        name="this step",
    )  # fmt: skip


def _choices(graph: Graph, centres: np.ndarray, lit: Mapping[str, np.ndarray]) -> dict[str, object]:
    """A menu of inputs, which colours nodes and draws the edges of the pathway."""
    buttons, (x_of, y_of) = [], centres.T.tolist()  # lists: Plotly decodes no arrays in a menu
    for name, fires in lit.items():
        lines = [_ends(graph, centres, fires, dark) for dark in (False, True)]
        outline = ["white"] * graph.nodes + _fills(fires[graph.nodes :])
        x, y = ([line[axis] for line in lines] for axis in (0, 1))
        colours = [None, None, outline, _fills(fires[: graph.nodes])]
        place = {"x": [*x, x_of, x_of[: graph.nodes]], "y": [*y, y_of, y_of[: graph.nodes]]}
        change = place | {"marker.color": colours}
        buttons.append({"label": name, "method": "restyle", "args": [change, [0, 1, 2, 3]]})
    return {"buttons": buttons, "x": 0, "y": 1.18, "xanchor": "left", "yanchor": "top"}


def _page(steps: np.ndarray, ylabel: str, choices: Mapping[str, object]) -> dict[str, object]:
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": False},
             "transition": {"duration": 0}}  # fmt: skip
    moving = {"fromcurrent": True, "frame": {"duration": 60, "redraw": False},
              "transition": {"duration": 0}}  # fmt: skip
    slider = {
        "steps": [
            {"label": f"{step:,}", "method": "animate", "args": [[str(step)], still]}
            for step in steps.tolist()
        ],
        "currentvalue": {"prefix": "step "},
        "x": 0.15,
        "y": -0.16,
        "len": 0.85,
        "pad": {"t": 0},
    }
    play = {
        "type": "buttons",
        "buttons": [
            {"label": "play", "method": "animate", "args": [None, moving]},
            {"label": "pause", "method": "animate", "args": [[None], still]},
        ],
        "direction": "left",
        "x": 0,
        "y": -0.2,
        "xanchor": "left",
        "yanchor": "top",
    }
    blank = {"visible": False, "fixedrange": True}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "margin": {"l": SIDE, "r": SIDE, "t": TOP, "b": BOTTOM},
        "template": "plotly_white",
        "showlegend": True,
        "legend": {"x": 1, "y": 1, "xanchor": "right"},
        "xaxis": blank | {"domain": [0, GRAPH_SHARE]},
        "yaxis": blank | {"scaleanchor": "x"},
        "xaxis2": {
            "domain": [GRAPH_SHARE + 0.08, 1],
            "anchor": "y2",
            "title": {"text": STEPS},
        },
        "yaxis2": {"anchor": "x2", "title": {"text": ylabel}},
        "sliders": [slider],
        "updatemenus": [dict(choices), play],
    }
