"""Neurashed's rules, fitted so that its local elasticity is that of trained networks.

Neurashed is to imitate networks (arXiv 2112.09741), local elasticity being one of the things that
it imitates (Section 3, Figures 5 and 6). Here it runs on a graph found from the digits, on the very
mini-batches of an MLP, and g+ and g- of each level are tuned, by gradient descent through training
and through the update whose effect is measured, towards the MLPs' mean log elasticity between some
training digits. Judged between test digits, by other seeds' networks.

Nulls: the same fit to the target with its probes permuted within or across classes, and on the
graph with shuffled edges. For comparison: being of the same class, overlap of pixels, and the mean
of other networks, which is as good as any one predictor for all seeds can be expected to get.

The answer: fitted or not, neurashed's elasticity correlates with the networks' within and across
classes too, so it is not class identity alone; but overlap of pixels does so far better, what is
left beside class and pixels is small, and the fit adds little and not surely more than one to
targets permuted within classes. Eight factors cannot make up for what the graph does not hold.

Seeds differ in networks and mini-batches; the graph is one. With three graphs that differed by ties
in the clustering alone the fitted rules' correlation was 0.366, 0.378 and 0.385, and their lead
over fits to targets permuted within classes 0.037 +- 0.037, 0.023 +- 0.026 and 0.003 +- 0.002.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.elasticity_fit.claims import all_claims
from experiments.elasticity_fit.correlations import (
    PAIRS,
    rank_correlations,
    same_class,
    same_pixels,
)
from experiments.elasticity_fit.figure import draw
from experiments.elasticity_fit.task import FLOOR, Task, make_task, optimiser_of
from experiments.harness.claim import Claim
from experiments.harness.progress import Progress
from nsh.correspondence.null_models import shuffled_edges
from nsh.training import Tuned

NULLS = ("to target permuted within", "to target permuted across", "on shuffled edges")
FITS = ("fitted", *NULLS)


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both sides and of the fit."""

    seeds: int = 32
    """Networks, and runs of neurashed, that judge."""
    fit_seeds: int = 32
    """Other networks, whose mean log elasticity is the target."""
    steps: int = 400
    batch: int = 32
    hidden: tuple[int, ...] = (32, 16)
    learning_rate: float = 0.3
    conjunctions: int = 60
    """Of the graph: nodes of level 2."""
    typical: int = 12
    """Of the graph: dependents of a node of level 3."""
    fit_probes: int = 1
    """Training digits of each of two subclasses of a class, for the fit."""
    probes: int = 2
    """Test digits of each subclass, to judge."""
    tune_seeds: int = 4
    """Runs of neurashed whose mean distance is minimised; fewer overfit their own mini-batches."""
    iterations: int = 20
    tuning_rate: float = 0.2
    """Of Adam, on the logarithms and log-odds of the rules' factors."""
    permutations: int = 2
    """Draws of each null."""
    seed: int = 0


FULL = Config(
    seeds=128, fit_seeds=128, steps=2000, hidden=(64, 32), conjunctions=160, typical=32,
    fit_probes=3, probes=5, tune_seeds=8, iterations=150, permutations=16,
)  # fmt: skip
TINY = Config(
    seeds=2, fit_seeds=2, steps=10, batch=4, hidden=(8, 6), conjunctions=20, typical=4,
    probes=1, tune_seeds=1, iterations=2, permutations=1,
)  # fmt: skip


def run(config: Config, progress: Progress) -> xr.Dataset:
    """All fits, and the rank correlations of all predictors with the networks' elasticity."""
    task = make_task(config)
    with progress("elasticity of networks", None):
        networks = task.networks()
    others, judges = networks[: config.fit_seeds], networks[config.fit_seeds :]
    target = np.log(others[:, : task.fitted, : task.fitted] + FLOOR).mean(0)
    fits = _fits(task, target, progress)
    x, y = (values[task.probes[task.fitted :]] for values in (task.x, task.y))
    others, judges = (some[:, task.fitted :, task.fitted :] for some in (others, judges))

    def rho(matrices: np.ndarray) -> np.ndarray:
        return rank_correlations(matrices, judges, x, y)

    drawn = {name: np.stack([rho(matrices) for _, matrices in fits[name]]) for name in FITS}
    predictors = {
        "before the fit": rho(task.neurashed(task.system(), task.start())),
        **{name: draws.mean(axis=0) for name, draws in drawn.items()},
        "same class": rho(same_class(y)[None]), "same pixels": rho(same_pixels(x)[None]),
        "other networks": rho(others.mean(0)[None]),
    }  # fmt: skip
    matrix, plain = ("updated", "probe"), {"units": "1"}
    distances = [np.mean([tuned.values for tuned, _ in fits[name]], axis=0) for name in FITS]
    return xr.Dataset(
        {
            "rank_correlation": (
                ("predictor", "pairs", "seed"), list(predictors.values()), plain
            ),
            "null_rank_correlation": (
                ("null", "draw", "pairs", "seed"), [drawn[name] for name in NULLS], plain
            ),
            "distance": (("fit", "iteration"), distances, plain),
            "log_factor": (("rule", "level"), _log_factors(fits["fitted"][0][0]), plain),
            "network_elasticity": (matrix, judges.mean(0), plain),
            "fitted_elasticity": (matrix, fits["fitted"][0][1].mean(0), plain),
        },
        {
            "predictor": list(predictors), "pairs": list(PAIRS), "null": list(NULLS),
            "fit": list(FITS), "class_of_probe": ("probe", y), "rule": ["g+", "g-"],
        },
    )  # fmt: skip


Fits = dict[str, list[tuple[Tuned, np.ndarray]]]


def _fits(task: Task, target: np.ndarray, progress: Progress) -> Fits:
    """Every fit's rules, and the elasticity they lead to, by name: one or several draws."""
    config, system, optimiser = task.config, task.system(), optimiser_of(task.config)
    random = np.random.default_rng(config.seed)
    classes = task.y[task.probes[: task.fitted]]
    draws = range(config.permutations)
    shuffled = [task.system(shuffled_edges(task.found.graph, seed)) for seed in draws]
    within, across = (
        [_permutation(random, groups) for _ in draws]
        for groups in (classes, np.zeros_like(classes))
    )
    wanted = {
        FITS[0]: [(system, target)],
        FITS[1]: [(system, target[np.ix_(order, order)]) for order in within],
        FITS[2]: [(system, target[np.ix_(order, order)]) for order in across],
        FITS[3]: [(other, target) for other in shuffled],
    }
    found: Fits = {name: [] for name in FITS}
    with progress("fits of rules", 1 + 3 * config.permutations) as advance:
        for name, some in wanted.items():
            for graph, goal in some:
                tuned = task.fit(graph, goal, optimiser)
                found[name].append((tuned, task.neurashed(graph, tuned.hyper)))
                advance(1)
    return found


def _permutation(random: np.random.Generator, groups: np.ndarray) -> np.ndarray:
    """An order of the probes that leaves each in its group."""
    order = np.arange(len(groups))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        order[members] = random.permutation(members)
    return order


def _log_factors(tuned: Tuned) -> np.ndarray:
    """Of g+ and g-, per level; the last entry is that of the weights of class nodes."""
    rules = tuned.hyper.growth, tuned.hyper.decay
    return np.log([np.asarray(rule.rule.factor) for rule in rules])


def figure(dataset: xr.Dataset) -> Figure:
    """Both elasticity matrices, the fits, and all predictors' rank correlations."""
    return draw(dataset)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The fitted rules against those before, the nulls and simple predictors."""
    return all_claims(dataset)
