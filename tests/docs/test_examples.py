"""Examples in docstrings: they run and show what they say, and no public name is without one."""

import doctest
import importlib
import inspect
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nsh

sys.path.append(str(Path(__file__).parents[2] / "docs" / "hooks"))

_names = importlib.import_module("public_names")
# what an example may use without importing it
ASSUMED = {"jax": jax, "jnp": jnp, "np": np, "optax": optax, "nsh": nsh}
_ALL = _names.public_names()
PUBLIC = {name: _ALL[name] for name in _names.documented_names()}
# names that need no example of their own, and why
ABSTRACT = "abstract: docs/guide/extending.md makes one"
ON_DISK = "works on files: docs/guide/studies.md runs a whole study"
ERROR = "an error"
EXEMPT = {
    "nsh.system.System": "abstract: docs/guide/own_system.md makes one",
    "nsh.training.Method": "abstract: docs/guide/methods.md makes one",
    "nsh.training.Result": "docs/guide/methods.md: what a method of one's own returns",
    "nsh.training.Sampler": ABSTRACT,
    "nsh.study.MeasuredExamples": "made by `measurements`",
    "nsh.study.MeasurementContext": "made by studies: what a `Measurement` is given",
    "nsh.study.StoreRefused": ERROR,
    "nsh.study.StudyFileError": ERROR,
    "nsh.study.SystemAndData": "what a function named in a study file returns",
    "nsh.study.draw": ON_DISK,
    "nsh.study.open_study": ON_DISK,
    "nsh.study.read_study": ON_DISK,
    "nsh.study.run_study": ON_DISK,
    "nsh.neurashed.Initializer": ABSTRACT,
    "nsh.neurashed.extensions.Extension": ABSTRACT,
    "nsh.neurashed.extensions.ExtensionHyper": ABSTRACT,
}


def docstrings(name):
    """The docstrings of a name and of its methods."""
    thing = PUBLIC[name]
    found = {name: _names.documentation(name, thing)}
    if inspect.isclass(thing):
        members = {own: getattr(thing, own, None) for own in vars(thing)}
        found |= {
            f"{name}.{own}": member.__doc__
            for own, member in members.items()
            if inspect.isroutine(member) or isinstance(member, property)
        }
    return {where: inspect.cleandoc(text) for where, text in found.items() if text}


def examples(name):
    """The lines with ``>>>`` of a name's docstring, with what they print."""
    return doctest.DocTestParser().get_examples(docstrings(name).get(name, ""))


def without_example():
    """Names that no example shows; a class can be shown by that of a function which returns it."""
    own = [name for name in PUBLIC if any(example.want for example in examples(name))]
    returned = " ".join(
        str(inspect.signature(PUBLIC[name]).return_annotation)
        for name in own
        if inspect.isroutine(PUBLIC[name])
    )
    by_others = {
        name
        for name, thing in PUBLIC.items()
        if inspect.isclass(thing) and re.search(rf"\b{thing.__name__}\b", returned)
    }
    return [name for name in PUBLIC if name not in {*own, *by_others, *EXEMPT}]


@pytest.mark.long
@pytest.mark.core
@pytest.mark.parametrize("name", PUBLIC)
def test_examples_show_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(verbose=False)
    said = []
    for where, text in docstrings(name).items():
        test = doctest.DocTestParser().get_doctest(text, dict(ASSUMED), where, None, 0)
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_every_public_name_is_shown():
    assert without_example() == []


def test_exempt_names_are_public_and_have_no_example():
    assert [name for name in EXEMPT if name not in PUBLIC or examples(name)] == []


def test_examples_become_blocks_of_code_in_the_documentation(hook):
    text = "Adds.\n\nExample:\n    >>> a = [1, *b]\n    >>> a\n    [1]\n\nRaises `E` at <F>."
    shown = (
        "Adds.\n\nExample:\n\n```pycon\n>>> a = [1, *b]\n>>> a\n[1]\n```\n\nRaises `E` at &lt;F>."
    )
    assert hook("plain_text").escaped(text) == shown
