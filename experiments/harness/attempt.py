"""One experiment from configuration to results, in whatever process."""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl

from experiments.harness.claim import Claim
from experiments.harness.outcomes import Outcome
from experiments.harness.results import provenance, save_dataset, save_interactive
from nsh.study.files import save_figure
from nsh.study.progress import Progress


class Task(NamedTuple):
    """One experiment to be run."""

    label: str
    name: str
    module: str
    config: Any
    results: Path


def attempt(task: Task, progress: Progress) -> Outcome:
    """One experiment; an error becomes part of the outcome, so that it cannot hide the others."""
    mpl.use("Agg")
    try:
        with progress(task.label, None):
            found = _perform(task, progress)
        return Outcome(task.name, found)
    except Exception as error:
        return failed(task.name, error)


def _perform(task: Task, progress: Progress) -> list[Claim]:
    module, attributes = importlib.import_module(task.module), provenance(task.config)
    start = time.monotonic()
    dataset = module.run(task.config, progress)
    dataset = dataset.assign_attrs(attributes, wall_time_seconds=time.monotonic() - start)
    save_dataset(dataset, task.results / task.name, task.name)  # first: it took the time
    claims = list(module.claims(dataset))
    save_figure(module.figure(dataset), task.results / task.name)
    if hasattr(module, "explore"):
        save_interactive(module.explore(dataset), task.results / task.name)
    return claims


def failed(name: str, error: Exception) -> Outcome:
    """The outcome of an experiment that ended in an error, which is printed."""
    traceback.print_exception(error, file=sys.stderr)
    return Outcome(name, error=f"{type(error).__name__}: {error}")
