"""``nsh completion SHELL``."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union

import tyro

from nsh.cli.criticality import Criticality
from nsh.cli.exits import Failure
from nsh.cli.parsing import parse
from nsh.cli.reproduce import experiments
from nsh.cli.study import Study

EXAMPLES = """\
examples:
  nsh completion bash > ~/.local/share/bash-completion/completions/nsh
  nsh completion zsh > ~/.zfunc/_nsh      (~/.zfunc in fpath before compinit)
  nsh completion fish > ~/.config/fish/completions/nsh.fish"""

# where tyro has nothing to say, file names
FILES_IN_BASH = """
_nsh() {
  _tyro_nsh
  [ -n "${COMPREPLY[*]}" ] || COMPREPLY=()
}
complete -o default -F _nsh nsh"""


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print a script by which a shell completes commands, options and names of experiments."""

    shell: Annotated[
        Literal["bash", "zsh", "fish"], tyro.conf.Positional, tyro.conf.arg(metavar="SHELL")
    ]
    """bash, zsh or fish."""


def main(arguments: Sequence[str]) -> int:
    """Print the script for the shell that the arguments name."""
    shell = parse(Completion, "completion", arguments, more=EXAMPLES).shell
    script = io.StringIO()
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        arguments = ["--tyro-print-completion", shell]
        tyro.cli(_commands(), prog="nsh", args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    print(script.getvalue() + (FILES_IN_BASH if shell == "bash" else ""))
    return 0


def _commands() -> Any:
    kinds = {"study": Study, "criticality": Criticality, "completion": Completion}
    with contextlib.suppress(Failure):  # there are no experiments here
        kinds["reproduce"] = experiments().completed()
    named = (Annotated[kind, tyro.conf.subcommand(name)] for name, kind in kinds.items())
    return Union[tuple(named)]  # noqa: UP007
