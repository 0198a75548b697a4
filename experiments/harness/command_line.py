"""``nsh reproduce NAME|all [--full] [--out DIR] [--field value ...]``."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import jax
import tyro

from experiments import EXPERIMENTS
from nsh._checks import nearest, require_integer
from nsh.cli.exits import BAD_INPUT, Failure, needs
from nsh.cli.options import Flag
from nsh.cli.parsing import parse, rows, spelled

ALL = "all"
ABOUT_ALL = "Every experiment; --NAME.field sets a field of one."
EXAMPLES = """\
examples:
  nsh reproduce local_elasticity --help
  nsh reproduce local_elasticity --seeds 1024
  nsh reproduce all --jobs 2 --local-elasticity.seeds 1024"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What every experiment takes."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("results")
    """Directory for report.html, claims.json, data and figures."""
    full: Flag = False
    """Paper-quality sizes: every field not given here is taken from the experiment's FULL."""
    jobs: int = 1
    """How many experiments run at once, each in a process of its own; 1 where they share a GPU."""
    quiet: Flag = False
    """Say nothing but errors, the claims and the last line."""
    no_cache: Flag = False
    """Compile all programs anew, and keep none in the user's cache folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduce(Options):
    """Run experiments: figures, data, and a table of which claims of the papers hold.

    All results come together in DIR/report.html, one page that opens without a network. After the
    NAME of an experiment its own fields are options, too: see `nsh reproduce NAME --help`.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|all")]
    """One of the experiments below, or all of them."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked for: a configuration per experiment that could be imported."""

    configs: Mapping[str, Any]
    options: Options


def main(arguments: Sequence[str], modules: Sequence[str] = EXPERIMENTS) -> int:
    """Run what `arguments` ask for; 1 if an experiment raised, else 0 (also if claims fail)."""
    wanted = chosen(arguments, modules)
    # here, and not above: --help and bad arguments do not wait for it
    with needs("experiments"):
        from experiments.harness.reproduce import imported, reproduce

    loaded, outcomes = imported(wanted)
    return reproduce(parsed(arguments, loaded), loaded, outcomes, modules)


def short_name(module: str) -> str:
    """``experiments.local_elasticity`` -> ``local_elasticity``."""
    return module.rpartition(".")[2]


def chosen(arguments: Sequence[str], modules: Sequence[str]) -> list[str]:
    """The modules that the first argument asks for, before any of them is imported."""
    first = arguments[0] if arguments else ""
    names = [ALL, *map(short_name, modules)]
    if first in names:
        return [module for module in modules if first in (ALL, short_name(module))]
    if first in ("-h", "--help"):
        about = [*((short_name(m), title(m)) for m in modules), (ALL, ABOUT_ALL)]
        parse(Reproduce, "reproduce", ["--help"], more=f"experiments:\n{rows(about)}\n\n{EXAMPLES}")
    allowed = "all or an experiment that `nsh reproduce --help` lists"
    if not first or first.startswith("-"):
        raise Failure(BAD_INPUT, f"NAME is missing, which comes first: {allowed}")
    close = nearest(first.replace("-", "_"), names)
    raise Failure(BAD_INPUT, f"NAME = {first!r}: must be {allowed}{close}")


def parsed(arguments: Sequence[str], loaded: Mapping[str, ModuleType]) -> Request:
    """The request in `arguments`; `loaded` are the chosen modules by short name.

    Raises `Failure`; leaves by ``SystemExit`` on ``--help``.
    """
    first, *rest = arguments
    defaults = {
        name: module.FULL if "--full" in rest else module.Config()
        for name, module in loaded.items()
    }
    kind = _command(defaults)
    kind.__doc__ = ABOUT_ALL if first == ALL else title(loaded[first].__name__)
    options = parse(kind, f"reproduce {first}", rest, prefixes=first == ALL)
    configs = {name: getattr(options, name) for name in defaults}
    try:
        require_integer("--jobs", options.jobs, 1)
        for name, config in configs.items():
            _require_sizes(config, f"--{name}." if first == ALL else "--")
    except ValueError as problem:
        raise Failure(BAD_INPUT, f"{problem}") from problem
    return Request(configs, options)


def _require_sizes(config: Any, before: str) -> None:
    """All integers but `seed` are sizes and counts, which are 1 or more."""
    for name, value in dataclasses.asdict(config).items():
        for number in jax.tree.leaves(value):
            if isinstance(number, int) and not isinstance(number, bool):
                require_integer(spelled(before + name), number, 0 if name == "seed" else 1)


def completed() -> dict[str, type]:
    """Experiments by name, each with its options and fields, for completion by shells."""
    with needs("experiments"):
        from experiments.harness.reproduce import imported

    loaded, _ = imported(EXPERIMENTS)
    return {
        **{name: _command({name: module.Config()}) for name, module in loaded.items()},
        ALL: Options,
    }


def _command(configs: Mapping[str, Any]) -> type:
    """The options together with those of some experiments."""
    fields = [(name, type(config), config) for name, config in configs.items()]
    return dataclasses.make_dataclass("Command", fields, bases=(Options,), frozen=True)


def title(module: str) -> str:
    """The first line of a module's docstring."""
    return docstring(module).partition("\n")[0]


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
