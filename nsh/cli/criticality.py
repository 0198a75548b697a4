"""``nsh criticality ACTIVATION``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from nsh.cli.exits import BAD_INPUT, Failure, directory, explained, needs
from nsh.cli.options import Flag, one_of_names
from nsh.cli.parsing import parse

EXAMPLES = """\
examples:
  nsh criticality gelu
  nsh criticality jax.nn:mish --out mish"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What every activation takes."""

    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: no figure)")
    ] = None
    """Directory for figure.png and figure.pdf."""
    no_cache: Flag = False
    """Compile all programs anew, and keep none in the user's cache folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CriticalityCommand(Options):
    """Find the critical initialisation of an activation for deep networks.

    Prints its universality class, the critical variances C_b (biases) and C_W (weights times
    fan-in), the learning rates with which all layers contribute equally, and, around the critical
    point, the depths to which differences of norms (xi_par) and directions (xi_perp) survive.
    """

    activation: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ACTIVATION")]
    """A name, or MODULE:FUNCTION, an elementwise JAX function that Python can import."""


def completed() -> type:
    """What a shell offers after the command's name."""
    # here, and not above: --help does not wait for it
    from nsh.activations import ACTIVATIONS

    return one_of_names(dict.fromkeys(ACTIVATIONS, Options))


def main(arguments: Sequence[str]) -> int:
    """Print, and perhaps draw, what the arguments ask for."""
    asked = parse(CriticalityCommand, "criticality", arguments, more=EXAMPLES)
    # here, and not above: --help does not wait for it
    with needs("study"):
        from nsh.cli import critical_point
        from nsh.cli.caching import programs_kept

    with explained(asked.out), programs_kept(not asked.no_cache):
        try:
            activation = critical_point.named(asked.activation)
        except critical_point.UnknownActivation as problem:
            raise Failure(BAD_INPUT, f"{problem}") from problem
        out = None if asked.out is None else directory(asked.out)
        critical_point.report(activation, out)
    return 0
