"""Every public name is documented and in the reference; and what is not would be found."""

import importlib
import inspect
import re
from pathlib import Path

import nsh.study
import nsh.training


def test_every_public_name_is_in_the_reference_once(hook):
    assert hook("public_names").complaints() == []


def test_public_names_are_those_of_all_packages(hook):
    found = hook("public_names").public_names()
    for name in ("nsh.train", "nsh.training.train", "nsh.neurashed.exact.log_moments",
                 "nsh.theory.effective.kernels", "nsh.study.MEASUREMENTS", "nsh.bounds.unconstrain",
                 "nsh.system.Transition"):  # fmt: skip
        assert name in found
    assert "nsh.training" not in found
    assert not any(part.startswith("_") for name in found for part in name.split("."))


def test_names_that_are_missing_unknown_or_repeated_are_found(hook, monkeypatch):
    module = hook("public_names")
    documented = module.documented_names()
    changed = [name for name in documented if name != "nsh.measure.accuracy"]
    # the same function by another name, and one that there is not
    changed += ["nsh.train", "nsh.training.nothing"]
    monkeypatch.setattr(module, "documented_names", lambda: changed)
    found = "\n".join(module.complaints())
    assert "nsh.measure.accuracy is public, but on no page" in found
    assert "nsh.training.nothing is in the reference, but is not public" in found
    assert "nsh.training.train is in the reference more than once" in found


def test_names_without_docstrings_are_found(hook, monkeypatch):
    module = hook("public_names")
    monkeypatch.setattr(nsh.training.tune, "__doc__", None)
    monkeypatch.setattr(nsh.training, "SILENT", 3, raising=False)
    assert "nsh.training.tune is public, but has no docstring" in module.complaints()
    assert not module.documentation("nsh.training.SILENT", 3)
    assert module.documentation("nsh.study.MEASUREMENTS", nsh.study.MEASUREMENTS)


def test_notation_names_what_there_is(hook):
    """Each "`name` of [`Class`][path]" of the table is an attribute or a field of that class."""
    public = hook("public_names").public_names()
    page = Path(nsh.__file__).parents[1] / "docs" / "theories" / "notation.md"
    row = r"\| ((?:`\w+`(?:, | \.\.\. )?)+) of \[`\w+`\]\[([\w.]+)\]"
    rows = re.findall(row, page.read_text("utf-8"))
    assert len(rows) > 10
    for names, path in rows:
        for name in re.findall(r"\w+", names):
            assert hasattr(public[path], name) or name in fields(public[path]), f"{path}.{name}"


def fields(kind):
    return {name for base in kind.__mro__ for name in inspect.get_annotations(base)}


def test_no_public_name_means_two_things(hook):
    """A name may be in two packages only if it is the same object."""
    meanings = {}
    for full in hook("public_names").public_names():
        package, name = full.rsplit(".", 1)
        meanings.setdefault(name, set()).add(id(getattr(importlib.import_module(package), name)))
    assert [name for name, objects in meanings.items() if len(objects) > 1] == []
