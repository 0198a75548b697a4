"""Final states after a million steps: of a few seeds, and of a million of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.ensembles import task
from experiments.benchmarks.ours import compiled
from experiments.benchmarks.work import Data, Work
from nsh import TrainingProblem, ensemble
from nsh._fingerprint.surroundings import device
from nsh.training import ClosedForm, DirectSample, Sequential

__all__ = ["cases", "device"]

HERE = "experiments.benchmarks.final_states"
SCAN, COUNTS, DRAWN = "step after step", "closed form", "direct sample"
METHODS = {SCAN: Sequential(), COUNTS: ClosedForm(), DRAWN: DirectSample()}


@dataclasses.dataclass(frozen=True)
class FinalStates:
    """Sizes of the two cases, on Figure 4's graph with mini-batches of one."""

    steps: int = 1_000_000
    few: int = 64
    many: int = 1_000_000
    scanned_seeds: int = 4096
    """Seeds of the scan from which the time for all is extrapolated."""
    scanned_steps: int = 2000


QUICK = FinalStates(steps=50, few=2, many=8, scanned_seeds=2, scanned_steps=5)


def cases(sizes: FinalStates) -> list[Case]:
    """Both cases."""
    scanned = Contender(
        SCAN, f"{HERE}:ours", _sizes(SCAN, sizes.scanned_seeds, sizes.scanned_steps),
        scale=(sizes.many / sizes.scanned_seeds) * (sizes.steps / sizes.scanned_steps),
        extrapolated=f"{sizes.scanned_seeds:,} seeds, {sizes.scanned_steps:,} steps",
    )  # fmt: skip
    return [
        Case(
            "million-steps",
            f"final states of {sizes.few} seeds of Figure 4's graph",
            tuple(
                Contender(name, f"{HERE}:ours", _sizes(name, sizes.few, sizes.steps))
                for name in METHODS
            ),
            # counting draws every index, so that random numbers bound it
            (Target(SCAN, COUNTS), Target(SCAN, DRAWN, reach=100)),
        ),
        Case(
            "million-seeds",
            f"final states of {sizes.many:,} seeds of Figure 4's graph after {sizes.steps:,} steps",
            (Contender(DRAWN, f"{HERE}:ours", _sizes(DRAWN, sizes.many, sizes.steps)), scanned),
            (Target(DRAWN, at="most", reach=5), Target(SCAN, DRAWN)),
        ),
    ]


def _sizes(method: str, seeds: int, steps: int) -> dict[str, Any]:
    return {"method": method, "seeds": seeds, "steps": steps}


def ours(_: Data, *, method: str, seeds: int, steps: int) -> Work:
    """nsh's `ensemble` by one of its methods."""
    system, examples, rules = task()

    def run(rules: Any, key: Any) -> Any:
        problem = TrainingProblem(system, examples, rules, steps=steps)
        return ensemble(problem, key, seeds=seeds, method=METHODS[method]).state

    return compiled(run, rules, jax.random.key(0))
