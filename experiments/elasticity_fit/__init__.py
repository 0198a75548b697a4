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

import numpy as np
import optax
import xarray as xr

from experiments.elasticity_fit.claims import claims
from experiments.elasticity_fit.config import FULL, TINY, Config
from experiments.elasticity_fit.correlations import (
    PAIRS,
    rank_correlations,
    same_class,
    same_pixels,
)
from experiments.elasticity_fit.figure import figure
from experiments.elasticity_fit.task import FLOOR, Task, make_task
from experiments.harness.dataset import dataset
from nsh.correspondence.null_models import shuffled_edges
from nsh.study.progress import Progress
from nsh.training import Tuned

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]

TABLE = """
    rank_correlation: predictor pairs seed [1]
    null_rank_correlation: null draw pairs seed [1]
    distance: fit iteration [1]
    log_factor: rule level [1]
    network_elasticity fitted_elasticity: updated probe [1]
"""
NULLS = ("to target permuted within", "to target permuted across", "on shuffled edges")
FITS = ("fitted", *NULLS)


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
        "same class": rho(same_class(y)[None]),
        "same pixels": rho(same_pixels(x)[None]),
        "other networks": rho(others.mean(0)[None]),
    }
    best, elasticity = fits["fitted"][0]
    values = {
        "rank_correlation": list(predictors.values()),
        "null_rank_correlation": [drawn[name] for name in NULLS],
        "distance": [np.mean([tuned.values for tuned, _ in fits[name]], axis=0) for name in FITS],
        "log_factor": _log_factors(best),
        "network_elasticity": judges.mean(0),
        "fitted_elasticity": elasticity.mean(0),
    }
    names = {"predictor": list(predictors), "null": list(NULLS), "fit": list(FITS)}
    made = dataset(TABLE, values, **names, pairs=list(PAIRS), rule=["g+", "g-"])
    return made.assign_coords(class_of_probe=("probe", y))


Fits = dict[str, list[tuple[Tuned, np.ndarray]]]


def _fits(task: Task, target: np.ndarray, progress: Progress) -> Fits:
    """Every fit's rules, and the elasticity they lead to, by name: one or several draws."""
    config, system = task.config, task.system()
    optimiser = optax.adam(config.tuning_rate)  # one object for all fits, which share a program
    random = np.random.default_rng(config.seed)
    classes = task.y[task.probes[: task.fitted]]
    draws = range(config.permutations)
    shuffled = [task.system(shuffled_edges(task.from_digits.graph, seed)) for seed in draws]
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
    fits: Fits = {name: [] for name in FITS}
    with progress("fits of rules", 1 + 3 * config.permutations) as advance:
        for name, some in wanted.items():
            for graph, goal in some:
                tuned = task.fit(graph, goal, optimiser)
                fits[name].append((tuned, task.neurashed(graph, tuned.hyper)))
                advance(1)
    return fits


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
