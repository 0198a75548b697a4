"""What needs an extra of the package says so where the extra is not installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def extra(name: str, user: str) -> Iterator[None]:
    """Imports what comes with the extra `name`, for its `user`: if it is missing, both are named.

    Raises `ModuleNotFoundError`, as the import itself does.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        said = what_is_missing(missing, name)
        raise ModuleNotFoundError(f"{user} {said}", name=missing.name) from missing


def what_is_missing(missing: ModuleNotFoundError, name: str) -> str:
    """The package and the extra, and how to get it; an error in our own imports is raised again.

    So is one about a module of Python's own, which this platform lacks.
    """
    package = (missing.name or "").partition(".")[0]
    if package in ("", "nsh", "experiments", *sys.stdlib_module_names):
        raise missing
    install = f"pip install '.[{name}]' in a copy of the repository"
    return f"needs {package}, in the extra neurashed[{name}]: {install}"
