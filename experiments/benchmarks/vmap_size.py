"""How many members of an ensemble to vmap together: `ensemble`'s default `vmap_size`, measured.

``python -m experiments.benchmarks.vmap_size`` trains each system with every such number, one after
the other and round after round, and prints medians with minimum and maximum.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.table import Table

from nsh import Geometric, Neurashed, Rules, TrainingProblem, WithReplacement, ensemble
from nsh._fingerprint.surroundings import device
from nsh.data import digits
from nsh.networks import digit_cnn, digit_linear, digit_mlp
from nsh.neurashed import figure4, figure4_rules, random_hierarchy
from nsh.training.ensemble import default_vmap_size


@dataclasses.dataclass(frozen=True)
class Config:
    """What is timed."""

    vmap_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    rounds: int = 3
    """Timings of each size, interleaved."""


@dataclasses.dataclass(frozen=True)
class Case:
    """An ensemble to train, and the size that nsh would choose."""

    train: Callable[..., Any]
    chosen: int


def cases() -> dict[str, Case]:
    """Systems from 20 numbers of state to 15,000, with the work of some seconds each."""
    graph, inputs = figure4()
    found = {"neurashed, Figure 4": _case(Neurashed(graph), inputs.x, inputs.y,
                                          figure4_rules(graph), 512, 2000, 1)}  # fmt: skip
    task = random_hierarchy(
        jax.random.key(0), classes=10, shared=(2000, 1000, 240), specific=(400, 200, 100)
    )
    x, y, _ = task.inputs.sample(jax.random.key(1), 1000)
    rules = Rules(Geometric(1.06), Geometric(0.99))
    name = f"neurashed, {task.graph.nodes} nodes"
    found[name] = _case(Neurashed(task.graph), x, y, rules, 64, 100, 32)
    data = digits()
    networks = {
        "linear": digit_linear(),
        "MLP 64-32": digit_mlp((64, 32), "relu"),
        "CNN 8-16": digit_cnn((8, 16)),
    }
    for name, system in networks.items():
        hyper = {"optimiser": {"learning_rate": 0.1}}
        found[name] = _case(system, data.train_x, data.train_y, hyper, 64, 100, 32)
    return found


def _case(system: Any, x: Any, y: Any, hyper: Any, seeds: int, steps: int, batch: int) -> Case:
    examples = system.prepare(x, y)
    problem = TrainingProblem(system, examples, hyper, steps=steps, sampler=WithReplacement(batch))
    train = partial(ensemble, problem, jax.random.key(0), seeds=seeds)
    return Case(train, default_vmap_size(problem))


def main(config: Config) -> None:
    """Time all cases and print a table each."""
    console = Console(file=sys.stdout)
    console.print(f"jax {jax.__version__}, {device()}")
    for name, case in cases().items():
        times = _interleaved(case, config)
        best = min(statistics.median(values) for values in times.values())
        table = Table(title=f"{name}: nsh vmaps {case.chosen}", title_justify="left")
        for column in ("vmap_size", "median (s)", "min", "max", "median / best"):
            table.add_column(column, justify="right")
        for size, values in times.items():
            median = statistics.median(values)
            row = (median, min(values), max(values), median / best)
            table.add_row(str(size), *(f"{value:.3f}" for value in row))
        console.print(table)


def _interleaved(case: Case, config: Config) -> dict[int, list[float]]:
    times: dict[int, list[float]] = {size: [] for size in config.vmap_sizes}
    for size in config.vmap_sizes:
        jax.block_until_ready(case.train(vmap_size=size).status)  # compiles
    for _ in range(config.rounds):
        for size, values in times.items():
            start = time.perf_counter()
            jax.block_until_ready(case.train(vmap_size=size).status)
            values.append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main(tyro.cli(Config))
