"""Experiments run one after the other or side by side; results, claims and the report written."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType

from rich.console import Console

from experiments.harness.attempt import Task, attempt, failed
from experiments.harness.command_line import Request, short_name
from experiments.harness.outcomes import Outcome, print_claims, write_claims
from experiments.harness.report.page import write_report
from experiments.harness.side_by_side import side_by_side
from nsh.cli.caching import programs_kept
from nsh.cli.exits import directory, explained
from nsh.cli.stopping import stoppable
from nsh.study.progress import Progress, shown_on, silent


def imported(modules: Sequence[str]) -> tuple[dict[str, ModuleType], list[Outcome]]:
    """Modules by short name, and what became of those that cannot be imported."""
    loaded: dict[str, ModuleType] = {}
    outcomes: list[Outcome] = []
    for module in modules:
        try:
            loaded[short_name(module)] = importlib.import_module(module)
        except Exception as error:
            outcomes.append(failed(short_name(module), error))
    return loaded, outcomes


def reproduce(
    request: Request,
    loaded: Mapping[str, ModuleType],
    outcomes: Sequence[Outcome],
    modules: Sequence[str],
) -> int:
    """Run the experiments asked for; 1 if one raised, or if `outcomes` has one that did, else 0."""
    asked, order = request.options, [short_name(module) for module in modules]
    known = {outcome.experiment: outcome for outcome in outcomes}
    tasks = [
        Task(f"[{i}/{len(loaded)}] {name}", name, loaded[name].__name__, config, asked.out)
        for i, (name, config) in enumerate(request.configs.items(), 1)
    ]
    shown = contextlib.nullcontext(silent) if asked.quiet else shown_on(sys.stderr)
    claims_file = directory(asked.out) / "claims.json"
    kept = programs_kept(not asked.no_cache)
    with explained(asked.out), kept, shown as progress, stoppable(progress) as watched:
        write_claims(claims_file, outcomes, order)
        for outcome in _outcomes(tasks, asked.jobs, watched):
            known[outcome.experiment] = outcome
            write_claims(claims_file, [outcome], order)
    listed = [known[name] for name in order if name in known]
    print_claims(listed, Console(width=None if sys.stdout.isatty() else 100))
    report = write_report(asked.out, modules)
    print(f"Data and figures are in {asked.out}/, all of it together in {report}")
    return int(any(outcome.error is not None for outcome in listed))


def _outcomes(tasks: Sequence[Task], jobs: int, progress: Progress) -> Iterator[Outcome]:
    if jobs == 1 or len(tasks) < 2:
        yield from (attempt(task, progress) for task in tasks)
        return
    for task, result in side_by_side(attempt, tasks, jobs, progress):
        yield failed(task.name, result) if isinstance(result, ChildProcessError) else result
