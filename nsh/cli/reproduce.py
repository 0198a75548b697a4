"""``nsh reproduce NAME|all``: finds the experiments, which are not part of the package."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from nsh.cli.exits import REFUSED, Failure, needs

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    """Run the experiments that the arguments ask for."""
    return experiments().main(arguments)


def completed() -> type:
    """What a shell offers after the command's name."""
    from nsh.cli.options import Nothing, one_of_names  # needs an extra, which `main` does not

    try:
        return one_of_names(experiments().completed())
    except Failure:  # there are no experiments here
        return Nothing


def experiments() -> ModuleType:
    """The command line of the experiments beside this package, in its repository."""
    found = importlib.util.find_spec("experiments")
    if found is None or found.origin is None or Path(found.origin).resolve().parents[1] != ROOT:
        raise Failure(
            REFUSED,
            "the experiments are in nsh's repository and not in the installed package: in a copy "
            "of it, pip install -e '.[experiments]' and run its nsh, or make reproduce",
        )
    with needs("experiments"):
        return importlib.import_module("experiments.harness.command_line")
