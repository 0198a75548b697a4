"""How options of all commands are declared, and what a shell completes of them."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Union

import tyro

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help_behavior_hint="")]


@dataclasses.dataclass(frozen=True)
class Nothing:
    """A command that takes nothing more."""


def one_of_names(kinds: Mapping[str, object]) -> type:
    """A command followed by one of some names and what belongs to it."""
    return dataclasses.make_dataclass("Choice", [("name", one_of(kinds))])


def one_of(kinds: Mapping[str, object]) -> Any:
    """Commands by name, and what belongs to each."""
    named = [
        Annotated[kind, tyro.conf.subcommand(name, prefix_name=False)]
        for name, kind in kinds.items()
    ]
    return Union[tuple(named)]  # noqa: UP007
