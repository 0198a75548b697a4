"""BibTeX of what was used, and that no source named in a docstring is missing."""

import re
from pathlib import Path

import jax.numpy as jnp
import pytest

import nsh
from nsh.citing import ARXIV, references
from nsh.measure import elasticity_matrix
from nsh.neurashed import figure4
from nsh.theory import two_layer

pytestmark = pytest.mark.core
ROOT = Path(__file__).parents[1]


def cited(capsys, *used):
    """Software entry and arXiv numbers of the papers."""
    nsh.citation(*used)
    software, *papers = capsys.readouterr().out.strip().split("\n\n")
    assert software.startswith("@misc{nsh,")
    assert f"Version {nsh.__version__}" in software
    return {ARXIV.search(paper).group() for paper in papers}  # pyright: ignore


def test_every_source_that_a_docstring_names_has_an_entry():
    numbers = {
        number
        for path in [*ROOT.glob("nsh/**/*.py"), *ROOT.glob("experiments/**/*.py")]
        for number in re.findall(r"arXiv\s+(\d{4}\.\d{5})", path.read_text())
    }
    assert len(numbers) > 10
    entries = references()
    known = [number for entry in entries for number in ARXIV.findall(entry)]
    assert numbers == set(known)
    assert len(known) == len(set(known)) == len(entries) - 1


def test_entries_are_bibtex():
    keys = []
    for entry in references():
        head, *fields, end = entry.split("\n")
        keys.append(re.fullmatch(r"@(?:misc|article|book|inproceedings)\{(\w+),", head).group(1))  # pyright: ignore
        assert end == "}"
        assert all(re.fullmatch(r"  \w+ = \{.*\},", field) for field in fields)
        assert all(field.count("{") == field.count("}") for field in fields)
    assert len(set(keys)) == len(keys)


def test_cited_is_what_is_behind_the_things_used(capsys):
    assert cited(capsys) == {"2112.09741"}
    task = figure4()
    assert cited(capsys, nsh.Neurashed(task[0])) == {"2112.09741"}
    assert cited(capsys, elasticity_matrix) == {"1910.06943"}
    assert cited(capsys, elasticity_matrix, nsh.Neurashed) == {"1910.06943", "2112.09741"}
    assert "2012.13982" in cited(capsys, two_layer)
    start = two_layer.Symmetric(4)  # a System's parts count
    assert cited(capsys, two_layer.TwoLayer(2, start)) >= {"1812.07956", "2012.13982"}
    assert cited(capsys, two_layer.infinite_ntk) == {"1806.07572", "2012.13982"}


class Own(nsh.System):
    """A System of a user's, complete as far as Python can tell."""

    prepare = init = step = outputs = features = None  # type: ignore[assignment]


class OwnTwoLayer(two_layer.TwoLayer):
    pass


def test_own_systems_cite_what_they_are_made_from(capsys):
    assert cited(capsys, Own()) == cited(capsys, Own) == set()
    assert cited(capsys, OwnTwoLayer) == cited(capsys, two_layer.TwoLayer) >= {"2012.13982"}


@pytest.mark.parametrize("used", [jnp.zeros(3), 3, re])
def test_what_is_not_of_nsh_is_refused(used):
    with pytest.raises(ValueError, match=r"used = .*must be a module, class, function or object"):
        nsh.citation(used)
