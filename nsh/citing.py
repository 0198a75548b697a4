"""Which papers to cite: those that the docstrings of what was used name as their sources."""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from collections.abc import Iterator
from importlib import resources
from importlib.metadata import version

import equinox as eqx

from nsh._checks import require

NEURASHED = "2112.09741"
ARXIV = re.compile(r"\d{4}\.\d{5}")


def citation(*used: object) -> None:
    """Print BibTeX entries of nsh and of the papers behind what was `used`.

    `used`: modules, classes, functions and objects of nsh, such as a System: cited is what their
    docstrings, and those of the modules that they are in, name by its arXiv number; of a System of
    your own, what those of nsh's classes that it is made from do. Without any: nsh and the paper
    of neurashed (Su, arXiv 2112.09741). Raises `ValueError` for what is none of nsh's.

    Example:
        >>> nsh.citation()  # doctest: +ELLIPSIS
        @misc{nsh,
        ...
        @article{su2021envisioning,
        ...
    """
    texts = itertools.chain.from_iterable(map(_docstrings, used)) if used else [NEURASHED]
    numbers = {number for text in texts for number in ARXIV.findall(text)}
    software, *papers = references()
    chosen = [entry for entry in papers if numbers.intersection(ARXIV.findall(entry))]
    print("\n\n".join([software.replace("VERSION", version("neurashed")), *chosen]))


def references() -> list[str]:
    """All BibTeX entries: nsh itself, then the papers."""
    text = resources.files("nsh").joinpath("references.bib").read_text(encoding="utf-8")
    return text.strip().split("\n\n")


def _docstrings(thing: object) -> Iterator[str]:
    """Of a thing, of all that it is made of, and of the modules around these."""
    subject = thing
    if not (inspect.ismodule(thing) or inspect.isroutine(thing)):
        kind = thing if inspect.isclass(thing) else type(thing)
        # a System of the user's own stands for the class of nsh's that it is made from
        subject = next((base for base in kind.__mro__ if _is_ours(base.__module__)), kind)
    module = subject.__name__ if inspect.ismodule(subject) else subject.__module__
    require(_is_ours(module), "used", thing, "a module, class, function or object of nsh")
    yield inspect.getdoc(subject) or ""
    while module != "nsh":
        yield sys.modules[module].__doc__ or ""
        module = module.rpartition(".")[0]
    if isinstance(thing, eqx.Module):
        for part in vars(thing).values():
            if _is_ours(type(part).__module__):
                yield from _docstrings(part)


def _is_ours(module: str) -> bool:
    return f"{module}.".startswith("nsh.")
