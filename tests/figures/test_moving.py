"""Pictures of a run that move."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from nsh.figures import animate_graph, explore_graph
from nsh.neurashed import Graph, Node

STEPS = np.arange(0, 50, 10)
RATES = np.array([0.1, 0.05, -0.05, -0.1, 0.1, -0.1])
LIT = np.array([1, 1, 0, 0, 1, 0, 1, 0], bool)


@pytest.fixture
def graph():
    return Graph.from_nodes(4, [[Node((0, 1)), Node((2, 3))]], [[0], [1]])


def moving(graph, **changed):
    given = {
        "fired": LIT, "curves": {"I": STEPS / 50}, "ylabel": "information (bits)",
    } | changed  # fmt: skip
    return animate_graph(graph, STEPS, STEPS[:, None] * RATES, **given)


def test_every_frame_shows_its_step(graph, tmp_path):
    animation = moving(graph)
    animation.save(tmp_path / "run.gif", fps=5)
    with Image.open(tmp_path / "run.gif") as gif:
        assert gif.n_frames == len(STEPS)  # pyright: ignore
        assert gif.width > 600
    *discs, marker, title = animation._func(4)  # pyright: ignore
    areas = np.array([disc.radius**2 for disc in discs])
    logs = 40 * RATES
    expected = np.exp(logs - np.repeat([logs[:4].max(), logs[4:].max()], [4, 2]))
    np.testing.assert_allclose(areas[:4] / areas[0], expected[:4], rtol=1e-6)
    np.testing.assert_allclose(areas[5] / areas[4], expected[5], rtol=1e-6)
    assert marker.get_xdata() == [40, 40]
    assert title.get_text() == "step 40"


def test_the_legend_stays_where_it_is(graph):
    animation = moving(graph, curves={"so long a name that steps pass": STEPS / 50})
    *_, marker, _ = animation._func(0)  # pyright: ignore
    legend, corners = marker.axes.get_legend(), []
    for time in range(len(STEPS)):
        animation._func(time)  # pyright: ignore
        marker.figure.draw_without_rendering()
        corners.append(legend.get_window_extent().p0)
    np.testing.assert_allclose(corners, corners[:1] * len(STEPS), atol=1)


def test_explored_has_a_frame_for_each_step_and_a_choice_for_each_input(graph):
    logs = STEPS[:, None] * RATES
    figure = explore_graph(
        graph, STEPS, logs, pathways={"left": LIT, "right": ~LIT}, curves={"I": STEPS / 50},
        ylabel="information (bits)",
    )  # fmt: skip
    frames = figure.frames
    assert [frame.name for frame in frames] == [str(step) for step in STEPS]  # pyright: ignore
    (first, *_, last) = [np.asarray(frame.data[0].marker.size) for frame in frames]  # pyright: ignore
    np.testing.assert_allclose(first[:4], first[0])
    np.testing.assert_allclose((last[3] / last[0]) ** 2, np.exp(-0.2 * 40), rtol=1e-6)
    menu, _ = figure.layout.updatemenus  # pyright: ignore
    assert [button.label for button in menu.buttons] == ["left", "right"]
    left, right = (button.args[0]["x"] for button in menu.buttons)
    # three edges of either pathway, each from here to there and a gap; the others are light
    assert len(left[1]) == len(right[1]) == 9
    assert len(left[0]) == len(right[0]) == 9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fired": LIT[:3]}, r"fired.shape = \(3,\)"),
        ({"curves": {}}, "groups"),
    ],
)
def test_bad_input_is_named(graph, changed, message):
    with pytest.raises(ValueError, match=message):
        moving(graph, **changed)


def test_bad_courses_are_named(graph):
    logs = STEPS[:, None] * RATES
    kinds: dict[str, Any] = {"pathways": {"left": LIT}, "curves": {}, "ylabel": "bits"}
    bad: list[tuple[Any, Any, dict[str, Any], str]] = [
        (STEPS[:3], logs, {}, r"log_amplification.shape = \(5, 6\): must be \(3, 6\)"),
        (STEPS, logs[:, :2], {}, r"log_amplification.shape = \(5, 2\)"),
        (STEPS, logs, {"pathways": {}}, "pathways"),
        (STEPS, logs, {"curves": {"I": STEPS[:2]}}, r"curves\['I'\].shape = \(2,\)"),
    ]
    for steps, course, changed, message in bad:
        with pytest.raises(ValueError, match=message):
            explore_graph(graph, steps, course, **(kinds | changed))
