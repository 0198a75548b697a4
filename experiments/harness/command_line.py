"""The command line: ``NAME|all [--full] [--results DIR] [--field value ...]``, by tyro."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Union

import tyro

ALL = "all"


@dataclasses.dataclass(frozen=True)
class Options:
    """What every command takes."""

    full: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Paper-quality sizes: every field not given here is taken from the experiment's FULL."""
    results: Path = Path("results")
    """Directory for data, figures and claims.json."""
    jobs: int = 1
    """How many experiments run at once, each in a process of its own; 1 where they share a GPU."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked for: a configuration per experiment that could be imported."""

    configs: Mapping[str, Any]
    results: Path
    jobs: int


def short_name(module: str) -> str:
    """``experiments.local_elasticity`` -> ``local_elasticity``."""
    return module.rpartition(".")[2]


def chosen(arguments: Sequence[str], modules: Sequence[str]) -> list[str]:
    """The modules that the first argument asks for, before any of them is imported."""
    first = arguments[0] if arguments else ""
    return [module for module in modules if first in (ALL, short_name(module))]


def parse(
    arguments: Sequence[str], modules: Sequence[str], loaded: Mapping[str, ModuleType]
) -> Request:
    """The request in `arguments`; `loaded` are the chosen modules by short name.

    Leaves by ``SystemExit`` on ``--help`` and on bad arguments, as tyro does.
    """
    defaults = {
        name: module.FULL if "--full" in arguments else module.Config()
        for name, module in loaded.items()
    }
    names = [*map(short_name, modules), ALL]
    first = arguments[0] if arguments else ""
    help_texts = [
        *(docstring(module).partition("\n")[0] for module in modules),
        "Every experiment, one after the other.",
    ]
    commands = tuple(
        Annotated[
            _options_with(defaults, nested=name == ALL) if name == first else Options,
            tyro.conf.subcommand(name, description=text),
        ]
        for name, text in zip(names, help_texts, strict=True)
    )
    options = tyro.cli(
        Union[commands],  # type: ignore[arg-type]  # noqa: UP007
        prog="python -m experiments",
        description="Run the experiments; see `NAME --help` for the fields of one.",
        args=arguments,
        use_underscores=True,
    )
    if options.jobs < 1:
        print(f"--jobs = {options.jobs}; must be at least 1", file=sys.stderr)
        raise SystemExit(2)
    configs = {name: getattr(options, name) for name in defaults}
    return Request(configs, options.results, options.jobs)


def _options_with(defaults: Mapping[str, Any], *, nested: bool) -> type:
    """`Options` and all fields of the configurations, as ``--NAME.field`` where `nested`."""
    spelling = tyro.conf.arg(name=None if nested else "")
    fields = [
        (name, Annotated[type(config), spelling], dataclasses.field(default=config))
        for name, config in defaults.items()
    ]
    return dataclasses.make_dataclass("Command", fields, bases=(Options,), frozen=True)


def docstring(module: str) -> str:
    """A module's docstring, read from its source, because importing it is slow."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    try:
        source = Path(spec.origin).read_text(encoding="utf-8")
        return ast.get_docstring(ast.parse(source)) or ""
    except SyntaxError:
        return ""
