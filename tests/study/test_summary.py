"""The summary figure: what is drawn against what, with which labels, from data made up here."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg

from nsh.study import draw
from nsh.study.summary import MOST_CURVES, MOST_PANELS

STEPS = np.array([0, 10, 20])


def dataset(grid, seeds=4, level=None, **more):
    """Value = seed + step + index of the grid point (+ level), exactly."""
    shape = tuple(map(len, grid.values()))
    points = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    value = points[..., None, None] + np.arange(seeds)[:, None] + STEPS[None, :].astype(float)
    dims = (*grid, "seed", "step")
    coordinates = grid | {"seed": np.arange(seeds), "step": STEPS}
    if level is not None:
        value, dims = value[..., None] + 100 * np.asarray(level), (*dims, "level")
        coordinates["level"] = level
    attributes = {"long_name": "I(level; input)" if level else "value", "units": "bits"}
    status = xr.DataArray(np.zeros((*shape, seeds), np.int32), dims=dims[: len(shape) + 1])
    arrays = {"value": (dims, value, attributes), "status": status, **more}
    return xr.Dataset(arrays, coords=coordinates)


def drawn(data):
    figure = draw(data)
    FigureCanvasAgg(figure).draw()  # whatever cannot be drawn says so here
    return figure, [ax for ax in figure.axes if ax.axison]


def curves(ax):
    return {line.get_label(): np.asarray(line.get_xydata()) for line in ax.get_lines()}


def legend(figure):
    """Texts of the one legend, with the colours of their lines."""
    assert not [ax for ax in figure.axes if ax.get_legend() is not None]
    assert len(figure.legends) <= 1
    return {
        text.get_text(): line.get_color()
        for one in figure.legends
        for text, line in zip(one.get_texts(), one.get_lines(), strict=True)
    }


def test_without_grid_against_time():
    figure, (ax,) = drawn(dataset({}))
    np.testing.assert_allclose(curves(ax)["value"], np.stack([STEPS, STEPS + 1.5], axis=1))
    assert ax.get_xlabel() == "training time (steps)"
    assert ax.get_ylabel() == "value (bits)"
    assert legend(figure) == {}
    assert figure.get_suptitle() == "4 seeds; no run diverged"


def test_levels_are_told_apart():
    figure, (ax,) = drawn(dataset({}, level=[1, 2]))
    assert set(curves(ax)) == {"level 1", "level 2"}
    np.testing.assert_allclose(curves(ax)["level 2"][:, 1], STEPS + 201.5)
    assert list(legend(figure)) == ["level 1", "level 2"]


def test_classes_have_curves_with_their_names():
    share = np.array([0.25, 0.75]) * np.ones((4, 3, 1))
    names = np.array(["cat", "dög"]).astype(np.dtypes.StringDType())
    data = dataset({}).drop_vars("value").assign_coords({"class": names})
    data["share"] = ("seed", "step", "class"), share, {"long_name": "share", "units": "1"}
    figure, (ax,) = drawn(data)
    assert list(legend(figure)) == ["class cat", "class dög"]
    np.testing.assert_allclose(curves(ax)["class dög"][:, 1], 0.75)
    assert ax.get_ylabel() == "share"
    data = data.expand_dims({"a": [1.0, 2.0]})
    assert drawn(data)[1][0].get_ylabel() == "share, mean over class"


def test_choices_are_said():
    figure, (ax,) = drawn(dataset({}, level=list(range(1, 12))))
    assert set(curves(ax)) == {f"level {n}" for n in (1, 2, 4, 5, 7, 8, 10, 11)}
    assert figure.legends[0].get_title().get_text() == "8 of 11 levels"
    figure, _ = drawn(dataset({"a": np.arange(20.0), "b": [3.0, 1.0, 200.0]}))
    assert figure.legends[0].get_title().get_text() == "8 of 20 values of a"
    figure, _ = drawn(dataset({"a": [0.0, 1.0]}))
    assert figure.legends[0].get_title().get_text() == ""


def test_one_colour_stands_for_one_point_in_all_panels():
    data = dataset({"a": [1.0, 2.0]})
    other = data["value"].assign_attrs(long_name="other", units="1")
    data["other"] = other.where(data["a"] != 1.0)
    figure, (first, second) = drawn(data)
    assert list(curves(first)) == ["a = 2"]
    colours = {line.get_label(): line.get_color() for line in second.get_lines()}
    assert legend(figure) == colours
    assert first.get_lines()[0].get_color() == colours["a = 2"]
    assert first.get_title() == ""
    only_levels = dataset({}, level=[1, 2], loss=(("seed", "step"), np.ones((4, 3)),
                          {"long_name": "loss", "units": "1"}))  # fmt: skip
    figure, axes = drawn(only_levels)
    assert len(axes) == 2
    assert list(legend(figure)) == ["level 1", "level 2"]


def test_small_grid_against_time():
    _, (ax,) = drawn(dataset({"a.b": [0.5, 1.0], "c": [1.0, 2.0, 3.0]}, level=[1, 2]))
    assert len(curves(ax)) == 6
    np.testing.assert_allclose(curves(ax)["a.b = 1, c = 2"][:, 1], STEPS + 4 + 201.5)
    assert ax.get_ylabel() == "I(top level; input) (bits)"


def test_large_grid_against_its_last_axis():
    grid = {"a": np.arange(20.0), "b": [3.0, 1.0, 200.0]}
    _, (ax,) = drawn(dataset(grid))
    assert len(curves(ax)) == MOST_CURVES
    # sorted along the axis, after the last step
    np.testing.assert_allclose(curves(ax)["a = 19"], [[1, 79.5], [3, 78.5], [200, 80.5]])
    assert ax.get_xlabel() == "b"
    assert ax.get_ylabel() == "value (bits)\nafter 20 steps"
    assert ax.get_xscale() == "log"


def test_diverged_and_infinite_numbers_are_left_out_and_counted():
    data = dataset({})
    data["status"][1] = 1
    data["value"][2, 1] = np.inf
    figure, (ax,) = drawn(data)
    assert ax.get_title() == "2–3 of 4 seeds"
    np.testing.assert_allclose(curves(ax)["value"][:, 1], [5 / 3, 11.5, 20 + 5 / 3])
    assert figure.get_suptitle() == "4 seeds; 1 of 4 runs diverged, not drawn"


def test_nothing_left_to_draw():
    data = dataset({})
    data["status"][:] = 1
    figure, (ax,) = drawn(data)
    assert [text.get_text() for text in ax.texts] == ["no finite number"]
    figure, axes = drawn(data.drop_vars("value"))
    assert axes == []
    assert figure.get_suptitle().endswith("nothing else was recorded")


@pytest.mark.long
def test_standard_errors_and_status_have_no_panel_and_one_legend_serves_all():
    attributes = {"long_name": "standard error of value", "units": "bits"}
    shape = ("seed", "step"), np.ones((4, 3))
    many: dict[str, Any] = {
        f"v{i:02}": (*shape, {"long_name": f"v{i}", "units": "1"}) for i in range(25)
    }
    figure, axes = drawn(dataset({}, error=(*shape, attributes), **many))
    assert len(axes) == MOST_PANELS == 24
    said = "the first 24 of 26 quantities; the others are in the data"
    assert figure.get_suptitle().endswith(f"\n{said}")
    data = dataset({"a": [1.0, 2.0]})
    for i in range(4):
        data[f"v{i}"] = data["value"].assign_attrs(long_name=f"v{i}", units="1")
    figure, axes = drawn(data)
    assert [ax.get_ylabel() for ax in axes] == ["v0", "v1", "v2", "v3", "value (bits)"]
    assert list(legend(figure)) == ["a = 1", "a = 2"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_nothing_is_clipped(seeds):
    figure, axes = drawn(dataset({"growth.factor": [1.0, 2.0]}, seeds=seeds, level=[1, 2, 3]))
    width, height = figure.canvas.get_width_height()
    for ax in axes:
        for text in (ax.xaxis.label, ax.yaxis.label, *figure.legends[0].get_texts()):
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= width
            assert box.y1 <= height
