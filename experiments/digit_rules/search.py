"""Ways to choose rates that `experiments.digit_rules` compares, and what they lead to."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from experiments.digit_rules.task import LEVEL_RATES, Loss, Task, exponents_of, per_level
from nsh import Rules, TrainingProblem, WithReplacement, train
from nsh.study.progress import Advance
from nsh.training import ClosedForm, Run, hypergradient, tune

RANGE = float(np.log(10))
"""Searches look for log exponents in -RANGE..RANGE: a factor 10 around the untuned exponent 1."""
TIED = {2: np.repeat([0, 1], 4), 4: np.repeat([0, 1, 2, 3], [3, 1, 3, 1])}
"""By how many numbers a grid has: which of them each of the rates per level is."""
TOGETHER = 8
"""Points judged by one call."""
KINDS = ("level", "node")
"""What has rates of its own in a descent."""


class Training(NamedTuple):
    """How each run trains: seeds, steps and size of mini-batches."""

    key: Key[Array, ""]
    seeds: int
    steps: int
    batch: int

    def keys(self) -> Key[Array, " seeds"]:
        """The keys that an ensemble gives its seeds."""
        return jax.vmap(lambda seed: jax.random.fold_in(self.key, seed))(jnp.arange(self.seeds))

    def run(self, task: Task, exponents: Float[Array, " numbers"], key: Key[Array, ""]) -> Run:
        """One run with rates of each node."""
        problem = TrainingProblem(
            task.system,
            task.examples,
            task.per_node(exponents, self.steps),
            steps=self.steps,
            sampler=WithReplacement(self.batch),
        )
        return train(problem, key, method=ClosedForm())


class Descent(NamedTuple):
    """Of each seed at each iteration: log exponents of all nodes, and the loss."""

    exponents: np.ndarray
    losses: np.ndarray


def grid_points(count: int, numbers: int) -> np.ndarray:
    """Log exponents per level [count, rates]: the largest such grid over so many tied numbers.

    Repeats its last point where the grid has fewer than `count`.
    """
    side = int(count ** (1 / numbers) + 1e-9)
    axis = np.linspace(-RANGE, RANGE, side) if side > 1 else np.zeros(1)
    points = np.array(list(itertools.product(axis, repeat=numbers)))
    return points[np.minimum(np.arange(count), len(points) - 1)][:, TIED[numbers]]


def descend(
    task: Task, training: Training, kind: str, iterations: int, rate: float, advance: Advance
) -> Descent:
    """Adam along hypergradients from exponents 1, of each level or of each node."""
    steps = training.steps
    if kind == "level":
        ones = per_level(np.zeros(LEVEL_RATES), steps)
    else:
        ones = task.per_node(jnp.zeros(task.numbers), steps)
    problem = TrainingProblem(
        task.system, task.examples, ones, steps=steps, sampler=WithReplacement(training.batch)
    )
    tuned = tune(
        task.validation,
        problem,
        training.key,
        seeds=training.seeds,
        method=ClosedForm(),
        mode="closed form",
        optimiser=optax.adam(rate),
        iterations=iterations,
        per_seed=True,
        vmap_size=1,
        callback=advance,
    )
    exponents = exponents_of(tuned.hypers, steps)
    if kind == "level":
        exponents = task.spread(exponents)
    return Descent(exponents, np.asarray(tuned.values))


class Judged(NamedTuple):
    """Losses and accuracies [seeds, points], and which answers are right [seeds, points, n]."""

    loss: np.ndarray
    accuracy: np.ndarray
    right: np.ndarray


def judge(
    task: Task, loss: Loss, training: Training, exponents: np.ndarray, shift: int = 0
) -> Judged:
    """Runs with rates of each node, log exponents [seeds, points, numbers], judged by `loss`.

    `shift`: seed i trains on the mini-batches of seed i + shift.
    """
    keys, count = jnp.roll(training.keys(), -shift), exponents.shape[1]
    padded = np.pad(exponents, [(0, 0), (0, -count % TOGETHER), (0, 0)], mode="edge")
    parts = [
        _judge(task, loss, training._replace(key=None), keys, padded[:, first : first + TOGETHER])
        for first in range(0, count, TOGETHER)
    ]
    return Judged(*(np.concatenate(of, axis=1)[:, :count] for of in zip(*parts, strict=True)))


@eqx.filter_jit
def _judge(task: Task, loss: Loss, training: Any, keys: Any, exponents: Any) -> Any:
    def of_seed(given: tuple[Array, Key[Array, ""]]) -> Any:
        points, key = given  # whose counts are the same for all points
        return jax.vmap(lambda point: loss.judged(training.run(task, point, key)))(points)

    return jax.lax.map(of_seed, (exponents, keys))


def slopes(
    task: Task, training: Training, directions: int, step: float = 1e-5
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of the validation loss [seeds, directions] by hypergradient and central differences.

    In 64-bit floats, at exponents 1, by log exponents: first along the rates of each level, then
    along `directions` random directions in the rates of all nodes.
    """
    with _double_precision():
        task = jax.tree.map(_widened, task)
        random = np.random.default_rng(0).normal(size=(directions, task.numbers))
        along = np.concatenate([task.spread(np.eye(LEVEL_RATES)), random])
        points = step * np.concatenate([np.zeros((1, task.numbers)), along, -along])
        rules = jax.vmap(lambda point: task.per_node(point, training.steps))(jnp.asarray(points))
        problem = TrainingProblem(
            task.system,
            task.examples,
            rules,
            steps=training.steps,
            sampler=WithReplacement(training.batch),
            grid_ndim=1,
        )
        found = hypergradient(
            task.validation, problem, training.key, seeds=training.seeds, vmap_size=1
        )
        _, higher, lower = np.split(np.asarray(found.value), [1, len(along) + 1])
        differences = (higher - lower) / (2 * step)
        at_start = jax.tree.map(lambda leaf: leaf[0], (found.gradient, rules))
        return _by_exponents(*at_start) @ along.T, differences.T


def gradient_cost(task: Task, training: Training) -> float:
    """Floating-point operations of a run's loss with its gradient over those of the loss alone."""

    def loss(exponents: Array) -> Array:
        return task.validation(training.run(task, exponents, training.key))

    def operations(function: Callable[..., Any]) -> float:
        found: Any = jax.jit(function).lower(jnp.zeros(task.numbers)).cost_analysis()
        return found["flops"]

    return operations(jax.value_and_grad(loss)) / operations(loss)


def _by_exponents(gradient: Rules, rules: Rules) -> np.ndarray:
    """Gradients [seeds, numbers] by the log exponents, from those by the factors.

    ``d factor / d (log exponent) = factor log(factor)``, for either sign of the logarithm.
    """

    def factors(of: Rules) -> np.ndarray:
        kinds = (of.growth, of.weight_growth, of.decay, of.weight_decay)
        return np.concatenate([np.asarray(rule.factor) for rule in kinds], axis=-1)  # pyright: ignore

    return factors(gradient) * factors(rules) * np.log(factors(rules))


def _widened(leaf: Any) -> Any:
    return leaf.astype(float) if eqx.is_inexact_array(leaf) else leaf


def _double_precision() -> contextlib.AbstractContextManager[Any]:
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return importlib.import_module("jax.experimental").enable_x64()
