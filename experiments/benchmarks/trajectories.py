"""Whole trajectories: steps composed in parallel against one after the other."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.ensembles import task
from experiments.benchmarks.ours import compiled
from experiments.benchmarks.work import Data, Work
from nsh import Affine, Geometric, Rules, SaveAt, TrainingProblem, WithReplacement, train
from nsh._fingerprint.surroundings import device
from nsh.training import ParallelInTime, Sequential

__all__ = ["cases", "device"]

HERE = "experiments.benchmarks.trajectories"
SCAN, PARALLEL = "step after step", "parallel in time"
METHODS = {SCAN: Sequential(), PARALLEL: ParallelInTime()}
RULES = {
    "geometric": Rules(Geometric(1.06), Geometric(0.99)),
    "affine": Rules(Affine(1.06, 1e-3), Affine(0.99, -1e-6)),
}
# Figure 4's 19 nodes, and the shared and specific features of 1,024 nodes
GRAPHS = {"small": ((), ()), "large": ((200, 100, 24), (40, 20, 10))}


@dataclasses.dataclass(frozen=True)
class Trajectories:
    """Sizes: one seed, mini-batches of `batch` out of `samples` (Figure 4 has 8)."""

    steps: int = 100_000
    every: int = 100
    samples: int = 1000
    batch: int = 8


QUICK = Trajectories(steps=20, every=5, samples=10, batch=2)


def cases(sizes: Trajectories) -> list[Case]:
    """A case for each graph and kind of rule."""
    return [
        Case(
            f"trajectory-{graph}-{rules}",
            f"{sizes.steps:,} steps, recorded every {sizes.every}: {graph} graph, {rules} rules",
            tuple(
                Contender(
                    name, f"{HERE}:ours",
                    {**dataclasses.asdict(sizes), "method": name, "graph": graph, "rules": rules},
                )
                for name in METHODS
            ),
            (Target(SCAN, PARALLEL),),
        )
        for graph in GRAPHS
        for rules in RULES
    ]  # fmt: skip


def ours(
    _: Data,
    *,
    method: str,
    graph: str,
    rules: str,
    steps: int,
    every: int,
    samples: int,
    batch: int,
) -> Work:
    """nsh's `train` by one of its methods."""
    shared, specific = GRAPHS[graph]
    system, examples, _rules = task(samples=samples, shared=shared, specific=specific)
    save = SaveAt(lambda now: now.state.log_amplification, every=every)

    def run(examples: Any, rules: Any, key: Any) -> Any:
        problem = TrainingProblem(
            system,
            examples,
            rules,
            steps=steps,
            sampler=WithReplacement(batch if shared else 1),
            save=save,
        )
        return train(problem, key, method=METHODS[method]).saved

    return compiled(run, examples, RULES[rules], jax.random.key(0))
