from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from nsh import Graph, Node
from nsh.figures import PALETTE, draw_graph
from nsh.neurashed import figure4

WIDTHS = (13, 6, 2)


@pytest.fixture(scope="module")
def graph():
    return figure4().graph


def by_level(items):
    return [items[:13], items[13:19], items[19:]]


def colours(patches):
    return [tuple(patch.get_facecolor()) for patch in patches]


def test_levels_rise_classes_are_squares_and_nothing_overlaps(ax, graph):
    drawing: Any = draw_graph(ax, graph)
    assert len(drawing.outlines) == sum(WIDTHS)
    assert len(drawing.discs) == 19
    ax.figure.draw_without_rendering()
    boxes = [patch.get_window_extent() for patch in drawing.outlines]
    assert all(box.width == pytest.approx(box.height) for box in boxes)
    heights = [{round((box.y0 + box.y1) / 2, 3) for box in level} for level in by_level(boxes)]
    assert [len(level) for level in heights] == [1, 1, 1]
    assert max(heights[0]) < max(heights[1]) < max(heights[2])
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    kinds = {type(patch).__name__ for patch in drawing.outlines[19:]}
    assert kinds == {"Rectangle"}
    panel = ax.get_window_extent()
    assert all(panel.x0 <= box.x0 and box.x1 <= panel.x1 for box in boxes)
    assert all(panel.y0 <= box.y0 and box.y1 <= panel.y1 for box in boxes)


def test_areas_are_proportional_to_amplification_within_a_level(ax, graph):
    amplification = np.random.default_rng(0).uniform(0.1, 5, 19)
    # a common factor far beyond the floats' range changes nothing
    drawing: Any = draw_graph(ax, graph, log_amplification=np.log(amplification) + 5000)
    areas = [disc.radius**2 for disc in drawing.discs]
    full = [outline.radius**2 for outline in drawing.outlines[:19]]
    for level in (slice(0, 13), slice(13, 19)):
        share = np.divide(areas[level], full[level])
        np.testing.assert_allclose(share, amplification[level] / amplification[level].max())
        assert len(set(full[level])) == 1


def test_faded_and_dead_nodes_keep_their_outline(ax, graph):
    logs = np.full(19, -np.inf)
    logs[0] = 0.0
    drawing: Any = draw_graph(ax, graph, log_amplification=logs)
    assert [disc.radius > 0 for disc in drawing.discs] == [True] + [False] * 18
    assert all(outline.radius > 0 for outline in drawing.outlines[:19])


def test_every_edge_is_drawn_and_the_pathway_dark(ax, graph):
    fired = np.zeros(21, bool)
    fired[[0, 1, 6, 13, 14, 19]] = True  # the input (1, 2, 7) of class 1
    drawing: Any = draw_graph(ax, graph, fired=fired)
    # by hand: 13 <- 0, 1, 2; 14 <- 1, 4, 6; class 0 <- 13, 14, 15
    expected = {(0, 13), (1, 13), (1, 14), (6, 14), (13, 19), (14, 19)}
    centres = [tuple(np.round(patch.get_center(), 6)) for patch in drawing.outlines]
    found = {
        tuple(centres.index(tuple(np.round(end, 6))) for end in segment)
        for segment in drawing.pathway.get_segments()
    }
    assert found == expected
    assert len(drawing.edges.get_segments()) == 6 * 3 + 6 - len(expected)
    assert sum(drawing.edges.get_color()[0][:3]) > 2 > sum(drawing.pathway.get_color()[0][:3])
    marked = [*drawing.discs, *drawing.outlines[19:]]
    orange = [colour == to_rgba(PALETTE["orange"]) for colour in colours(marked)]
    assert orange == fired.tolist()


def test_without_a_pathway_all_is_one_colour(ax, graph):
    drawing: Any = draw_graph(ax, graph)
    assert set(colours([*drawing.discs, *drawing.outlines[19:]])) == {to_rgba(PALETTE["sky"])}
    assert drawing.pathway.get_segments() == []


def test_names_stand_on_their_nodes(ax, graph):
    names = [f"{i}" for i in range(21)]
    drawing: Any = draw_graph(ax, graph, names=names)
    assert [text.get_text() for text in drawing.names] == names
    for text, patch in zip(drawing.names, drawing.outlines, strict=True):
        assert text.get_position() == pytest.approx(tuple(patch.get_center()))
    assert {"level 1", "level 2", "classes"} <= {text.get_text() for text in ax.texts}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"log_amplification": np.zeros(21)},
            r"log_amplification.shape = \(21,\): must be \(19,\)",
        ),
        ({"log_amplification": np.full(19, np.nan)}, r"log_amplification\[0\] = nan"),
        ({"log_amplification": np.full(19, np.inf)}, r"log_amplification\[0\] = inf"),
        ({"fired": np.zeros(19, bool)}, r"fired.shape = \(19,\): must be \(21,\)"),
        ({"fired": np.zeros(21)}, "fired.dtype = 'float64': must be bool"),
        ({"names": ["a"]}, "number of names = 1: must be 21"),
    ],
)
def test_bad_drawings(bare_ax, graph, options, message):
    with pytest.raises(ValueError, match=message):
        draw_graph(bare_ax, graph, **options)


def test_200_nodes_a_level_are_drawn_and_201_refused(ax):
    draw_graph(ax, Graph.from_nodes(200, [[Node((0,))]], [[0]]))
    with pytest.raises(ValueError, match="nodes of level 1 = 201: must be at most 200"):
        draw_graph(ax, Graph.from_nodes(201, [[Node((0,))]], [[0]]))
    with pytest.raises(ValueError, match="nodes of level 2 = 201"):
        draw_graph(ax, Graph.from_nodes(1, [[Node((0,))] * 201], [[0]]))
