"""The command line: ``nsh study``, ``nsh criticality``, ``nsh reproduce``, ``nsh completion``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version

from nsh._checks import nearest
from nsh.cli.exits import (
    BAD_INPUT,
    DONE,
    EXIT_CODES,
    PIPE_CLOSED,
    Failure,
    explained,
    needs,
    readers_may_leave,
)

# what each takes and does, in lines of at most 53 characters; each is a module here
COMMANDS = {
    "study": ("FILE", "run a hyperparameter study, or resume it"),
    "criticality": (
        "ACTIVATION",
        "find the critical initialisation of an activation\nfor deep networks",
    ),
    "reproduce": (
        "NAME|all",
        "run experiments: figures, data, and which claims hold;\n"
        "the experiments are in a copy of the repository only",
    ),
    "completion": ("SHELL", "print a script by which a shell completes all this"),
}
LIST = "\n".join(
    f"  {f'{name} {takes}':<24}" + does.replace("\n", "\n" + 26 * " ")
    for name, (takes, does) in COMMANDS.items()
)
HELP = f"""\
usage: nsh COMMAND ...

Theories of deep learning as running, differentiable code.

commands:
{LIST}

`nsh COMMAND --help` says more about each.

options:
  -h, --help  show this and exit
  --version   show the version and exit

examples, in a copy of the repository:
  nsh study experiments/studies/growth_rate.toml --out results/growth
  nsh criticality gelu
  nsh reproduce local_elasticity --seeds 1024

{EXIT_CODES}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    first, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    try:
        with explained(), readers_may_leave():
            if first in ("-h", "--help", "--version"):
                print(f"nsh {version('neurashed')}" if first == "--version" else HELP)
                return DONE
            return _main_of(first)(rest)
    except Failure as failure:
        if failure.code != PIPE_CLOSED:
            where = f"nsh {first}" if first in COMMANDS else "nsh"
            print(f"{where}: {failure}", file=sys.stderr, flush=True)
        return failure.code


def _main_of(command: str) -> Callable[[Sequence[str]], int]:
    if command not in COMMANDS:
        said = f"COMMAND = {command!r}" if command else "COMMAND is missing"
        allowed = f"must be one of {', '.join(COMMANDS)}{nearest(command, COMMANDS)}"
        raise Failure(BAD_INPUT, f"{said}: {allowed}")
    with needs("study"):
        return importlib.import_module(f"nsh.cli.{command}").main
