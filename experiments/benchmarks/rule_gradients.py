"""Gradients by a few parameters of the rules, and by two for each node."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.ensembles import data, task
from experiments.benchmarks.ours import compiled
from experiments.benchmarks.work import Data, Work
from nsh import (
    Affine,
    Geometric,
    Neurashed,
    Rules,
    SaveAt,
    TrainingProblem,
    WithReplacement,
    ensemble,
)
from nsh._fingerprint.surroundings import device
from nsh.measure import effective_number
from nsh.neurashed import Constant
from nsh.training import FixedBatches, Sequential, hypergradient

__all__ = ["cases", "data", "device"]

HERE, TORCH = "experiments.benchmarks.rule_gradients", "experiments.benchmarks.torch_gradients"
FORWARD_RUN, LONGER = "forward run", ", 4 T"
FEW = {
    2: Rules(Geometric(1.06), Geometric(0.99)),
    8: Rules(Affine(1.06, 1e-3), Affine(0.99, -1e-6), Affine(1.05, 1e-3), Affine(0.98, -1e-6)),
}


@dataclasses.dataclass(frozen=True)
class Few:
    """Sizes of the case of few parameters: Figure 4's graph."""

    seeds: int = 64
    steps: int = 40_960
    recordings: int = 20


@dataclasses.dataclass(frozen=True)
class Many:
    """Sizes of the case of two parameters for each node: one seed of a random hierarchy."""

    shared: tuple[int, ...] = (200, 100, 24)
    specific: tuple[int, ...] = (40, 20, 10)
    samples: int = 1000
    batch: int = 8
    steps: int = 4000


QUICK = Few(seeds=2, steps=4, recordings=2), Many((20, 10, 5), (4, 2, 1), 20, 3, 4)


def cases(few: Few, many: Many) -> list[Case]:
    """One case for each number of parameters."""
    return [_few(few, parameters) for parameters in FEW] + [_many(many)]


def _few(sizes: Few, parameters: int) -> Case:
    same = {**dataclasses.asdict(sizes), "parameters": parameters}
    gradient = "gradient"
    longer = {**same, "steps": 4 * sizes.steps}
    return Case(
        f"gradient-{parameters}",
        f"gradient of the recorded effective number of features by {parameters} parameters",
        (
            Contender(FORWARD_RUN, f"{HERE}:few", {**same, "differentiate": False}),
            Contender(gradient, f"{HERE}:few", same),
            Contender(gradient + LONGER, f"{HERE}:few", longer),
        ),
        (
            Target(gradient, FORWARD_RUN, "most", 1.5),
            Target(gradient + LONGER, gradient, "most", 1.05, "bytes"),
        ),
    )


def _many(sizes: Many) -> Case:
    same = dataclasses.asdict(sizes)
    chosen, reverse, autograd = "gradient, default", "gradient, reverse", "PyTorch autograd"
    longer = {**same, "steps": 4 * sizes.steps}
    return Case(
        "gradient-per-node",
        "gradient of the final effective number of features by growth and decay of each node",
        (
            Contender(FORWARD_RUN, f"{HERE}:many", {**same, "mode": None}),
            Contender(chosen, f"{HERE}:many", {**same, "mode": "auto"}),
            Contender(reverse, f"{HERE}:many", {**same, "mode": "reverse"}),
            Contender(reverse + LONGER, f"{HERE}:many", {**longer, "mode": "reverse"}),
            Contender(autograd, f"{TORCH}:by_node", same, peer="peers"),
        ),
        (
            Target(chosen, FORWARD_RUN, "most", 4),
            Target(reverse, FORWARD_RUN, "most", 4),
            Target(autograd, chosen, reach=20),
            Target(autograd, reverse, reach=20),
            Target(reverse + LONGER, reverse, "most", 2.5, "bytes"),
        ),
        f"{HERE}:data", 1e-3,
    )  # fmt: skip


def few(
    _: Data, *, parameters: int, seeds: int, steps: int, recordings: int, differentiate: bool = True
) -> Work:
    """A recorded measurement's mean over time, for each seed; with `differentiate`, its slope."""
    system, examples, _rules = task()
    save = SaveAt(
        lambda now: effective_number(now.state.log_amplification), every=steps // recordings
    )

    def mean(run: Any) -> Any:
        return jnp.mean(run.saved)

    def forward(examples: Any, rules: Any, key: Any) -> Any:
        problem = TrainingProblem(system, examples, rules, steps=steps, save=save)
        run = ensemble(problem, key, seeds=seeds)
        return jax.vmap(jnp.mean)(run.saved)

    def gradient(examples: Any, rules: Any, key: Any) -> Any:
        problem = TrainingProblem(system, examples, rules, steps=steps, save=save)
        found = hypergradient(mean, problem, key, seeds=seeds)
        return found.value, found.gradient

    function = gradient if differentiate else forward
    return compiled(function, examples, FEW[parameters], jax.random.key(0))


def final_number(run: Any) -> Any:
    """The objective of the case of many parameters."""
    return effective_number(run.state.log_amplification)


def many(data: Data, *, mode: Any, steps: int, batch: int, **sizes: Any) -> Work:
    """The final effective number of features; with a `mode`, its slope."""
    system, examples, _ = task(**sizes)
    rates = {name: jnp.full(system.graph.nodes, rate) for name, rate in
             (("growth", 1.06), ("decay", 0.99))}  # fmt: skip

    def rules(rates: Any) -> Rules:
        growth, decay = (Geometric(rates[name]) for name in ("growth", "decay"))
        return Rules(growth, decay, Geometric(1.06), Geometric(0.99))

    def forward(examples: Any, rates: Any, key: Any) -> Any:
        problem = TrainingProblem(
            system, examples, rules(rates), steps=steps, sampler=WithReplacement(batch)
        )
        run = ensemble(problem, key, seeds=1, vmap_size=1)
        return jax.vmap(effective_number)(run.state.log_amplification)

    def slope(system: Any, examples: Any, rates: Any, key: Any, steps: int, sampler: Any) -> Any:
        problem = TrainingProblem(system, examples, rules(rates), steps=steps, sampler=sampler)
        return hypergradient(
            final_number,
            problem,
            key,
            seeds=1,
            mode=mode,
            method=Sequential("sqrt") if mode == "reverse" else None,
        ).gradient

    def gradient(examples: Any, rates: Any, key: Any) -> Any:
        return slope(system, examples, rates, key, steps, WithReplacement(batch))

    def check() -> Data:
        indices = jnp.asarray(data["check_indices"][:, 0], jnp.int32)
        known = Neurashed(system.graph, Constant(1.0), Constant(1.0))
        found = slope(
            known, examples, rates, jax.random.key(0), len(indices), FixedBatches(indices)
        )
        return {
            "growth": np.asarray(found.growth.factor[0]), "decay": np.asarray(found.decay.factor[0])
        }  # fmt: skip

    function, check_it = (forward, None) if mode is None else (gradient, check)
    return compiled(function, examples, rates, jax.random.key(0), check=check_it)
