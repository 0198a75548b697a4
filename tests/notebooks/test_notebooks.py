"""The notebooks: each is well kept, and shows what it shows when it is run now."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from executed import ROOT, executed
from same_outputs import differences

FOLDER = ROOT / "notebooks"
NAMES = [
    "1_quick_start",
    "2_three_phenomena",
    "3_hyperparameter_study",
    "4_million_seeds",
    "5_own_network",
    "6_criticality_and_finite_width",
    "7_lazy_to_mean_field",
    "8_against_reality",
]
LARGEST = 600_000
LINK = re.compile(r"\]\(([^)#\s]+)")
MACHINE_PATH = re.compile(
    r"(?<![\w:/.])/(?:home|root|Users|tmp|usr|opt|var|work|mnt)/|site-packages"
)
EACH = pytest.mark.parametrize("name", NAMES)


def read(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", nbformat.NO_CONVERT)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_eight():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@EACH
def test_is_of_the_common_make(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    first, *_, last = notebook.cells
    assert first.cell_type == last.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert last.source.startswith("## Change it")


@EACH
def test_was_run_from_top_to_bottom_and_saved_with_what_it_showed(name):
    cells = code(read(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert all(output.get("name", "stdout") == "stdout" for output in outputs), "warnings or errors"
    forms = {form for output in outputs for form in output.get("data", ())}
    assert {"image/png"} <= forms <= {"image/png", "text/plain"}


@EACH
def test_holds_nothing_of_the_machine_or_the_hour(name):
    notebook = read(name)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert not any(cell.metadata for cell in notebook.cells)
    texts = [
        text
        for cell in code(notebook)
        for output in cell.outputs
        for text in (output.get("text", ""), output.get("data", {}).get("text/plain", ""))
    ]
    assert not [text for text in texts if MACHINE_PATH.search(text)]
    assert not [text for text in texts if " at 0x" in text]


@EACH
def test_is_small_enough_to_be_browsed(name):
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST


@EACH
def test_links_lead_somewhere(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    targets = [target for target in LINK.findall(text) if "://" not in target]
    assert targets
    assert not [target for target in targets if not Path(FOLDER, target).exists()]


@pytest.mark.long
@EACH
def test_shows_the_same_when_run_now(name, tmp_path):
    again = executed(FOLDER / f"{name}.ipynb", tmp_path)
    assert differences(read(name), again) == []
