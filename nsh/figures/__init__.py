"""Figures: arrays in, matplotlib out, one style. Needs the extra ``neurashed[figures]``.

Functions take axes, draw on them and return what they drew, but for those that make pictures that
move; none touches pyplot or leaves a matplotlib setting changed.
"""

from nsh._extras import extra

with extra("figures", "nsh.figures"):
    from nsh.figures.animation import animate_graph
    from nsh.figures.criticality import KernelProfile, criticality_figure
    from nsh.figures.curves import Band, band, curves, reference
    from nsh.figures.drawing import Drawing, draw_graph
    from nsh.figures.histograms import Histogram, histograms
    from nsh.figures.interactive import explore_graph
    from nsh.figures.phase import Features, Phase, draw_phase_diagram
    from nsh.figures.plane import Plane, information_plane
    from nsh.figures.points import Points, grouped_points
    from nsh.figures.styling import PALETTE, colour, colour_bar, new_figure, panel_label, style

__all__ = [
    "PALETTE",
    "Band",
    "Drawing",
    "Features",
    "Histogram",
    "KernelProfile",
    "Phase",
    "Plane",
    "Points",
    "animate_graph",
    "band",
    "colour",
    "colour_bar",
    "criticality_figure",
    "curves",
    "draw_graph",
    "draw_phase_diagram",
    "explore_graph",
    "grouped_points",
    "histograms",
    "information_plane",
    "new_figure",
    "panel_label",
    "reference",
    "style",
]
