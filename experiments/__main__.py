"""``python -m experiments NAME|all``: run experiments, write results, print the claims."""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib as mpl
from rich.console import Console

from experiments import EXPERIMENTS, command_line
from experiments.claim import Claim, Outcome, print_claims, write_claims
from experiments.progress import Progress, shown_on
from experiments.results import provenance, save_dataset, save_figure


def main(arguments: Sequence[str] | None = None, modules: Sequence[str] = EXPERIMENTS) -> int:
    """Run what `arguments` ask for; 1 if an experiment raised, else 0 (also if claims fail)."""
    mpl.use("Agg")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    loaded: dict[str, ModuleType] = {}
    outcomes: dict[str, Outcome] = {}
    for module in command_line.chosen(arguments, modules):
        name = command_line.short_name(module)
        try:
            loaded[name] = importlib.import_module(module)
        except Exception as error:
            outcomes[name] = _failed(name, error)
    request = command_line.parse(arguments, modules, loaded)
    order = [command_line.short_name(module) for module in modules]
    claims_file = request.results / "claims.json"
    write_claims(claims_file, list(outcomes.values()), order)  # first: a bad path shows at once
    with shown_on(sys.stderr) as progress:
        for place, (name, module) in enumerate(loaded.items(), 1):
            label = f"[{place}/{len(loaded)}] {name}"
            outcomes[name] = _attempt(name, module, request, label, progress)
            write_claims(claims_file, [outcomes[name]], order)
    listed = [outcomes[name] for name in order if name in outcomes]
    print_claims(listed, Console(width=None if sys.stdout.isatty() else 100))
    print(f"Data, figures and claims.json are in {request.results}/")
    return int(any(outcome.error is not None for outcome in listed))


def _attempt(
    name: str,
    module: ModuleType,
    request: command_line.Request,
    label: str,
    progress: Progress,
) -> Outcome:
    """One experiment; an error becomes part of the outcome, so that it cannot hide the others."""
    try:
        with progress(label, None):
            found = _perform(name, module, request.configs[name], request.results, progress)
        return Outcome(name, found)
    except Exception as error:
        return _failed(name, error)


def _perform(
    name: str, module: ModuleType, config: Any, results: Path, progress: Progress
) -> list[Claim]:
    attributes = provenance(config)
    start = time.monotonic()
    dataset = module.run(config, progress)
    dataset = dataset.assign_attrs(attributes, wall_time_seconds=time.monotonic() - start)
    save_dataset(dataset, results / name, name)
    save_figure(module.figure(dataset), results / name)
    return module.claims(dataset)


def _failed(name: str, error: Exception) -> Outcome:
    traceback.print_exception(error, file=sys.stderr)
    return Outcome(name, error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
