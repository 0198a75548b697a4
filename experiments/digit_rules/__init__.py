"""Neurashed as a classifier of the digits, its g+ and g- tuned by hypergradient.

The graph is made from the training digits (`nsh.correspondence.from_data`); all factors and weights
start equal, so what a run learns is how often each node and edge fires. The rates of g+ and g- say
what to make of that: they are tuned on validation digits, for each level (8 numbers) or for each
node and edge to a class (some 800), against grid and random search at equal cost. A grid per node
would have 2^800 points at least; so a grid ties rates: of all levels (2 numbers, g+ and g-), or of
all levels of nodes and apart from them the weights (4).

The objective is the cross-entropy of softmax(Z), as the paper predicts. Z is a product over levels,
so at rates of a few per cent it is astronomic within some hundred steps, and the loss with it. So
rates are counted by what they come to over a whole run, and searched for where Z is moderate.
The rates of nodes leave that range: tuned by 450 digits they make held-out predictions more
accurate, but ruinously sure in some 3% of the digits, which decide the mean loss there.

Cost is counted in evaluations of the loss, a gradient as 4: it has about twice the
operations, and took about 3 times as long. A search can do several points of a seed at once on the
same counts of what fired; then an evaluation takes a third of that. So per-level descent is held
against search at twice the price too. The price of 4, for which the descent is long enough to leave
the plateaus of its loss, and mini-batches of one, which compile sooner, were chosen after seeing
runs with 8 and 8: those tied with the best grid.

Seeds differ in mini-batches and in the searches' random points; the graph is one. Three graphs that
differed by ties in the clustering alone gave the same verdicts but for two near the edge: per-level
descent at twice the price against the grid (-0.003, 0.000, 0.002) and, on level-3 bits, per-node
rates against logistic regression (0.035, 0.024, 0.026, with a standard error of 0.015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr

from experiments.digit_rules.baselines import right_answers
from experiments.digit_rules.claims import VARIANTS, claims
from experiments.digit_rules.config import FULL, TINY, Config
from experiments.digit_rules.figure import figure
from experiments.digit_rules.search import (
    KINDS,
    RANGE,
    Training,
    descend,
    gradient_cost,
    grid_points,
    judge,
    slopes,
)
from experiments.digit_rules.task import LEVEL_RATES, Task, make_task, split
from experiments.harness.dataset import dataset
from nsh.study.progress import Progress

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]


TABLE = """
    course: way seed cost [nats]
    cost: cost [evaluations]
    test_loss: seed rates [nats]
    test_accuracy other_accuracy: seed rates [1]
    test_right: rates digit [1]
    baseline_right: baseline digit [1]
    slope difference: slope_seed direction [nats]
    gradient_cost: [evaluations]
    exponent: seed rule level [1]
"""
SEARCHES = {
    "random, level": ("random", LEVEL_RATES),
    "random, node": ("random", None),
    "grid of 2": ("grid", 2),
    "grid of 4": ("grid", 4),
}
"""By name: kind, and how many numbers are searched for (None: two for each node and edge)."""


class Search(NamedTuple):
    """Log exponents [seeds, points, numbers] that a method tried, losses, and a point's cost."""

    exponents: np.ndarray
    losses: np.ndarray
    cost: int

    def best(self) -> np.ndarray:
        """Each seed's exponents of the least loss."""
        chosen = np.argmin(self.losses, axis=1)
        return np.take_along_axis(self.exponents, chosen[:, None, None], axis=1)[:, 0]

    def course(self, costs: np.ndarray) -> np.ndarray:
        """Least loss so far [seeds, costs]."""
        return np.minimum.accumulate(self.losses, axis=1)[:, costs // self.cost - 1]


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Losses against cost by each method, what was found, and accuracy on held-out digits."""
    parts = split(config.conjunctions)
    task = make_task(parts)
    training = Training(jax.random.key(config.seed), config.seeds, config.steps, config.batch)
    descents = {}
    with progress("digits, hypergradient descent", 2 * (config.iterations + 1)) as advance:
        for kind in KINDS:
            descents[kind] = descend(
                task, training, kind, config.iterations, config.learning_rate, advance
            )
    found = {
        f"hypergradient, {kind}": Search(tried.exponents, tried.losses, config.gradient_cost)
        for kind, tried in descents.items()
    }
    with progress("digits, searches", len(SEARCHES)) as advance:
        for name, points in _points(task, config):
            found[name] = Search(points, judge(task, task.validation, training, points).loss, 1)
            advance(1)
    chosen = np.stack([np.zeros((config.seeds, task.numbers)), *_each(found, Search.best)], axis=1)
    few = training._replace(seeds=config.slope_seeds)
    own = judge(task, task.test, training, chosen)
    other = judge(task, task.test, training, chosen, shift=1)
    right, (slope, difference) = right_answers(parts), slopes(task, few, config.slope_directions)
    costs = config.gradient_cost * np.arange(1, config.iterations + 2)
    tuned = np.exp(task.per_level_of(chosen[:, 1])).reshape(config.seeds, 2, -1)
    values = {
        "course": _each(found, lambda of: of.course(costs)),
        "test_loss": own.loss,
        "test_accuracy": own.accuracy,
        "test_right": own.right.mean(axis=0),
        "other_accuracy": other.accuracy,
        "baseline_right": np.stack([*right.values()]),
        "slope": slope,
        "difference": difference,
        "gradient_cost": gradient_cost(task, few),
        "exponent": tuned,
    }
    names = {"way": list(VARIANTS), "rates": ["untuned", *VARIANTS], "baseline": list(right)}
    made = dataset(TABLE, values, **names, rule=["g+", "g-"], cost=costs)
    made = made.assign_coords(gradient_counted_as=config.gradient_cost)
    return made.assign_attrs(graph=str(parts.found.quality))


def _points(task: Task, config: Config) -> Iterator[tuple[str, np.ndarray]]:
    """What each search tries [seeds, points, numbers]: random points; grids in random order."""
    random, count = np.random.default_rng(config.seed), config.evaluations
    for name, (kind, numbers) in SEARCHES.items():
        if kind == "grid":
            orders = [random.permutation(count) for _ in range(config.seeds)]
            points = task.spread(grid_points(count, numbers)[np.stack(orders)])
        else:
            size = (config.seeds, count, numbers or task.numbers)
            points = random.uniform(-RANGE, RANGE, size)
            points = task.spread(points) if numbers else points
        yield name, points.astype(np.float32)


def _each(found: dict[str, Search], what: Callable[[Search], np.ndarray]) -> np.ndarray:
    return np.stack([what(found[name]) for name in VARIANTS])
