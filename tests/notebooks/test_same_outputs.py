"""The comparison of notebooks finds what has changed, and lets rounding pass."""

import base64
import copy
import functools
import sys

import nbformat
import numpy as np
import pytest
from executed import executed
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from same_outputs import differences

from nsh.figures import curves, new_figure


@functools.cache
def png(slope=1.0, height=None):
    figure, [[ax]] = new_figure(height=height)
    x = np.arange(20)
    curves(ax, x, {"a": slope * x[None]}, ylabel="y (bits)")
    ax.set_ylim(0, 20)
    return base64.b64encode(figure._repr_png_()).decode()


def notebook(text="I = 1.845 bits in 1,024 seeds\n", picture=None):
    outputs = [
        new_output("stream", name="stdout", text=text),
        new_output("display_data", {"text/plain": "<Figure>", "image/png": picture or png()}),
    ]
    return new_notebook(cells=[new_markdown_cell("# A"), new_code_cell("1", outputs=outputs)])


@pytest.mark.parametrize(
    "text",
    [
        "I = 1.9 bits in 1,024 seeds\n",
        "I = 1.850 bits in 1,024 seeds\n",
        "I = -1.845 bits in 1,024 seeds\n",
        "I = 1.845 bits in 1,025 seeds\n",
        "I = 1.845 bits in many seeds\n",
        "I = nan bits in 1,024 seeds\n",
        "I = 1.845 nats in 1,024 seeds\n",
        "I = 1.845 bits in 1,024 seeds\nmore\n",
        "I = 1.845e-1 bits in 1,024 seeds\n",
    ],
)
def test_finds_a_changed_number_or_word(text):
    assert len(differences(notebook(), notebook(text))) == 1


def test_lets_rounding_pass():
    assert differences(notebook(), notebook("I = 1.846 bits in 1,024 seeds\n")) == []
    assert differences(notebook("1.23e-05"), notebook("1.24e-05")) == []
    assert len(differences(notebook("1.23e-05"), notebook("1.25e-05"))) == 1
    assert differences(notebook(), notebook(picture=png(1.0001))) == []


@pytest.mark.parametrize("change", [{"slope": 0.99}, {"height": 2.0}], ids=["curve", "size"])
def test_finds_a_changed_picture(change):
    (what,) = differences(notebook(), notebook(picture=png(**change)))
    assert "picture" in what


def test_finds_an_output_more_or_less_and_errors():
    changed = notebook()
    outputs = changed.cells[1].outputs
    outputs.append(new_output("execute_result", {"text/plain": "2"}, execution_count=1))
    assert len(differences(notebook(), changed)) == 1
    assert len(differences(changed, notebook())) == 1
    outputs[-1] = new_output("error", ename="ValueError", evalue="bad", traceback=[])
    assert len(differences(notebook(), changed)) == 1


def test_finds_another_cell():
    changed = notebook()
    changed.cells[1].source = "2"
    assert len(differences(notebook(), changed)) == 1
    assert len(differences(notebook(), new_notebook(cells=changed.cells[:1]))) == 1


def test_pieces_in_which_a_text_arrives_do_not_matter():
    pieces = copy.deepcopy(notebook())
    halves = [new_output("stream", name="stdout", text=part) for part in ("I = 1.8", "45 bits")]
    pieces.cells[1].outputs[:1] = halves
    assert differences(notebook("I = 1.845 bits"), pieces) == []


@pytest.mark.long
def test_runs_in_this_python_with_the_project_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    lines = [
        "import os, sys, experiments",
        "from nsh.figures import new_figure",
        "print(sys.prefix, os.environ.get('JAX_ENABLE_X64'))",
        "new_figure()[0]",
    ]
    path = tmp_path / "tried.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("\n".join(lines))]), path)
    (tmp_path / "out").mkdir()
    printed, shown = executed(path, tmp_path / "out").cells[0].outputs
    assert printed.text.split() == [sys.prefix, "None"]
    assert shown.data["image/png"]
