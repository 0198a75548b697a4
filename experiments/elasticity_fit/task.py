"""The two sides of the elasticity fit: networks on the digits, and neurashed on their graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from experiments.elasticity_fit.config import Config
from nsh import (
    Geometric,
    Neurashed,
    PerLevel,
    Rules,
    SaveAt,
    TrainingProblem,
    WithReplacement,
    ensemble,
)
from nsh.correspondence.from_data import FromData, from_data
from nsh.data import digits, subclasses
from nsh.measure import elasticity_matrix
from nsh.networks import digit_mlp
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import Graph
from nsh.training import Run, Snapshot, Tuned, tune

FLOOR = 0.01  # added before a logarithm is taken: an update may move nothing at all
GROWTH, DECAY = 1.01, 0.9975  # before the fit, for all levels; the critical firing share is 0.2


class Elasticity(eqx.Module):
    """What is recorded: local elasticity between all probes (row = updated example)."""

    probes: PyTree
    key: Key[Array, ""]

    def __call__(self, now: Snapshot) -> Float[Array, "probes probes"]:
        """The matrix at one moment."""
        return elasticity_matrix(now.system, now.state, now.hyper, self.probes, self.key)


class Distance(eqx.Module):
    """The objective: 1 - correlation of the log elasticities with the target's, off-diagonal."""

    target: Float[Array, "probes probes"]

    def __call__(self, run: Run) -> Float[Array, ""]:
        """Of the one matrix that a run has recorded."""
        return 1 - jnp.sum(
            _standardised(jnp.log(run.saved[0] + FLOOR)) * _standardised(self.target)
        )


def _standardised(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Off-diagonal entries minus their mean, of norm 1; 0 on the diagonal."""
    count = matrix.shape[0]
    apart = ~jnp.eye(count, dtype=bool)
    mean = jnp.sum(matrix, where=apart) / (count * (count - 1))
    centred = jnp.where(apart, matrix - mean, 0)
    return centred / jnp.sqrt(jnp.sum(centred**2))


class Task(NamedTuple):
    """The digits, the probes, the graph found from the digits, and how both sides are trained."""

    config: Config
    x: np.ndarray
    y: np.ndarray
    trained: int
    probes: np.ndarray
    fitted: int
    from_digits: FromData

    @property
    def keys(self) -> tuple[Key[Array, ""], Key[Array, ""]]:
        """Of the runs (the same for both sides, so that both see the same mini-batches)."""
        run_key, step_key = jax.random.split(jax.random.key(self.config.seed))
        return run_key, step_key

    @property
    def sampler(self) -> WithReplacement:
        """Mini-batches of both sides."""
        return WithReplacement(self.config.batch)

    def networks(self) -> np.ndarray:
        """Elasticity [seeds, probes, probes] of all trained networks."""
        config, (run_key, step_key) = self.config, self.keys
        system = digit_mlp(config.hidden, "relu")
        what = Elasticity(system.prepare(self.x[self.probes], self.y[self.probes]), step_key)
        problem = TrainingProblem(
            system,
            system.prepare(self.x[: self.trained], self.y[: self.trained]),
            {"optimiser": {"learning_rate": config.learning_rate}},
            steps=config.steps,
            sampler=self.sampler,
            save=SaveAt(what, times=(config.steps,)),
        )
        run = ensemble(problem, run_key, seeds=config.fit_seeds + config.seeds, vmap_size=1)
        return np.asarray(run.saved[:, 0])

    def system(self, graph: Graph | None = None) -> Neurashed:
        """Neurashed on the digits' graph, or on another one of the same level 1."""
        return Neurashed(self.from_digits.graph if graph is None else graph, edge_firing="sample")

    def examples(self, system: Neurashed, chosen: Any) -> PyTree:
        """The chosen digits' pathways."""
        return system.prepare(self.from_digits.encode(self.x[chosen]), self.y[chosen])

    def start(self) -> Rules:
        """Rules before the fit: alike for all levels."""
        levels = len(self.from_digits.graph.widths) + 1
        return Rules(
            PerLevel(Geometric(jnp.full(levels, GROWTH, float))),
            PerLevel(Geometric(jnp.full(levels, DECAY, float))),
        )

    def neurashed(self, system: Neurashed, rules: Rules) -> np.ndarray:
        """Elasticity [seeds, judged, judged] with these rules, for the seeds that judge."""
        config, (run_key, step_key) = self.config, self.keys
        problem = TrainingProblem(
            system,
            self.examples(system, slice(self.trained)),
            rules,
            steps=config.steps,
            sampler=self.sampler,
            save=SaveAt(
                Elasticity(self.examples(system, self.probes[self.fitted :]), step_key),
                times=(config.steps,),
            ),
        )
        run = ensemble(
            problem, run_key, seeds=config.seeds, first_seed=config.fit_seeds, vmap_size=1
        )
        return np.asarray(run.saved[:, 0])

    def fit(self, system: Neurashed, target: np.ndarray, optimiser: Any) -> Tuned:
        """g+ and g- of each level, so that the elasticity between the probes of the fit is alike.

        `target` [fitted, fitted]: log elasticities.
        """
        config, (run_key, step_key) = self.config, self.keys
        what = Elasticity(self.examples(system, self.probes[: self.fitted]), step_key)
        problem = TrainingProblem(
            system,
            self.examples(system, slice(self.trained)),
            self.start(),
            steps=config.steps,
            sampler=self.sampler,
            save=SaveAt(what, times=(config.steps,)),
        )
        return tune(
            Distance(jnp.asarray(target, float)),
            problem,
            run_key,
            seeds=config.tune_seeds,
            optimiser=optimiser,
            iterations=config.iterations,
            vmap_size=1,
        )


def make_task(config: Config) -> Task:
    """Probes: training digits for the fit, test digits to judge, alike many of each subclass."""
    data = digits()
    x = np.concatenate([data.train_x, data.test_x])
    y = np.concatenate([data.train_y, data.test_y])
    groups, trained = subclasses(x, y), len(data.train_y)
    fitted = _first_of_each(groups[:trained], config.fit_probes)
    judged = _first_of_each(groups[trained:], config.probes) + trained
    found = from_data(
        data.train_x, data.train_y, conjunctions=config.conjunctions, typical=config.typical
    )
    return Task(config, x, y, trained, np.concatenate([fitted, judged]), len(fitted), found)


def _first_of_each(groups: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([np.flatnonzero(groups == g)[:count] for g in range(2 * CLASSES)])
