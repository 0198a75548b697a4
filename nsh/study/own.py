"""A user's own functions, by name: found, called, and what they say when they fail."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nsh.study.code import is_installed


def imported(name: str, folder: Path) -> Any:
    """Import ``module:name`` from `folder` or from Python's path.

    Raises `ValueError` that says what stands in the way.
    """
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"{module!r} is no name of a module, such as package.module")
    with looking_in(folder), explained(f"{module} fails"):
        try:
            found = importlib.import_module(module)
        except ImportError as problem:
            raise ValueError(f"{problem}") from problem
    if not hasattr(found, attribute):
        raise ValueError(f"module {module!r} has no attribute {attribute!r}")
    return getattr(found, attribute)


@contextlib.contextmanager
def looking_in(folder: Path) -> Iterator[None]:
    """Imports look in `folder` first."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.pop(0)


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """An error from a user's own code as a `ValueError`, with the place it comes from.

    What is one already says enough; other errors, those of the disk too, are none of that code.
    """
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as problem:
        place = _place(problem)
        if not place:
            raise
        text = str(problem).partition("\n")[0]
        raise ValueError(f"{what}: {type(problem).__name__}: {text} ({place})") from problem


def _place(problem: Exception) -> str:
    """The last line of code outside Python and installed packages that led to it; or nothing."""
    if isinstance(problem, SyntaxError):
        return f"{problem.filename}, line {problem.lineno}"
    frames = traceback.extract_tb(problem.__traceback__)
    own = [frame for frame in frames if not is_installed(frame.filename)]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else ""
