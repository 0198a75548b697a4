"""``python -m experiments NAME|all``: run experiments, write results, print the claims."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

from rich.console import Console

from experiments import EXPERIMENTS
from experiments.harness import command_line
from experiments.harness.attempt import Task, attempt, failed
from experiments.harness.claim import Outcome, print_claims, write_claims
from experiments.harness.progress import Progress, shown_on
from experiments.harness.report.page import write_report
from experiments.harness.side_by_side import side_by_side


def main(arguments: Sequence[str] | None = None, modules: Sequence[str] = EXPERIMENTS) -> int:
    """Run what `arguments` ask for; 1 if an experiment raised, else 0 (also if claims fail)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    loaded: dict[str, ModuleType] = {}
    outcomes: dict[str, Outcome] = {}
    for module in command_line.chosen(arguments, modules):
        name = command_line.short_name(module)
        try:
            loaded[name] = importlib.import_module(module)
        except Exception as error:
            outcomes[name] = failed(name, error)
    request = command_line.parse(arguments, modules, loaded)
    order = [command_line.short_name(module) for module in modules]
    claims_file = request.results / "claims.json"
    write_claims(claims_file, list(outcomes.values()), order)  # first: a bad path shows at once
    tasks = [
        Task(f"[{i}/{len(loaded)}] {name}", name, loaded[name].__name__, config, request.results)
        for i, (name, config) in enumerate(request.configs.items(), 1)
    ]
    with shown_on(sys.stderr) as progress:
        for outcome in _outcomes(tasks, request.jobs, progress):
            outcomes[outcome.experiment] = outcome
            write_claims(claims_file, [outcome], order)
    listed = [outcomes[name] for name in order if name in outcomes]
    print_claims(listed, Console(width=None if sys.stdout.isatty() else 100))
    report = write_report(request.results, modules)
    print(f"Data and figures are in {request.results}/, all of it together in {report}")
    return int(any(outcome.error is not None for outcome in listed))


def _outcomes(tasks: Sequence[Task], jobs: int, progress: Progress) -> Iterator[Outcome]:
    if jobs == 1 or len(tasks) < 2:
        yield from (attempt(task, progress) for task in tasks)
        return
    for task, result in side_by_side(attempt, tasks, jobs, progress):
        yield failed(task.name, result) if isinstance(result, ChildProcessError) else result


if __name__ == "__main__":
    sys.exit(main())
