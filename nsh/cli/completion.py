"""``nsh completion SHELL``."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import tyro

from nsh.cli import COMMANDS
from nsh.cli.options import Nothing, one_of, one_of_names
from nsh.cli.parsing import parse

Shell = Literal["bash", "zsh", "fish"]
EXAMPLES = """\
examples:
  nsh completion bash > ~/.local/share/bash-completion/completions/nsh
  nsh completion zsh > ~/.zfunc/_nsh      (~/.zfunc in fpath before compinit)
  nsh completion fish > ~/.config/fish/completions/nsh.fish"""

# options where one is begun, and file names where there is nothing else to say
BASH = """
_nsh() {
  _tyro_nsh
  local word offered=("${COMPREPLY[@]}")
  COMPREPLY=()
  for word in "${offered[@]}"; do
    [[ -n $word && ($word != -* || ${COMP_WORDS[COMP_CWORD]} == -*) ]] && COMPREPLY+=("$word")
  done
}
complete -o default -F _nsh nsh"""


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print a script by which a shell completes commands, options and names.

    Names are those of experiments, whose fields it completes too, and of activations.
    """

    shell: Annotated[Shell, tyro.conf.Positional, tyro.conf.arg(metavar="SHELL")]
    """bash, zsh or fish."""


def main(arguments: Sequence[str]) -> int:
    """Print the script for the shell that the arguments name."""
    shell = parse(Completion, "completion", arguments, more=EXAMPLES).shell
    script = io.StringIO()
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        arguments = ["--tyro-print-completion", shell]
        tyro.cli(_commands(), prog="nsh", args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    print(script.getvalue() + (BASH if shell == "bash" else ""))
    return 0


def completed() -> type:
    """What a shell offers after the command's name."""
    return one_of_names(dict.fromkeys(typing.get_args(Shell), Nothing))


def _commands() -> Any:
    modules = {name: importlib.import_module(f"nsh.cli.{name}") for name in COMMANDS}
    return one_of({name: module.completed() for name, module in modules.items()})
