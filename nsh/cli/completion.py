"""``nsh completion SHELL``."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union

import tyro

from nsh.cli.criticality import Options
from nsh.cli.exits import Failure
from nsh.cli.parsing import parse
from nsh.cli.reproduce import experiments
from nsh.cli.study import Study

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
class Nothing:
    """A command that takes nothing more."""


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


def _commands() -> Any:
    # here, and not above: --help does not wait for it
    from nsh.activations import ACTIVATIONS

    kinds: dict[str, Any] = {
        "study": Study,
        "criticality": _choice(dict.fromkeys(ACTIVATIONS, Options)),
        "reproduce": Nothing,
        "completion": _choice(dict.fromkeys(typing.get_args(Shell), Nothing)),
    }
    with contextlib.suppress(Failure):  # there are no experiments here
        kinds["reproduce"] = _choice(experiments().completed())
    return _one_of(kinds)


def _choice(kinds: Mapping[str, Any]) -> type:
    """A command followed by one of some names and what belongs to it."""
    return dataclasses.make_dataclass("Choice", [("name", _one_of(kinds))])


def _one_of(kinds: Mapping[str, Any]) -> Any:
    named = [
        Annotated[kind, tyro.conf.subcommand(name, prefix_name=False)]
        for name, kind in kinds.items()
    ]
    return Union[tuple(named)]  # noqa: UP007
